package data_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/data"
)

func write(t *testing.T, name, content string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t *testing.T, name, content string, o data.Options) (*data.Set, error) {
	t.Helper()
	o.Base = write(t, name, content)
	return data.Load(grouse.DataSpec{Path: name}, o)
}

func TestFormatsGiveTheSameRows(t *testing.T) {
	for name, content := range map[string]string{
		"a.jsonl":  "{\"prompt\":\"é\",\"answer\":\"1\"}\n\n{\"prompt\":\"b\",\"answer\":\"2\"}",
		"b.ndjson": "\xef\xbb\xbf{\"prompt\":\"é\",\"answer\":\"1\"}\r\n{\"prompt\":\"b\",\"answer\":\"2\"}\r\n",
		"c.json":   "\xef\xbb\xbf[{\"prompt\":\"é\",\"answer\":\"1\"},\n {\"prompt\":\"b\",\"answer\":\"2\"}]\n",
		"d.csv":    "\xef\xbb\xbfprompt,answer\r\né,1\r\n\"b\",2\r\n",
	} {
		s, err := load(t, name, content, data.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(s.Rows) != 2 || s.Rows[0].Columns["prompt"] != "é" || s.Rows[1].Columns["answer"] != "2" || s.Rows[1].ID != "1" {
			t.Errorf("%s: %+v", name, s.Rows)
		}
		if !strings.HasPrefix(s.SHA256, "ff") && len(s.SHA256) != 64 {
			t.Errorf("%s: sha256 %q", name, s.SHA256)
		}
	}
}

// A bad row stops with its line, or is skipped and counted, as the recipe says.
func TestBadRows(t *testing.T) {
	good := `{"prompt":"p","answer":"a"}`
	for name, c := range map[string]struct{ file, content, where, why string }{
		"broken JSON": {"a.jsonl", good + "\n{\"prompt\":\n" + good + "\n", "a.jsonl:2", "not a JSON object"},
		"not object":  {"a.jsonl", good + "\n[1]\n" + good, "a.jsonl:2", "not a JSON object"},
		"null":        {"a.jsonl", good + "\nnull\n", "a.jsonl:2", "empty object"},
		"NUL":         {"a.jsonl", good + "\n{\"prompt\":\"a\x00b\"}\n", "a.jsonl:2", "NUL"},
		"Latin-1":     {"a.jsonl", good + "\n{\"prompt\":\"caf\xe9\"}\n", "a.jsonl:2", "not UTF-8"},
		"huge line":   {"a.jsonl", good + "\n{\"prompt\":\"" + strings.Repeat("x", 65<<20) + "\"}\n" + good, "a.jsonl:2", "a line of over 64 MiB"},
		"JSON item":   {"a.json", "[" + good + ", 5, " + good + "]", "a.json[1]", "not a JSON object"},
		"CSV fields":  {"a.csv", "prompt,answer\np,a\nq\nr,b\n", "a.csv:3", "wrong number of fields"},
		"CSV quote":   {"a.csv", "prompt,answer\np,a\n\"q,b\nr,c\n", "a.csv:", ""},
		"CSV Latin-1": {"a.csv", "prompt,answer\np,a\ncaf\xe9,b\n", "a.csv:3", "not UTF-8"},
		"the same id": {"a.jsonl", `{"id":"x","prompt":"p"}` + "\n" + `{"id":"x","prompt":"q"}` + "\n", "a.jsonl:2", `row id "x" is also that of a.jsonl:1`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.file, c.content, data.Options{OnBad: "stop"})
			if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), c.where) || !strings.Contains(err.Error(), c.why) || grouse.FixOf(err) == "" {
				t.Errorf("stop: %v", err)
			}
			s, err := load(t, c.file, c.content, data.Options{OnBad: "skip"})
			if err != nil || len(s.Skipped) != 1 || len(s.Rows) == 0 {
				t.Errorf("skip: %+v %v", s, err)
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct{ file, content, want string }{
		"UTF-16":      {"a.jsonl", "\xff\xfe{\x00}\x00", "UTF-16"},
		"gzip":        {"a.jsonl", "\x1f\x8b\x08rest", "compressed"},
		"JSON lines":  {"a.json", "{\"prompt\":1}\n", "not an array"},
		"JSON cut":    {"a.json", "[{\"prompt\":1}", "not an array"},
		"empty":       {"a.jsonl", "", "no usable row"},
		"empty CSV":   {"a.csv", "", "names no columns"},
		"CSV twice":   {"a.csv", "a,a\n1,2\n", "there twice"},
		"extension":   {"a.xml", "<a/>", `".xml"`},
		"bad parquet": {"a.parquet", "PAR1", "a.parquet"},
		"only bad":    {"a.jsonl", "x\n", "not a JSON object"},
	} {
		if _, err := load(t, c.file, c.content, data.Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := data.Load(grouse.DataSpec{Path: "none.jsonl"}, data.Options{Base: t.TempDir()}); grouse.KindOf(err) != grouse.NotFound || grouse.FixOf(err) == "" {
		t.Errorf("missing file: %v", err)
	}
	if _, err := data.Load(grouse.DataSpec{}, data.Options{}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("nothing named: %v", err)
	}
	if _, err := data.Load(grouse.DataSpec{Path: "."}, data.Options{Base: t.TempDir()}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("empty folder: %v", err)
	}
}

func TestFolder(t *testing.T) {
	dir := write(t, "b.jsonl", "{\"prompt\":\"2\"}\n")
	os.WriteFile(filepath.Join(dir, "a.csv"), []byte("prompt\n1\n"), 0o644)
	os.WriteFile(filepath.Join(dir, "README.md"), []byte("# no"), 0o644)
	s, err := data.Load(grouse.DataSpec{Path: dir}, data.Options{Base: "/elsewhere"})
	if err != nil || len(s.Rows) != 2 || s.Rows[0].Columns["prompt"] != "1" || s.Rows[1].Where != "b.jsonl:1" {
		t.Errorf("%+v %v", s, err)
	}
}

// The digest names the rows: the same from another place, another for other rows;
// pinned in the recipe it refuses rows that have changed.
func TestDigestPinsRows(t *testing.T) {
	a, err := load(t, "a.jsonl", "{\"prompt\":\"p\",\"n\":1}\n{\"prompt\":\"q\"}\n", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := load(t, "b.jsonl", "{\"n\":1,\"prompt\":\"p\"}\n\n{\"prompt\":\"q\"}\n", data.Options{})
	c, _ := load(t, "a.jsonl", "{\"prompt\":\"p\",\"n\":2}\n{\"prompt\":\"q\"}\n", data.Options{})
	if a.SHA256 != b.SHA256 || a.SHA256 == c.SHA256 {
		t.Errorf("digests %s %s %s", a.SHA256, b.SHA256, c.SHA256)
	}
	dir := write(t, "a.jsonl", "{\"prompt\":\"p\",\"n\":2}\n{\"prompt\":\"q\"}\n")
	if _, err := data.Load(grouse.DataSpec{Path: "a.jsonl", SHA256: a.SHA256}, data.Options{Base: dir}); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "have changed") {
		t.Errorf("changed rows: %v", err)
	}
	if s, err := data.Load(grouse.DataSpec{Path: "a.jsonl", SHA256: c.SHA256, Limit: 0}, data.Options{Base: dir}); err != nil || len(s.Rows) != 2 {
		t.Errorf("pinned rows: %v", err)
	}
	if s, err := data.Load(grouse.DataSpec{Path: "a.jsonl", Limit: 1}, data.Options{Base: dir}); err != nil || len(s.Rows) != 1 {
		t.Errorf("limit: %v", err)
	}
}

// Check is called once for each row that is used, in order, and never for one
// that is left out for another reason.
func TestCheckSeesTheRowsThatAreUsed(t *testing.T) {
	content := `{"id":"a","prompt":"1"}
{"id":"a","prompt":"2"}
{"id":"b","prompt":"no"}
{"id":"c","prompt":"3"}
{"id":"d","prompt":"4"}
`
	var passed []string
	dir := write(t, "a.jsonl", content)
	s, err := data.Load(grouse.DataSpec{Path: "a.jsonl", Limit: 2}, data.Options{Base: dir, OnBad: "skip", Check: func(r data.Row) error {
		if r.Columns["prompt"] == "no" {
			return fmt.Errorf("no prompt")
		}
		passed = append(passed, r.ID)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, r := range s.Rows {
		used = append(used, r.ID)
	}
	if got, want := strings.Join(passed, ","), strings.Join(used, ","); got != want || want != "a,c" {
		t.Errorf("check passed %s, rows are %s", got, want)
	}
	if len(s.Skipped) != 2 {
		t.Errorf("skipped %v", s.Skipped)
	}
}

func TestAnswersOfOtherTrainersRows(t *testing.T) {
	for _, c := range []struct {
		row  string
		want any
	}{
		{`{"prompt":[{"role":"user","content":"q"}],"reward_model":{"style":"rule","ground_truth":"42"},"data_source":"gsm8k"}`, "42"},
		{`{"prompt":"q","ground_truth":"7"}`, "7"},
		{`{"prompt":"q","label":3}`, 3.0},
		{`{"prompt":"q","answer":"mine","ground_truth":"7"}`, "mine"},
		{`{"prompt":"q"}`, nil},
	} {
		s, err := load(t, "a.jsonl", c.row, data.Options{})
		if err != nil || s.Rows[0].Columns["answer"] != c.want {
			t.Errorf("%s: %+v %v", c.row, s, err)
		}
	}
}

// Rows as verl stores them: Parquet with a list of messages and a struct.
func TestParquetOfVerl(t *testing.T) {
	message := arrow.StructOf(arrow.Field{Name: "role", Type: arrow.BinaryTypes.String}, arrow.Field{Name: "content", Type: arrow.BinaryTypes.String})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "data_source", Type: arrow.BinaryTypes.String}, {Name: "prompt", Type: arrow.ListOf(message)},
		{Name: "reward_model", Type: arrow.StructOf(arrow.Field{Name: "style", Type: arrow.BinaryTypes.String}, arrow.Field{Name: "ground_truth", Type: arrow.BinaryTypes.String})},
		{Name: "extra_info", Type: arrow.StructOf(arrow.Field{Name: "index", Type: arrow.PrimitiveTypes.Int64})},
	}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	for i, row := range []string{
		`{"data_source":"gsm8k","prompt":[{"role":"user","content":"1+1?"}],"reward_model":{"style":"rule","ground_truth":"2"},"extra_info":{"index":0}}`,
		`{"data_source":"gsm8k","prompt":[{"role":"user","content":"2+2?"}],"reward_model":{"style":"rule","ground_truth":"4"},"extra_info":{"index":1}}`,
	} {
		if err := b.UnmarshalJSON([]byte(row)); err != nil {
			t.Fatal(i, err)
		}
	}
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &buf, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(b.NewRecord()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := load(t, "a.parquet", buf.String(), data.Options{})
	if err != nil || len(s.Rows) != 2 {
		t.Fatal(s, err)
	}
	r := s.Rows[1]
	if r.Columns["answer"] != "4" || r.Where != "a.parquet row 2" || fmt.Sprint(r.Columns["prompt"]) != "[map[content:2+2? role:user]]" || fmt.Sprint(r.Columns["extra_info"]) != "map[index:1]" {
		t.Errorf("row %+v", r)
	}
}

func TestHubDataSets(t *testing.T) {
	dir := write(t, "train-0.jsonl", "{\"prompt\":\"1\"}\n")
	os.WriteFile(filepath.Join(dir, "train-1.jsonl"), []byte("{\"prompt\":\"2\"}\n"), 0o644)
	spec := grouse.DataSpec{Hub: "org/data", Config: "main", Split: "train"}
	s, err := data.Load(spec, data.Options{Hub: func(name, config, split string) ([]string, error) {
		if name != "org/data" || config != "main" || split != "train" {
			t.Errorf("asked for %s %s %s", name, config, split)
		}
		return []string{filepath.Join(dir, "train-0.jsonl"), filepath.Join(dir, "train-1.jsonl")}, nil
	}})
	if err != nil || len(s.Rows) != 2 || s.Rows[1].Where != "train-1.jsonl:1" {
		t.Errorf("%+v %v", s, err)
	}
}

// Every problem is in exactly one split, at most 5% in sft, and the worked
// examples are right.
func TestAddition(t *testing.T) {
	for _, digits := range []int{1, 2, 3} {
		where := map[string]string{}
		params := map[string]any{"digits": digits}
		for _, split := range []string{"sft", "rl", "eval"} {
			spec := grouse.DataSpec{Task: "addition", Split: split, Params: params}
			s, err := data.Load(spec, data.Options{})
			if err != nil {
				t.Fatal(err)
			}
			again, _ := data.Load(spec, data.Options{})
			if again.SHA256 != s.SHA256 {
				t.Errorf("%d digits, %s: not the same rows twice", digits, split)
			}
			for _, r := range s.Rows {
				if at, twice := where[r.ID]; twice {
					t.Fatalf("%s is in %s and %s", r.ID, at, split)
				}
				where[r.ID] = split
				var a, b int
				if n, err := fmt.Sscanf(r.Columns["prompt"].(string), "%d+%d=", &a, &b); n != 2 || err != nil {
					t.Fatal(r.Columns)
				}
				answer := fmt.Sprint(a + b)
				if r.Columns["answer"] != answer || !strings.HasSuffix(r.Columns["completion"].(string), "<answer>"+answer+"</answer>") {
					t.Fatalf("row %v", r.Columns)
				}
			}
			share := float64(len(s.Rows)) / map[int]float64{1: 100, 2: 10_000, 3: 20_000}[digits]
			if digits > 1 && (split == "sft" && share > .05 || split == "eval" && share < .04 || split == "rl" && share < .85) {
				t.Errorf("%d digits: %.3f of the problems are in %s", digits, share, split)
			}
		}
		if want := map[int]int{1: 100, 2: 10_000, 3: 20_000}[digits]; len(where) != want {
			t.Errorf("%d digits: %d problems, want %d", digits, len(where), want)
		}
	}
	s, err := data.Load(grouse.DataSpec{Task: "addition", Split: "rl"}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Rows {
		if r.ID == "47+85" && r.Columns["completion"] != "<think>7+5=12;4+8=12;13</think><answer>132</answer>" {
			t.Errorf("worked example %v", r.Columns["completion"])
		}
	}
	for want, spec := range map[string]grouse.DataSpec{
		`no task "additoin"`:     {Task: "additoin", Split: "rl"},
		`no split "train"`:       {Task: "addition", Split: "train"},
		`no parameter "digit"`:   {Task: "addition", Split: "rl", Params: map[string]any{"digit": 2}},
		"digits is 0":            {Task: "addition", Split: "rl", Params: map[string]any{"digits": 0}},
		"digits is two":          {Task: "addition", Split: "rl", Params: map[string]any{"digits": "two"}},
		"problems has no effect": {Task: "addition", Split: "rl", Params: map[string]any{"problems": 5000}},
	} {
		if _, err := data.Load(spec, data.Options{}); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), want) || grouse.FixOf(err) == "" && !strings.Contains(want, "digits is") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("a.jsonl", []byte("{\"prompt\":\"p\"}\n"))
	f.Add("a.csv", []byte("a,b\n1,\"2\n3\"\n"))
	f.Add("a.json", []byte("[{\"a\":1}]"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		ext := filepath.Ext(name)
		if ext != ".jsonl" && ext != ".csv" && ext != ".json" {
			return
		}
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "f"+ext), content, 0o644)
		for _, on := range []string{"stop", "skip"} {
			s, err := data.Load(grouse.DataSpec{Path: "f" + ext}, data.Options{Base: dir, OnBad: on})
			if err == nil && len(s.Rows) == 0 {
				t.Fatal("no rows and no error")
			}
		}
	})
}
