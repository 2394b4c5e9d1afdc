package worker

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/config"
)

var twoStages = []grouse.Stage{{Name: "sft", Kind: grouse.StageSFT, Steps: 20}, {Name: "rl", Kind: grouse.StageRL, Steps: 5}}

func tell(o *observer, kind string, stage int, step int64, reward float64) {
	o.Observe(context.Background(), activities.Event{Kind: kind, Stage: stage, Step: step, Stats: grouse.Metrics{"reward": reward}, Times: grouse.Metrics{"step_time": 1}})
}

func TestMetricsFileCountsStepsThroughStages(t *testing.T) {
	dir := t.TempDir()
	m := &metricsFile{dir: dir, stages: twoStages}
	defer m.Close()
	if got, err := m.Points(0, 10); err != nil || len(got) != 0 {
		t.Fatalf("without a file: %v, %v", got, err)
	}
	o := newObserver(dir, nil)
	tell(o, "sft", 0, 10, 0)
	tell(o, "sft", 0, 20, 0)
	tell(o, "eval", 1, 0, 0)
	tell(o, "step", 1, 1, 0.5)
	tell(o, "step", 1, 1, 0.5) // told again
	var globals, rows []int64
	var names []string
	read := func(row int64, limit int) {
		t.Helper()
		got, err := m.Points(row, limit)
		if err != nil {
			t.Fatal(err)
		}
		globals, rows, names = nil, nil, nil
		for _, p := range got {
			globals, rows, names = append(globals, p.Global), append(rows, p.Row), append(names, p.StageName+" "+p.Kind)
			if p.At.IsZero() || p.At.Year() < 2020 {
				t.Errorf("row %d was written at %v", p.Row, p.At)
			}
		}
	}
	expect := func(g, r []int64) {
		t.Helper()
		if !equal(globals, g) || !equal(rows, r) {
			t.Errorf("steps %v of rows %v, want %v of %v", globals, rows, g, r)
		}
	}
	read(0, 3)
	expect([]int64{10, 20, 20}, []int64{0, 1, 2})
	read(3, 3)
	expect([]int64{21}, []int64{3})
	read(4, 3)
	expect(nil, nil)
	tell(o, "step", 1, 2, 0.75)
	read(4, 3) // goes on where it was
	expect([]int64{22}, []int64{4})
	read(2, 10) // and back
	expect([]int64{20, 21, 22}, []int64{2, 3, 4})
	if strings.Join(names, ",") != "rl eval,rl step,rl step" {
		t.Errorf("got %v", names)
	}
	f, err := os.OpenFile(filepath.Join(dir, MetricsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"event":"step","stage":1,`); err != nil {
		t.Fatal(err)
	}
	read(5, 10) // half a line is none yet
	expect(nil, nil)
	if _, err := f.WriteString(`"step":3,"metrics":{},"at":1700000000000}` + "\n"); err != nil {
		t.Fatal(err)
	}
	read(5, 10)
	expect([]int64{23}, []int64{5})
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// recorded is a ledger that has some records.
type recorded struct {
	activities.Ledger
	recs map[grouse.RecordKind][]grouse.Record
}

func (r recorded) List(kind grouse.RecordKind) ([]grouse.Record, error) { return r.recs[kind], nil }

// What a kill kept from metrics.jsonl is written from the ledger, once, in order;
// the half line that it left is gone.
func TestObserverCatchesUp(t *testing.T) {
	dir := t.TempDir()
	o := newObserver(dir, nil)
	tell(o, "sft", 0, 20, 0)
	tell(o, "step", 1, 1, 0.5)
	for _, name := range []string{MetricsFile, EventsFile} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"event":"step","stage":1,"step":2,"metr`); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	led := recorded{recs: map[grouse.RecordKind][]grouse.Record{
		grouse.RecordSFT:  {grouse.SFTRecord{First: 1, Last: 20}},
		grouse.RecordStep: {grouse.StepRecord{Stage: 1, Step: 1, Stats: grouse.Metrics{"reward": 0.5}}, grouse.StepRecord{Stage: 1, Step: 2, Stats: grouse.Metrics{"reward": 0.625}}},
		grouse.RecordEval: {grouse.EvalRecord{Stage: 1, Step: 2, Stats: grouse.Metrics{"eval/accuracy": 0.25}}},
	}}
	for range 2 { // resumed twice
		if err := newObserver(dir, nil).catchUp(led); err != nil {
			t.Fatal(err)
		}
	}
	m := &metricsFile{dir: dir, stages: twoStages}
	defer m.Close()
	points, err := m.Points(0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 4 || points[2].Metrics["reward"] != 0.625 || points[3].Kind != "eval" || points[3].Metrics["eval/accuracy"] != 0.25 || points[3].Global != 22 {
		t.Errorf("got %+v", points)
	}
	raw, err := os.ReadFile(filepath.Join(dir, EventsFile))
	if err != nil || strings.Count(string(raw), "\n") != 2 || raw[len(raw)-1] != '\n' {
		t.Errorf("events: %q, %v", raw, err)
	}
}

// The whole way: a run's folder, killed and gone on with, to an event file.
func TestTrackersOfARun(t *testing.T) {
	dir := t.TempDir()
	r := &config.Resolved{Spec: grouse.RunSpec{Name: "demo", Stages: twoStages, Trackers: []grouse.TrackerSpec{{Use: "tensorboard"}, {Use: "wandb"}}}}
	for begin := int64(1); begin <= 5; begin += 2 {
		o := newObserver(dir, nil)
		s, err := startTrackers(r, dir, func(text string) { t.Errorf("warned: %s", text) })
		if err != nil {
			t.Fatal(err)
		}
		o.wake = s.Wake
		for step := int64(1); step < begin+2; step++ {
			tell(o, "step", 1, step, float64(step))
		}
		s.Close(begin == 5)
	}
	for pattern, want := range map[string]int{"tensorboard/events.out.tfevents.*": 1, "wandb/offline-run-demo-*/run-demo-*.wandb": 1, "trackers/0-tensorboard.json": 1} {
		files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil || len(files) != want {
			t.Errorf("%s: %v, %v", pattern, files, err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "trackers", "0-tensorboard.json"))
	if err != nil || !strings.Contains(string(raw), `"rows":6`) {
		t.Errorf("cursor %s, %v", raw, err)
	}
}
