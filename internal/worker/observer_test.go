package worker

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/wire"
)

// A batch carries a prompt's tokens only; the archive of a step has its text too,
// for those who read it without the tokenizer.
func TestArchiveHasThePromptsText(t *testing.T) {
	dir := t.TempDir()
	o := newObserver(dir, nil)
	o.text = func(ids []int32) string { return fmt.Sprint("text of ", ids) }
	group := grouse.Group{Candidate: 3, Prompt: grouse.Prompt{RowID: "a/1", Domain: "a", TokenIDs: []int32{5, 6}},
		Rollouts: []grouse.Rollout{{ResponseIDs: []int32{1}, Logprobs: []float32{-1}, Entropy: []float32{0.5}, PolicyVersion: []int64{0}, Finish: grouse.FinishStop}}}
	o.Observe(context.Background(), activities.Event{Kind: "step", Step: 1,
		Groups: []grouse.ScoredGroup{{Group: group, Scores: []grouse.Score{{Outcome: grouse.Scored}}}}})
	rows, err := wire.ReadParquetRows(filepath.Join(dir, RolloutsDir, RolloutsFile(0, 1)))
	if err != nil || len(rows) != 1 || rows[0]["prompt"] != "text of [5 6]" {
		t.Fatalf("%v, %v", rows, err)
	}
}
