package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/activities/toy"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/workflows"
)

// fixture is a toy run in Temporal's test environment.
type fixture struct {
	t     *testing.T
	spec  grouse.RunSpec
	world *toy.World
	dir   string
	env   *testsuite.TestWorkflowEnvironment
	parts *toy.Parts
	led   *ledger.Writer
	// completed is called, within the workflow's loop, after every activity.
	completed func(name string, n int)
	attrs     map[int64]bool // steps that the search attributes told of
	answers   int            // to updates
}

func newFixture(t *testing.T, spec grouse.RunSpec) *fixture {
	f := &fixture{t: t, spec: spec, world: toy.NewWorld(), dir: t.TempDir(), attrs: map[int64]bool{}}
	f.restart()
	return f
}

// restart begins an execution with processes that remember nothing.
func (f *fixture) restart() {
	f.t.Helper()
	if f.led != nil {
		f.led.Close()
	}
	var err error
	if f.led, err = ledger.Open(f.dir, ledger.Options{}); err != nil {
		f.t.Fatal(err)
	}
	led := f.led
	f.t.Cleanup(func() { led.Close() })
	f.parts = toy.New(f.world, f.spec, f.dir, f.led, nil)
	var s testsuite.WorkflowTestSuite
	s.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	f.env = s.NewTestWorkflowEnvironment()
	f.env.SetTestTimeout(30 * time.Second)
	f.env.RegisterWorkflow(workflows.Run)
	f.env.RegisterWorkflow(workflows.Eval)
	f.env.RegisterActivity(f.parts.Rollouts)
	f.env.RegisterActivity(f.parts.Rewards)
	f.env.RegisterActivity(f.parts.Trainer)
	f.env.OnUpsertTypedSearchAttributes(mock.MatchedBy(func(a temporal.SearchAttributes) bool {
		if step, ok := a.GetInt64(workflows.AttributeStep); ok {
			f.attrs[step] = true
		}
		return true
	})).Return(nil).Maybe()
	n := map[string]int{}
	f.env.SetOnActivityCompletedListener(func(info *activity.Info, _ converter.EncodedValue, _ error) {
		n[info.ActivityType.Name]++
		if f.completed != nil {
			f.completed(info.ActivityType.Name, n[info.ActivityType.Name])
		}
	})
}

// run executes a run to its end, over continue-as-new, and returns its state.
func (f *fixture) run(state workflows.RunState) (workflows.RunState, error) {
	f.t.Helper()
	for executions := 0; executions < 50; executions++ {
		f.env.ExecuteWorkflow(workflows.Run, state)
		if !f.env.IsWorkflowCompleted() {
			f.t.Fatal("the workflow did not end")
		}
		err := f.env.GetWorkflowError()
		var next *workflow.ContinueAsNewError
		if errors.As(err, &next) {
			state = workflows.RunState{}
			if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &state); err != nil {
				f.t.Fatal(err)
			}
			f.restart()
			continue
		}
		var out workflows.RunState
		if err == nil {
			if err := f.env.GetWorkflowResult(&out); err != nil {
				f.t.Fatal(err)
			}
		}
		return out, err
	}
	f.t.Fatal("50 executions and no end")
	return state, nil
}

func (f *fixture) start() (workflows.RunState, error) {
	return f.run(workflows.RunState{Spec: f.spec, SearchAttributes: true})
}

