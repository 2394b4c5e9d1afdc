package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/ledger"
)

// DoneFile keeps, in a run's folder, the done line of a finished run.
const DoneFile = "done.json"

// States of a run as its folder shows it.
const (
	StateDone       = "done"
	StateRunning    = "running"    // a process holds its ledger
	StateUnfinished = "unfinished" // nobody does: it was stopped, paused or killed
)

// RunInfo is what a run's folder says of it.
type RunInfo struct {
	Run        string         `json:"run"`
	Recipe     string         `json:"recipe"`
	State      string         `json:"state"`
	Stage      string         `json:"stage"`
	Step       int64          `json:"step"`
	Steps      int            `json:"steps"`
	Reward     *float64       `json:"reward,omitempty"`
	Eval       map[string]any `json:"eval,omitempty"`
	Checkpoint string         `json:"checkpoint,omitempty"`
	Chain      string         `json:"chain,omitempty"`
	Device     string         `json:"device,omitempty"`
	Folder     string         `json:"folder"`
	Metrics    grouse.Metrics `json:"metrics,omitempty"` // of the last step
}

// Inspect reads a run's folder, its whole ledger included.
func Inspect(home, name string) (*RunInfo, error) {
	r, err := LoadRecipe(home, name)
	if err != nil {
		return nil, err
	}
	dir := RunDir(home, name)
	info := &RunInfo{Run: name, Recipe: r.Spec.Recipe, State: RunState(dir), Folder: dir, Eval: map[string]any{}}
	at := func(stage int, step int64, chain string, m grouse.Metrics) {
		info.Stage, info.Step, info.Steps, info.Chain, info.Metrics = r.Spec.Stages[stage].Name, step, r.Spec.Stages[stage].Steps, chain, m
	}
	for e, err := range ledger.Read(dir) {
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		rec, err := e.Record()
		if err != nil {
			return nil, err
		}
		switch rec := rec.(type) {
		case grouse.RunRecord:
			info.Device = rec.Device
		case grouse.SFTRecord:
			at(rec.Stage, rec.Last, rec.Chain, rec.Stats)
		case grouse.StepRecord:
			at(rec.Stage, rec.Step, rec.Chain, rec.Stats)
			if v, ok := rec.Stats["reward"]; ok {
				info.Reward = &v
			}
		case grouse.CheckpointRecord:
			info.Checkpoint = rec.Dir
		case grouse.EvalRecord:
			info.Eval[fmt.Sprintf("%s step %d", r.Spec.Stages[rec.Stage].Name, rec.Step)] = map[string]any{rec.Metric: rec.Value, "prompts": rec.Prompts}
		}
	}
	return info, nil
}

// RunState is the state of the run in dir.
func RunState(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, DoneFile)); err == nil {
		return StateDone
	}
	if ledger.Locked(dir) {
		return StateRunning
	}
	return StateUnfinished
}

// NothingDone reports whether the run in dir has neither trained nor saved
// anything that was recorded.
func NothingDone(dir string) bool {
	for e, err := range ledger.Read(dir) {
		if err != nil {
			return grouse.KindOf(err) == grouse.NotFound
		}
		switch e.Kind {
		case grouse.RecordBatch, grouse.RecordStep, grouse.RecordSFT, grouse.RecordCheckpoint:
			return false
		}
	}
	return true
}
