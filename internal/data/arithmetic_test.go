package data_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/data"
	"github.com/grouse-rl/grouse/rewards/instruction"
)

// taskRows returns a split's rows and checks that they are the same twice.
func taskRows(t *testing.T, spec grouse.DataSpec) []data.Row {
	t.Helper()
	s, err := data.Load(spec, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := data.Load(spec, data.Options{}); again.SHA256 != s.SHA256 {
		t.Fatalf("%v: not the same rows twice", spec)
	}
	return s.Rows
}

var number = regexp.MustCompile(`\d+`)

// The answers are right, every kind is there in like numbers, and no problem of one
// split is in the other, whoever it tells of.
func TestArithmetic(t *testing.T) {
	where, kinds := map[string]string{}, map[string]int{}
	for _, split := range []string{"rl", "eval"} {
		for _, r := range taskRows(t, grouse.DataSpec{Task: "arithmetic", Split: split}) {
			kind, text := r.Columns["kind"].(string), r.Columns["prompt"].(string)
			var n []int
			for _, s := range number.FindAllString(text, -1) {
				v, _ := strconv.Atoi(s)
				n = append(n, v)
			}
			want := map[string]func() int{
				"sum": func() int { return n[0] + n[1] }, "difference": func() int { return n[0] - n[1] },
				"buy": func() int { return n[0] + n[1] }, "give": func() int { return n[0] - n[1] },
				"give-find": func() int { return n[0] - n[1] + n[2] }, "find-give": func() int { return n[0] + n[1] - n[2] },
			}[kind]()
			if got := r.Columns["answer"]; got != strconv.Itoa(want) || want < 0 {
				t.Fatalf("%s: answer %v, want %d", text, got, want)
			}
			problem := kind + strings.Join(number.FindAllString(text, -1), ",")
			if at, twice := where[problem]; twice {
				t.Fatalf("%s is in %s and %s", problem, at, split)
			}
			where[problem] = split
			kinds[kind+" "+split]++
		}
	}
	if len(kinds) != 12 {
		t.Fatal(kinds)
	}
	for k, n := range kinds {
		if lo, hi := map[bool]int{true: 20, false: 110}[strings.HasSuffix(k, "eval")], 400; n < lo || n > hi {
			t.Errorf("%d problems of %s", n, k)
		}
	}
	other := taskRows(t, grouse.DataSpec{Task: "arithmetic", Split: "eval", Params: map[string]any{"seed": 2}})
	names := 0
	for i, r := range taskRows(t, grouse.DataSpec{Task: "arithmetic", Split: "eval"}) {
		if r.ID != other[i].ID {
			t.Fatal("the seed changed a problem")
		}
		if r.Columns["prompt"] != other[i].Columns["prompt"] {
			names++
		}
	}
	if names == 0 {
		t.Error("the seed changed no name")
	}
}

// Every instruction is one that the reward knows, and topics are not shared.
func TestInstructions(t *testing.T) {
	ids := map[string]bool{}
	topics := map[string]string{}
	for _, split := range []string{"rl", "eval"} {
		for _, r := range taskRows(t, grouse.DataSpec{Task: "instructions", Split: split}) {
			kwargs := r.Columns["kwargs"].([]any)
			for i, id := range r.Columns["instruction_id_list"].([]any) {
				ids[id.(string)] = true
				if _, err := instruction.New(id.(string), kwargs[i].(map[string]any)); err != nil {
					t.Fatal(err)
				}
			}
			topic, _, _ := strings.Cut(r.ID, "-")
			if at, ok := topics[topic]; ok && at != split {
				t.Fatalf("topic %s is in both splits", topic)
			}
			topics[topic] = split
		}
	}
	if len(ids) != 9 || len(topics) != 40 {
		t.Errorf("%d instructions, %d topics", len(ids), len(topics))
	}
}