func mustRun(t *testing.T, f *fixture) workflows.RunState {
	t.Helper()
	state, err := f.start()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// undisturbed returns the end of the run that others are compared with.
func undisturbed(t *testing.T, spec grouse.RunSpec) workflows.RunState {
	t.Helper()
	return mustRun(t, newFixture(t, spec))
}

func query[Out any](f *fixture, name string) Out {
	f.t.Helper()
	val, err := f.env.QueryWorkflow(name)
	var out Out
	if err == nil {
		err = val.Get(&out)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// update sends an update and fails unless it is taken, or refused for a reason
// that contains refusal. The answer comes after the caller returned.
func (f *fixture) update(name string, arg any, refusal string) {
	f.env.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnAccept: func() {
			if f.answers++; refusal != "" {
				f.t.Errorf("%s %+v was taken, want %q", name, arg, refusal)
			}
		},
		OnReject: func(err error) {
			if f.answers++; refusal == "" || !strings.Contains(err.Error(), refusal) {
				f.t.Errorf("%s %+v was refused: %v, want %q", name, arg, err, refusal)
			}
		},
		OnComplete: func(any, error) {},
	}, arg)
}

func TestWholeRun(t *testing.T) {
	f := newFixture(t, toy.Spec("r", 6))
	state := mustRun(t, f)
	if state.State != workflows.StateDone || state.Policy.Stage != 1 || state.Policy.Version != 6 {
		t.Errorf("ended %s at %+v", state.State, state.Policy)
	}
	if len(state.Evals) != 2 || state.Evals[0].Step != 0 || state.Evals[1].Step != 6 || state.Evals[0].Prompts != 10 {
		t.Errorf("evaluations %+v, want one before and one after", state.Evals)
	}
	// 20 updates in tens, 6 steps; checkpoints: update 4..20 crossings once per
	// call, end of stage, step 4, end.
	if n := f.world.Count("train"); n != 6 {
		t.Errorf("%d optimizer steps, want 6", n)
	}
	if n := f.world.Count("sft"); n != 2 {
		t.Errorf("%d calls of sft, want 2", n)
	}
	if len(state.Rows) != 8 || state.Rows[7].Step != 6 || state.Rows[7].Stats["reward"] == 0 {
		t.Errorf("rows %+v", state.Rows)
	}
	for step := range int64(7) {
		if !f.attrs[step] {
			t.Errorf("the search attributes did not tell of step %d", step)
		}
	}
	drawn, trained := map[string]int{}, 0
	for e, err := range ledger.Read(f.dir) {
		if err != nil {
			t.Fatal(err)
		}
		rec, err := e.Record()
		if err != nil {
			t.Fatal(err)
		}
		switch rec := rec.(type) {
		case grouse.DrawRecord:
			for _, p := range rec.Prompts {
				drawn[fmt.Sprint(rec.Step, p.Candidate)]++
			}
		case grouse.GroupRecord:
			for _, g := range rec.Groups {
				drawn[fmt.Sprint(rec.Step, g.Candidate)] += 10
				if g.State == grouse.GroupTrained {
					trained++
				}
			}
		}
	}
	for k, v := range drawn {
		if v != 11 {
			t.Errorf("candidate %s: drawn and finished %d times (11 is once each)", k, v)
		}
	}
	if trained == 0 || trained > 36 {
		t.Errorf("%d groups trained on", trained)
	}
}

func TestShardsChangeNothing(t *testing.T) {
	want := undisturbed(t, toy.Spec("r", 4)).Policy
	for _, size := range []int{0, 1, 5} {
		spec := toy.Spec("r", 4)
		spec.Stages[1].Rollout.GroupsPerShard = size
		if got := undisturbed(t, spec).Policy; got != want {
			t.Errorf("%d groups a shard: %+v, want %+v", size, got, want)
		}
	}
}

func TestRewardQueue(t *testing.T) {
	spec := toy.Spec("r", 3)
	far := spec.Stages[1].Domains[0]
	far.Name = "far"
	spec.Stages[1].Domains = append(spec.Stages[1].Domains, far)
	f := newFixture(t, spec)
	remote := 0
	f.completed = func(name string, _ int) {
		if name == "ScoreGroups" { // local ones are not told of here
			remote++
		}
	}
	if state := mustRun(t, f); state.Policy.Version != 3 {
		t.Errorf("ended at %+v", state.Policy)
	}
	if remote < 3 {
		t.Errorf("%d shards were scored on the reward queue, want at least one a step", remote)
	}
}

func TestContinueAsNew(t *testing.T) {
	spec := toy.Spec("r", 9)
	want := undisturbed(t, spec)
	f := newFixture(t, spec)
	again := func() {
		f.completed = func(name string, n int) {
			if (name == "Train" || name == "TrainSFT") && n == 2 {
				f.env.SetContinueAsNewSuggested(true)
			}
		}
	}
	again()
	got := mustRun(t, f)
	if got.Executions < 4 {
		t.Errorf("%d continuations, want several", got.Executions)
	}
	if got.Policy != want.Policy || !reflect.DeepEqual(got.Evals, want.Evals) || len(got.Rows) != len(want.Rows) {
		t.Errorf("over %d continuations %+v, in one %+v", got.Executions, got.Policy, want.Policy)
	}
	for i := range got.Rows {
		if !reflect.DeepEqual(got.Rows[i].Stats, want.Rows[i].Stats) {
			t.Errorf("row %d: %v, want %v", i, got.Rows[i].Stats, want.Rows[i].Stats)
		}
	}
}

func TestStalenessIsAFixedLag(t *testing.T) {
	spec := toy.Spec("r", 8)
	spec.Stages[1].Rollout.MaxStaleness = 2
	want := undisturbed(t, spec)
	onPolicy := undisturbed(t, toy.Spec("r", 8))
	if want.Policy.Chain == onPolicy.Policy.Chain {
		t.Error("staleness 2 trained on the same groups as staleness 0")
	}
	f := newFixture(t, spec)
	f.completed = func(name string, n int) { // continued with steps in flight
		if name == "Train" && n == 3 {
			f.env.SetContinueAsNewSuggested(true)
		}
	}
	if got := mustRun(t, f); got.Policy != want.Policy || got.Executions == 0 {
		t.Errorf("over %d continuations %+v, in one %+v", got.Executions, got.Policy, want.Policy)
	}
	for e, err := range ledger.Read(f.dir) {
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := e.Record(); err != nil {
			t.Fatal(err)
		} else if d, ok := rec.(grouse.DrawRecord); ok && d.Head != max(0, d.Step-3) {
			t.Errorf("step %d was drawn with what %d steps told, want %d", d.Step, d.Head, max(0, d.Step-3))
		}
	}
}

func TestEverythingIsLost(t *testing.T) {
	want := undisturbed(t, toy.Spec("r", 6)).Policy
	f := newFixture(t, toy.Spec("r", 6))
	lost := 0
	f.world.Fail = func(point string) error {
		// The batches and the samplers' weights go while scoring; once they are
		// back, again.
		if point == "score" && f.world.Count("score")%5 == 2 {
			f.world.LoseBus()
			f.world.LoseSamplers()
			lost++
		}
		return nil
	}
	if got := mustRun(t, f).Policy; got != want || lost < 2 {
		t.Errorf("after %d losses %+v, undisturbed %+v", lost, got, want)
	}
}

func TestFailureThenRetry(t *testing.T) {
	want := undisturbed(t, toy.Spec("r", 5)).Policy
	f := newFixture(t, toy.Spec("r", 5))
	n := 0
	f.world.Fail = func(point string) error {
		if point == "train" || point == "trained" || point == "sample" {
			if n++; n%7 == 1 {
				return grouse.Errorf(grouse.Unavailable, "the device is away")
			}
		}
		return nil
	}
	if got := mustRun(t, f).Policy; got != want {
		t.Errorf("with failures %+v, undisturbed %+v", got, want)
	}
	if n < 10 {
		t.Errorf("only %d points were reached", n)
	}
}

func TestFinalErrorEndsTheRun(t *testing.T) {
	f := newFixture(t, toy.Spec("r", 5))
	f.world.Fail = func(point string) error {
		if point == "train" {
			return grouse.Errorf(grouse.Invalid, "a prompt is too long").WithFix("shorten it")
		}
		return nil
	}
	_, err := f.start()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != "invalid" || !strings.HasPrefix(app.Message(), "step 1 · train: ") || !strings.HasSuffix(app.Message(), "shorten it") {
		t.Errorf("ended with %v, want an invalid error that says where and how to mend it", err)
	}
	if s := query[workflows.Status](f, workflows.QueryStatus); s.State != workflows.StateFailed {
		t.Errorf("status %s, want failed", s.State)
	}

	// Mended, it goes on from where it was.
	f.world.Fail = nil
	f.restart()
	want := undisturbed(t, toy.Spec("r", 5)).Policy
	if state := mustRun(t, f); state.Policy != want {
		t.Errorf("after mending %+v, undisturbed %+v", state.Policy, want)
	}
}

func TestStopAndGoOn(t *testing.T) {
	want := undisturbed(t, toy.Spec("r", 8))
	f := newFixture(t, toy.Spec("r", 8))
	f.completed = func(name string, n int) {
		if name == "Train" && n == 3 {
			f.update(workflows.UpdateStop, workflows.StopInput{}, "")
			f.update(workflows.UpdateStop, workflows.StopInput{}, "stopping already")
			f.update(workflows.UpdatePause, workflows.PauseInput{}, "stopping")
		}
	}
	state := mustRun(t, f)
	// The next step may have been scheduled by the time the update came.
	if v := state.Policy.Version; state.State != workflows.StateStopped || v < 3 || v > 4 || state.Saved == nil || *state.Saved != state.Policy || f.answers != 3 {
		t.Errorf("stopped %s at %+v, saved %+v, %d answers", state.State, state.Policy, state.Saved, f.answers)
	}
	f.completed = nil
	f.restart()
	state, err := f.run(state.Resumed())
	if err != nil {
		t.Fatal(err)
	}
	if state.State != workflows.StateDone || state.Policy != want.Policy || !reflect.DeepEqual(state.Evals, want.Evals) {
		t.Errorf("after stop %+v, evaluations %+v; undisturbed %+v, %+v", state.Policy, state.Evals, want.Policy, want.Evals)
	}
	if f.world.Count("train") != 8 {
		t.Errorf("%d optimizer steps, want 8: nothing is done again after a checkpoint", f.world.Count("train"))
	}

	// Once more on the finished run: nothing is left to do.
	f.restart()
	if state, err = f.run(state.Resumed()); err != nil || state.Policy != want.Policy || len(state.Evals) != 2 {
		t.Errorf("a finished run again: %+v, %v", state.Policy, err)
	}
	if f.world.Count("train") != 8 {
		t.Errorf("a finished run trained again: %d steps", f.world.Count("train"))
	}
}

func TestPauseResumeCheckpoint(t *testing.T) {
	want := undisturbed(t, toy.Spec("r", 5)).Policy
	f := newFixture(t, toy.Spec("r", 5))
	saved, held := 0, int64(0)
	f.completed = func(name string, n int) {
		switch {
		case name == "Train" && n == 2:
			f.update(workflows.UpdateResume, workflows.ResumeInput{}, "not paused")
			f.update(workflows.UpdatePause, workflows.PauseInput{Reason: "look at it"}, "")
			f.env.RegisterDelayedCallback(func() {
				s := query[workflows.Status](f, workflows.QueryStatus)
				if held = s.Step; s.State != workflows.StatePaused || s.Reason != "look at it" || held < 2 || held > 3 {
					t.Errorf("an hour later: %+v", s)
				}
				f.update(workflows.UpdatePause, workflows.PauseInput{}, "paused already")
				f.update(workflows.UpdateCheckpoint, workflows.CheckpointInput{}, "")
			}, time.Hour)
			f.env.RegisterDelayedCallback(func() {
				if n := f.world.Count("train"); int64(n) != held {
					t.Errorf("a paused run trained on: %d steps, held at %d", n, held)
				}
				if s := query[workflows.Status](f, workflows.QueryStatus); s.Checkpoint == nil || s.Checkpoint.Version != held {
					t.Errorf("no checkpoint while paused: %+v", s)
				}
				f.update(workflows.UpdateResume, workflows.ResumeInput{}, "")
			}, 2*time.Hour)
		case name == "Checkpoint":
			saved++
		}
	}
	if got := mustRun(t, f).Policy; got != want {
		t.Errorf("with a pause %+v, undisturbed %+v", got, want)
	}
	rows := query[[]workflows.StepRow](f, workflows.QueryMetrics)
	if len(rows) == 0 || rows[len(rows)-1].Step != 5 {
		t.Errorf("metrics %+v", rows)
	}
	if spec := query[grouse.RunSpec](f, workflows.QueryConfig); spec.Name != "r" {
		t.Errorf("config %+v", spec)
	}
	if saved < 3 {
		t.Errorf("%d checkpoints", saved)
	}
}

func TestSet(t *testing.T) {
	f := newFixture(t, toy.Spec("r", 6))
	lr, steps, zero := 0.5, 4, 0
	f.completed = func(name string, n int) {
		if name != "Train" || n != 2 {
			return
		}
		big, never := 3.0, -1
		for refusal, bad := range map[string]workflows.SetInput{
			"nothing to set":           {},
			"learning_rate 3":          {LearningRate: &big},
			"one of: even":             {Beta: map[string]float64{"mathe": 0.1}},
			"beta of even: -1":         {Beta: map[string]float64{"even": -1}},
			"keeps no reference":       {Beta: map[string]float64{"even": 0.1}},
			"are done already":         {Steps: &zero},
			"at least 0, which means ": {EvalEvery: &never},
		} {
			f.update(workflows.UpdateSet, bad, refusal)
		}
		f.update(workflows.UpdateSet, workflows.SetInput{LearningRate: &lr, Steps: &steps}, "")
	}
	state := mustRun(t, f)
	if state.Policy.Version != 4 || f.answers != 8 {
		t.Errorf("ended at step %d with %d answers, want 4 and 8", state.Policy.Version, f.answers)
	}
	for _, row := range state.Rows {
		if row.Stage == 1 {
			want := map[int64]float64{1: 0.1, 2: 0.1, 4: lr}[row.Step] // step 3 may have been scheduled by the time the update came
			if got := row.Stats["learning_rate"]; row.Step != 3 && got != want {
				t.Errorf("step %d: learning rate %v, want %v", row.Step, got, want)
			}
		}
	}
	if state.Settings.LearningRate == nil || *state.Settings.LearningRate != lr {
		t.Errorf("settings %+v", state.Settings)
	}

	// What was set is in the ledger: a replay from the beginning needs no history.
	f.completed = nil
	f.restart()
	if again, err := f.run(state.Resumed()); err != nil || again.Policy != state.Policy {
		t.Errorf("again %+v, %v; want %+v", again.Policy, err, state.Policy)
	}
}

func TestRewardGuardPauses(t *testing.T) {
	spec := toy.Spec("r", 3)
	spec.RewardGuard = 0.3
	want := undisturbed(t, spec).Policy
	f := newFixture(t, spec)
	f.parts.Rewards.Scorer = toy.Failing(f.parts.Rewards.Scorer, func() bool { return f.world.Count("train") == 1 && f.world.Count("score") < 30 })
	f.env.RegisterDelayedCallback(func() {
		s := query[workflows.Status](f, workflows.QueryStatus)
		if s.State != workflows.StatePaused || !strings.Contains(s.Reason, "the judge is away") {
			t.Errorf("rewards fail: %+v", s)
		}
		f.parts.Rewards.Scorer = toy.Failing(f.parts.Rewards.Scorer, nil)
		f.update(workflows.UpdateResume, workflows.ResumeInput{}, "")
	}, time.Hour)
	if got := mustRun(t, f).Policy; got != want {
		t.Errorf("after the pause %+v, undisturbed %+v", got, want)
	}
}

func TestRejectionSampling(t *testing.T) {
	spec := toy.Spec("r", 2)
	reject := spec.Stages[1]
	reject.Name, reject.Kind, reject.Steps = "best", grouse.StageRejectionSampling, 1
	reject.Reject = grouse.RejectSpec{N: 4, Keep: 2, MinReward: 1}
	again := spec.Stages[0]
	again.Name, again.Model = "again", "base"
	spec.Stages = append(spec.Stages, reject, again)
	f := newFixture(t, spec)
	state := mustRun(t, f)
	if state.State != workflows.StateDone || state.Policy.Stage != 3 || state.Policy.Version != 20 {
		t.Errorf("ended %s at %+v", state.State, state.Policy)
	}
	if n := f.world.Count("keep"); n == 0 || n > 20 {
		t.Errorf("%d rows were kept, want at most 2 of each of 10 prompts", n)
	}
}

// TestNoWorker lets nobody take work from the reward queue for a while: the
// status says so, and the run goes on when somebody does.
func TestNoWorker(t *testing.T) {
	spec := toy.Spec("r", 2)
	spec.Stages[1].Domains[0].Name = "far"
	spec.Eval = grouse.EvalSpec{} // no child: it has a status of its own
	want := undisturbed(t, spec).Policy
	f := newFixture(t, spec)
	var back atomic.Bool // activities and the workflow have goroutines of their own
	f.env.OnActivity("ScoreGroups", mock.Anything, mock.Anything).Return(
		func(ctx context.Context, in activities.ScoreGroupsInput) (activities.ScoreGroupsOutput, error) {
			if !back.Load() {
				return activities.ScoreGroupsOutput{}, temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, nil)
			}
			return f.parts.Rewards.ScoreGroups(ctx, in)
		})
	waited := ""
	f.completed = func(name string, n int) {
		if name == "ScoreGroups" && !back.Load() {
			if n > 35 { // the test environment tries ten times before the workflow hears of it
				back.Store(true)
			}
			if s := query[workflows.Status](f, workflows.QueryStatus); s.Waiting != "" {
				waited = s.Waiting
			}
		}
	}
	if got := mustRun(t, f).Policy; got != want {
		t.Errorf("after waiting %+v, undisturbed %+v", got, want)
	}
	if !strings.Contains(waited, "task queue grouse-reward ") || !strings.Contains(waited, "grouse worker") {
		t.Errorf("status waits for %q", waited)
	}
}
