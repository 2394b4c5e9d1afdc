package workflows_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse/workflows"
)

// replay replays a stored history through the workflows of today.
func replay(t *testing.T, path string, run any) error {
	t.Helper()
	r := worker.NewWorkflowReplayer()
	r.RegisterWorkflowWithOptions(run, workflow.RegisterOptions{Name: "Run"})
	r.RegisterWorkflow(workflows.Eval)
	r.RegisterWorkflow(workflows.Judge)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	history, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.ReplayWorkflowHistory(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), history)
}

// TestReplay replays every history in testdata: those of runs that may be under
// way when this code takes over. They are written by
//
//	go test ./internal/devserver -run "ToyRun|Judge" -rewrite
//
// A history of a release stays here, under a name that says which.
func TestReplay(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "histories", "*.json"))
	if err != nil || len(paths) < 4 {
		t.Fatalf("histories %v, %v", paths, err)
	}
	for _, path := range paths {
		if err := replay(t, path, workflows.Run); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestReplayNotices replays a run through a workflow that does something else.
func TestReplayNotices(t *testing.T) {
	other := func(ctx workflow.Context, state workflows.RunState) (workflows.RunState, error) {
		if err := workflow.Sleep(ctx, 1); err != nil {
			return state, err
		}
		return workflows.Run(ctx, state)
	}
	err := replay(t, filepath.Join("testdata", "histories", "run.json"), other)
	if err == nil || !strings.Contains(err.Error(), "nondetermin") && !strings.Contains(err.Error(), "TMPRL1100") {
		t.Errorf("another workflow replayed: %v", err)
	}
}
