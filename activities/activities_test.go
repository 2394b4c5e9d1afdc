package activities_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/activities/toy"
	"github.com/grouse-rl/grouse/internal/ledger"
)

// process is one life of a run's processes.
type process struct {
	t      *testing.T
	world  *toy.World
	spec   grouse.RunSpec
	parts  *toy.Parts
	ledger *ledger.Writer
	env    *testsuite.TestActivityEnvironment
	events []activities.Event
}

func begin(t *testing.T, w *toy.World, spec grouse.RunSpec, dir string) *process {
	t.Helper()
	l, err := ledger.Open(dir, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &process{t: t, world: w, spec: spec, ledger: l}
	p.parts = toy.New(w, spec, dir, l, func(e activities.Event) { p.events = append(p.events, e) })
	p.env = suite().NewTestActivityEnvironment()
	p.env.SetTestTimeout(time.Minute)
	p.env.RegisterActivity(p.parts.Rollouts)
	p.env.RegisterActivity(p.parts.Rewards)
	p.env.RegisterActivity(p.parts.Trainer)
	return p
}

// die ends the process: what was in memory is gone.
func (p *process) die() { p.ledger.Close() }

func call[Out any](p *process, activity, in any) (Out, error) {
	var out Out
	val, err := p.env.ExecuteActivity(activity, in)
	if err == nil {
		err = val.Get(&out)
	}
	return out, err
}

func must[Out any](p *process, activity, in any) Out {
	p.t.Helper()
	out, err := call[Out](p, activity, in)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// prepare opens the run and enters its rl stage.
func (p *process) prepare() (grouse.PolicyRef, []activities.DrawPromptsOutput) {
	p.t.Helper()
	tr := p.parts.Trainer
	at := must[activities.PrepareOutput](p, tr.Prepare, activities.PrepareInput{Spec: p.spec}).Policy
	if at.Stage < 1 {
		at = must[activities.BeginStageOutput](p, tr.BeginStage, activities.BeginStageInput{Stage: 0, Policy: at, Ahead: 1}).Policy
		for at.Version < 20 {
			at = must[activities.TrainSFTOutput](p, tr.TrainSFT, activities.TrainSFTInput{Stage: 0, First: at.Version + 1, Last: at.Version + 10, Policy: at}).Policy
		}
	}
	out := must[activities.BeginStageOutput](p, tr.BeginStage, activities.BeginStageInput{Stage: 1, Policy: at, Ahead: 1})
	return out.Policy, out.Draws
}

// input samples and scores one wave and returns what Train is asked.
func (p *process) input(at grouse.PolicyRef, draw activities.DrawPromptsOutput) activities.TrainInput {
	p.t.Helper()
	stage := p.spec.Stages[1]
	step := at.Version + 1
	adm := grouse.NewAdmission(draw.Count, 1)
	in := activities.TrainInput{Stage: 1, Step: step, Policy: at, Draws: []activities.DrawPromptsOutput{draw}, Next: &activities.DrawPromptsInput{Stage: 1, Step: step + 1, N: activities.DrawSize(stage), Head: step}, PurgeTo: step}
	sampled := must[activities.SampleGroupsOutput](p, p.parts.Rollouts.SampleGroups, activities.SampleGroupsInput{Run: p.spec.Name, Purpose: activities.PurposeRollout,
		Stage: 1, Step: step, Policy: at, Prompts: draw.Prompts, To: draw.Count, N: 4, Rollout: stage.Rollout, Seed: 7})
	scored := must[activities.ScoreGroupsOutput](p, p.parts.Rewards.ScoreGroups, activities.ScoreGroupsInput{Run: p.spec.Name, Stage: 1, Step: step,
		Groups: sampled.Groups, Prompts: draw.Prompts, Domains: stage.Domains, Rules: grouse.AdmissionRules{NumGenerations: 4, Vocab: 4, Filter: grouse.FilterTotal}})
	verdicts, err := adm.AddWave(scored.Verdicts)
	if err != nil {
		p.t.Fatal(err)
	}
	in.Waves = []activities.Wave{{Count: draw.Count, Groups: []grouse.BatchRef{sampled.Groups}, Scores: []grouse.BatchRef{scored.Scores}}}
	in.Verdicts, in.Stats = verdicts, adm.Metrics()
	return in
}

// steps trains up to a step and returns the policy.
func (p *process) steps(to int64) grouse.PolicyRef {
	p.t.Helper()
	at, draws := p.prepare()
	for at.Version < to {
		in := p.input(at, draws[0])
		if in.Step == to {
			in.Next = nil
		}
		out := must[activities.TrainOutput](p, p.parts.Trainer.Train, in)
		if at = out.Policy; out.Next != nil {
			draws = []activities.DrawPromptsOutput{*out.Next}
		}
		if at.Version%2 == 0 {
			must[activities.CheckpointOutput](p, p.parts.Trainer.Checkpoint, activities.CheckpointInput{Policy: at})
		}
	}
	return at
}

func errType(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}

// records returns what the run's ledger says, without checkpoints: when those
// are made is no decision of the run.
func records(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for e, err := range ledger.Read(dir) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != grouse.RecordCheckpoint {
			out = append(out, fmt.Sprintf("%s %s", e.Kind, e.Payload))
		}
	}
	return out
}

func TestSameWeightsHoweverOftenKilled(t *testing.T) {
	dir := t.TempDir()
	want := begin(t, toy.NewWorld(), toy.Spec("r", 6), dir).steps(6)
	wantRecords := records(t, dir)

	for _, point := range []string{"draw", "sample", "score", "train", "trained", "publish", "save", "sft"} {
		t.Run(point, func(t *testing.T) {
			dir, w := t.TempDir(), toy.NewWorld()
			// Every fifth time that the point is reached the process dies; all
			// batches on the bus and all samplers die with it.
			n := 0
			dead := errors.New("killed")
			w.Fail = func(at string) error {
				if at == point {
					if n++; n%5 == 2 {
						return dead
					}
				}
				return nil
			}
			var got grouse.PolicyRef
			lives := 0
			for ; lives < 50; lives++ {
				ok := true
				t.Run(fmt.Sprint("life ", lives), func(t *testing.T) {
					p := begin(t, w, toy.Spec("r", 6), dir)
					defer p.die()
					got, ok = p.until(6, dead)
				})
				if ok {
					break
				}
				w.LoseBus()
				w.LoseSamplers()
			}
			if lives == 0 {
				t.Fatalf("point %s was not reached twice", point)
			}
			if got != want {
				t.Errorf("after %d deaths %+v, undisturbed %+v", lives, got, want)
			}
			if recs := records(t, dir); !reflect.DeepEqual(recs, wantRecords) {
				i := 0
				for i < len(recs) && i < len(wantRecords) && recs[i] == wantRecords[i] {
					i++
				}
				t.Errorf("the ledger after %d deaths has %d records, undisturbed %d; the first that differs:\n%s\n%s",
					lives, len(recs), len(wantRecords), append(recs, "")[i], append(wantRecords, "")[i])
			}
		})
	}
}

// until is steps, but ends with ok false when the process dies.
func (p *process) until(to int64, dead error) (at grouse.PolicyRef, ok bool) {
	died := func(err error) bool {
		if err == nil {
			return false
		}
		if !strings.Contains(err.Error(), dead.Error()) {
			p.t.Fatal(err)
		}
		return true
	}
	tr := p.parts.Trainer
	prepared, err := call[activities.PrepareOutput](p, tr.Prepare, activities.PrepareInput{Spec: p.spec})
	if died(err) {
		return at, false
	}
	at = prepared.Policy
	if at.Stage < 1 {
		if out, err := call[activities.BeginStageOutput](p, tr.BeginStage, activities.BeginStageInput{Stage: 0, Policy: at, Ahead: 1}); died(err) {
			return at, false
		} else {
			at = out.Policy
		}
		for at.Version < 20 {
			out, err := call[activities.TrainSFTOutput](p, tr.TrainSFT, activities.TrainSFTInput{Stage: 0, First: at.Version + 1, Last: at.Version + 10, Policy: at})
			if died(err) {
				return at, false
			}
			at = out.Policy
		}
	}
	begun, err := call[activities.BeginStageOutput](p, tr.BeginStage, activities.BeginStageInput{Stage: 1, Policy: at, Ahead: 1})
	if died(err) {
		return at, false
	}
	at, draws := begun.Policy, begun.Draws
	for at.Version < to {
		in, err := p.tryInput(at, draws[0])
		if died(err) {
			return at, false
		}
		if in.Step == to {
			in.Next = nil
		}
		out, err := call[activities.TrainOutput](p, tr.Train, in)
		if died(err) {
			return at, false
		}
		if at = out.Policy; out.Next != nil {
			draws = []activities.DrawPromptsOutput{*out.Next}
		}
		if at.Version%2 == 0 {
			if _, err := call[activities.CheckpointOutput](p, tr.Checkpoint, activities.CheckpointInput{Policy: at}); died(err) {
				return at, false
			}
		}
	}
	return at, true
}

// tryInput is input for a process that may die.
func (p *process) tryInput(at grouse.PolicyRef, draw activities.DrawPromptsOutput) (in activities.TrainInput, err error) {
	stage := p.spec.Stages[1]
	step := at.Version + 1
	sampled, err := call[activities.SampleGroupsOutput](p, p.parts.Rollouts.SampleGroups, activities.SampleGroupsInput{Run: p.spec.Name, Purpose: activities.PurposeRollout,
		Stage: 1, Step: step, Policy: at, Prompts: draw.Prompts, To: draw.Count, N: 4, Rollout: stage.Rollout, Seed: 7})
	if err != nil {
		return in, err
	}
	scored, err := call[activities.ScoreGroupsOutput](p, p.parts.Rewards.ScoreGroups, activities.ScoreGroupsInput{Run: p.spec.Name, Stage: 1, Step: step,
		Groups: sampled.Groups, Prompts: draw.Prompts, Domains: stage.Domains, Rules: grouse.AdmissionRules{NumGenerations: 4, Vocab: 4, Filter: grouse.FilterTotal}})
	if err != nil {
		return in, err
	}
	adm := grouse.NewAdmission(draw.Count, 1)
	verdicts, err := adm.AddWave(scored.Verdicts)
	return activities.TrainInput{Stage: 1, Step: step, Policy: at, PurgeTo: step, Draws: []activities.DrawPromptsOutput{draw}, Verdicts: verdicts, Stats: adm.Metrics(),
		Next:  &activities.DrawPromptsInput{Stage: 1, Step: step + 1, N: activities.DrawSize(stage), Head: step},
		Waves: []activities.Wave{{Count: draw.Count, Groups: []grouse.BatchRef{sampled.Groups}, Scores: []grouse.BatchRef{scored.Scores}}}}, err
}

func TestTrainTwiceIsOnce(t *testing.T) {
	w := toy.NewWorld()
	p := begin(t, w, toy.Spec("r", 6), t.TempDir())
	at, draws := p.prepare()
	in := p.input(at, draws[0])
	first := must[activities.TrainOutput](p, p.parts.Trainer.Train, in)
	again := must[activities.TrainOutput](p, p.parts.Trainer.Train, in) // its batches are purged by now
	if again.Policy != first.Policy || !reflect.DeepEqual(again.Stats, first.Stats) || *again.Next != *first.Next {
		t.Errorf("again %+v, first %+v", again, first)
	}
	if n := w.Count("train"); n != 1 {
		t.Errorf("the optimizer ran %d times, want 1", n)
	}
	if again.Policy.Version != 1 || first.Policy.Chain == at.Chain {
		t.Errorf("policy after the step: %+v", first.Policy)
	}

	in.Policy.Chain = strings.Repeat("0", 64)
	if _, err := call[activities.TrainOutput](p, p.parts.Trainer.Train, in); errType(err) != string(grouse.Stale) {
		t.Errorf("another chain for a step that is done: %v, want stale", err)
	}
}

func TestBeginStageTwiceIsOnce(t *testing.T) {
	p := begin(t, toy.NewWorld(), toy.Spec("r", 6), t.TempDir())
	tr := p.parts.Trainer
	at := must[activities.PrepareOutput](p, tr.Prepare, activities.PrepareInput{Spec: p.spec}).Policy
	for stage := range 2 {
		in := activities.BeginStageInput{Stage: stage, Policy: at, Ahead: 1}
		first := must[activities.BeginStageOutput](p, tr.BeginStage, in)
		again := must[activities.BeginStageOutput](p, tr.BeginStage, in)
		if !reflect.DeepEqual(again, first) || first.Policy.Stage != stage || first.Policy.Version != 0 {
			t.Errorf("stage %d begun again: %+v, first %+v", stage, again, first)
		}
		at = first.Policy
		for stage == 0 && at.Version < 20 {
			at = must[activities.TrainSFTOutput](p, tr.TrainSFT, activities.TrainSFTInput{Stage: 0, First: at.Version + 1, Last: at.Version + 10, Policy: at}).Policy
		}
	}
}

func TestCommittedBatchIsTrainedOn(t *testing.T) {
	dir, w := t.TempDir(), toy.NewWorld()
	p := begin(t, w, toy.Spec("r", 6), dir)
	at, draws := p.prepare()
	in := p.input(at, draws[0])
	w.Fail = func(point string) error {
		if point == "train" {
			return errors.New("killed")
		}
		return nil
	}
	if _, err := call[activities.TrainOutput](p, p.parts.Trainer.Train, in); err == nil {
		t.Fatal("the optimizer did not fail")
	}
	if _, err := p.ledger.Find(grouse.RecordBatch, grouse.StepKey(1, 1)); err != nil {
		t.Fatalf("the batch is not in the ledger before the optimizer: %v", err)
	}
	p.die()
	w.Fail = nil
	w.LoseBus()
	q := begin(t, w, toy.Spec("r", 6), dir)
	must[activities.PrepareOutput](q, q.parts.Trainer.Prepare, activities.PrepareInput{Spec: q.spec})
	in.Next = nil
	sampled := w.Count("sample")
	must[activities.TrainOutput](q, q.parts.Trainer.Train, in)
	if n := w.Count("sample"); n != sampled {
		t.Errorf("a committed rollout was generated again: %d samplings, %d before", n, sampled)
	}
}

func TestLostBatchIsTold(t *testing.T) {
	w := toy.NewWorld()
	p := begin(t, w, toy.Spec("r", 6), t.TempDir())
	at, draws := p.prepare()
	in := p.input(at, draws[0])
	w.LoseBus()
	_, err := call[activities.TrainOutput](p, p.parts.Trainer.Train, in)
	if errType(err) != activities.BatchMissing {
		t.Errorf("train without its batch: %v, want %s", err, activities.BatchMissing)
	}
	w.LoseSamplers()
	draw := must[activities.DrawPromptsOutput](p, p.parts.Trainer.DrawPrompts, activities.DrawPromptsInput{Stage: 1, Step: 1, N: activities.DrawSize(p.spec.Stages[1])})
	if draw != draws[0] {
		t.Errorf("drawn again: %+v, want %+v", draw, draws[0])
	}
	_, err = call[activities.SampleGroupsOutput](p, p.parts.Rollouts.SampleGroups, activities.SampleGroupsInput{Run: "r", Stage: 1, Step: 1, Policy: at,
		Prompts: draw.Prompts, To: draw.Count, N: 4})
	if errType(err) != activities.PolicyMissing {
		t.Errorf("sample without weights: %v, want %s", err, activities.PolicyMissing)
	}
	must[activities.PublishOutput](p, p.parts.Trainer.Publish, activities.PublishInput{Policy: at})
	if again := p.input(at, draw); !reflect.DeepEqual(again.Waves, in.Waves) {
		t.Errorf("planned again: %+v, want %+v", again.Waves, in.Waves)
	}
}

func TestZombieIsRefused(t *testing.T) {
	dir, w := t.TempDir(), toy.NewWorld()
	p := begin(t, w, toy.Spec("r", 6), dir)
	at, draws := p.prepare()
	in := p.input(at, draws[0])
	if err := os.WriteFile(filepath.Join(dir, "LOCK"), []byte("epoch 99\n"), 0o644); err != nil { // another took over
		t.Fatal(err)
	}
	if _, err := call[activities.TrainOutput](p, p.parts.Trainer.Train, in); errType(err) != string(grouse.Stale) {
		t.Errorf("train with a stale epoch: %v, want stale", err)
	}
	if n := w.Count("train"); n != 0 {
		t.Errorf("the optimizer ran %d times", n)
	}
}

func TestBadCheckpointFallsBack(t *testing.T) {
	dir, w := t.TempDir(), toy.NewWorld()
	p := begin(t, w, toy.Spec("r", 6), dir)
	want := p.steps(5)
	p.die()
	files, err := filepath.Glob(filepath.Join(dir, "checkpoints", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("checkpoints %v, %v; want the 2 that are kept", files, err)
	}
	if err := os.WriteFile(files[1], []byte("[0,0,0,0]"), 0o644); err != nil {
		t.Fatal(err)
	}
	trained := w.Count("train")
	q := begin(t, w, toy.Spec("r", 6), dir)
	if got := must[activities.PrepareOutput](q, q.parts.Trainer.Prepare, activities.PrepareInput{Spec: q.spec}).Policy; got != want {
		t.Errorf("restored %+v, want %+v", got, want)
	}
	if n := w.Count("train") - trained; n != 3 {
		t.Errorf("%d steps replayed, want 3: from step 2 to 5", n)
	}
	warned := false
	for _, e := range q.events {
		warned = warned || e.Kind == "warning" && strings.Contains(e.Text, "cannot be used")
	}
	if !warned {
		t.Errorf("nothing was said of the bad checkpoint: %+v", q.events)
	}
}

func TestReplayThatDivergesIsCorrupt(t *testing.T) {
	dir, w := t.TempDir(), toy.NewWorld()
	p := begin(t, w, toy.Spec("r", 6), dir)
	p.steps(3)
	p.die()
	blobs, err := filepath.Glob(filepath.Join(dir, "checkpoints", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs { // replay from the beginning, with an optimizer that adds otherwise
		os.Remove(b)
	}
	w.Fail = nil
	spec := toy.Spec("r", 6)
	q := begin(t, w, spec, dir)
	toy.Perturb(q.parts, 1e-12)
	_, err = call[activities.PrepareOutput](q, q.parts.Trainer.Prepare, activities.PrepareInput{Spec: q.spec})
	if errType(err) != string(grouse.Corrupt) || !strings.Contains(err.Error(), "replaying") {
		t.Errorf("another arithmetic: %v, want corrupt", err)
	}
}

func TestAnotherRecipeIsRefused(t *testing.T) {
	dir, w := t.TempDir(), toy.NewWorld()
	p := begin(t, w, toy.Spec("r", 6), dir)
	p.prepare()
	p.die()
	spec := toy.Spec("r", 7)
	q := begin(t, w, spec, dir)
	if _, err := call[activities.PrepareOutput](q, q.parts.Trainer.Prepare, activities.PrepareInput{Spec: spec}); errType(err) != string(grouse.Invalid) {
		t.Errorf("another recipe: %v, want invalid", err)
	}
	spec = toy.Spec("r", 6)
	spec.Description, spec.Stages[1].Rollout.GroupsPerShard = "other words", 1
	must[activities.PrepareOutput](q, q.parts.Trainer.Prepare, activities.PrepareInput{Spec: spec})
}

func TestErrorsSayWhetherToTryAgain(t *testing.T) {
	for _, c := range []struct {
		err   error
		typ   string
		final bool
	}{
		{grouse.Errorf(grouse.Invalid, "x").WithFix("mend it"), "invalid", true},
		{grouse.Errorf(grouse.Unavailable, "x"), "unavailable", false},
		{fmt.Errorf("sample: %w", grouse.Errorf(grouse.Corrupt, "x")), "corrupt", true},
		{errors.New("connection reset"), "unknown", false},
	} {
		w := toy.NewWorld()
		p := begin(t, w, toy.Spec("r", 6), t.TempDir())
		at, draws := p.prepare()
		w.Fail = func(point string) error {
			if point == "sample" {
				return c.err
			}
			return nil
		}
		_, err := call[activities.SampleGroupsOutput](p, p.parts.Rollouts.SampleGroups, activities.SampleGroupsInput{Run: "r", Stage: 1, Step: 1, Policy: at,
			Prompts: draws[0].Prompts, To: 6, N: 4})
		var app *temporal.ApplicationError
		if !errors.As(err, &app) || app.Type() != c.typ || app.NonRetryable() != c.final {
			t.Errorf("%v became %v (type %q), want type %q, final %v", c.err, err, errType(err), c.typ, c.final)
		}
		if fix := grouse.FixOf(c.err); fix != "" && !strings.HasSuffix(app.Message(), fix) {
			t.Errorf("message %q does not end with %q", app.Message(), fix)
		}
	}
}

func TestWorkerEnds(t *testing.T) {
	p := begin(t, toy.NewWorld(), toy.Spec("r", 6), t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	env := suite().NewTestActivityEnvironment()
	env.SetWorkerOptions(workerOptions(ctx))
	env.RegisterActivity(p.parts.Trainer)
	_, err := env.ExecuteActivity(p.parts.Trainer.Prepare, activities.PrepareInput{Spec: p.spec})
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.NonRetryable() || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("worker ends: %v, want an error that lets another worker try", err)
	}
}
