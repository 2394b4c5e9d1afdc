package jsonapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
)

// The request as it was published: readers in other languages depend on it.
func TestRequestGolden(t *testing.T) {
	g := rewards.NewGroup(&grouse.Group{
		Prompt:   grouse.Prompt{RowID: "math/7", Domain: "math", Text: "2+2=", Messages: []grouse.Message{{Role: "user", Content: "2+2="}}, Columns: map[string]any{"answer": "4"}},
		Rollouts: []grouse.Rollout{{Text: "<think>a</think>4\n", ResponseIDs: []int32{5, 6}, Finish: grouse.FinishStop}},
	})
	data, err := jsonapi.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"row_id":"math/7","domain":"math","prompt":"2+2=","messages":[{"role":"user","content":"2+2="}],"columns":{"answer":"4"},` +
		`"completions":[{"index":0,"text":"\u003cthink\u003ea\u003c/think\u003e4\n","thinking":"a","answer":"4\n","token_ids":[5,6],"finish":"stop"}]}`
	if string(data) != want {
		t.Errorf("request\n%s\nwant\n%s", data, want)
	}
	if strings.Contains(string(data), "\n") {
		t.Error("a request is one line")
	}
}

func TestDecode(t *testing.T) {
	got, err := jsonapi.Decode([]byte(`{"scores":[1, null, {"value":0.5,"correct":true,"numbers":{"n":3},"explanation":"x"}, {"value":null}]}`), 4)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Value != 1 || !got[1].NoOpinion || got[2].Value != 0.5 || !*got[2].Correct || got[2].Numbers["n"] != 3 || got[2].Explanation != "x" || !got[3].NoOpinion {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		answer    string
		outcome   grouse.Outcome
		retryable bool
	}{
		{`{"scores":[1]}`, grouse.BadOutput, false}, {`{"scores":["1", 1]}`, grouse.BadOutput, false}, {`{"scores":[1, [2]]}`, grouse.BadOutput, false}, {`{"scores":[1, {"valu":2}]}`, grouse.BadOutput, false},
		{`[1, 2]`, grouse.BadOutput, false}, {``, grouse.BadOutput, false}, {`{"scores":[1,2]} x`, grouse.BadOutput, false}, {`{"scores":[NaN,2]}`, grouse.BadOutput, false}, {`{}`, grouse.BadOutput, false},
		{`{"error":"busy","retryable":true}`, grouse.Errored, true}, {`{"error":"big","kind":"oom"}`, grouse.OOM, false}, {`{"error":"x","kind":"scored"}`, grouse.Errored, false},
	} {
		_, err := jsonapi.Decode([]byte(c.answer), 2)
		if rewards.OutcomeOf(err) != c.outcome || rewards.Retryable(err) != c.retryable {
			t.Errorf("%s: error %v (%s, retryable %v), want %s, %v", c.answer, err, rewards.OutcomeOf(err), rewards.Retryable(err), c.outcome, c.retryable)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"scores":[1,null,{"value":2}]}`))
	f.Add([]byte(`{"error":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		results, err := jsonapi.Decode(data, 2)
		if err == nil && len(results) != 2 {
			t.Fatalf("%d results", len(results))
		}
		if err != nil && !json.Valid(data) && rewards.OutcomeOf(err) != grouse.BadOutput {
			t.Fatalf("no JSON, but %s", rewards.OutcomeOf(err))
		}
	})
}
