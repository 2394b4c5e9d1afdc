package engine_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rollout/engine"
)

// Greedy text of 64 tokens is transformers', for every architecture; scripts/golden/greedy.py
// wrote it.
func TestGreedyIsTransformers(t *testing.T) {
	raw, err := os.ReadFile("../../internal/model/testdata/greedy64.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]struct{ Prompt, Greedy []int32 }
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) < 11 {
		t.Fatalf("only %d models", len(golden))
	}
	for family, g := range golden {
		r := engine.Request{Prompt: g.Prompt, N: 1, MaxTokens: len(g.Greedy), Sampling: grouse.Sampling{Temperature: 0}}
		out := generate(t, open(t, 2, family), 2, engine.Options{}, []engine.Request{r})[0][0]
		if len(g.Greedy) != 64 || !slices.Equal(out.ResponseIDs, g.Greedy) {
			t.Errorf("%s:\n got %v\nwant %v", family, out.ResponseIDs, g.Greedy)
		}
	}
}
