package code

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"testing"
)

//go:embed testdata/pairs.jsonl
var pairsText []byte

// TestPairs: tasks of input and output, with a solution each, that passes, and that
// stops passing when it says one word more, or goes on after the answer.
func TestPairs(t *testing.T) {
	r := open(t, nil)
	n := 0
	for line := range bytes.Lines(pairsText) {
		var row struct {
			ID       string `json:"id"`
			Tests    []any  `json:"tests"`
			Solution string `json:"solution"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		n++
		columns := map[string]any{"tests": row.Tests}
		if got := score(t, r, row.Solution, columns); got.Value != 1 || got.Numbers["passed"] != float64(len(row.Tests)) {
			t.Errorf("%s: the solution fails: %s", row.ID, got.Explanation)
		}
		if got := score(t, r, "```python\n"+row.Solution+"\n```", columns); got.Value != 1 {
			t.Errorf("%s: the fenced solution fails: %s", row.ID, got.Explanation)
		}
		for name, text := range map[string]string{"one word more": row.Solution + "\nprint('more')", "fails at the end": row.Solution + "\nraise SystemExit(1)", "says nothing": "input()"} {
			if got := score(t, r, text, columns); got.Value != 0 {
				t.Errorf("%s: %s passes", row.ID, name)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d tasks", n)
	}
}
