package devserver_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/activities/toy"
	"github.com/grouse-rl/grouse/internal/devserver"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/workflows"
)

var rewrite = flag.Bool("rewrite", false, "write workflows/testdata/histories anew: only together with a change of the workflow, and keep the old ones")

// serve starts the toy run's workers, as processes that remember nothing; the
// returned function kills them.
func serve(t *testing.T, info devserver.Info, w *toy.World, spec grouse.RunSpec, dir string) (client.Client, func()) {
	t.Helper()
	quiet := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.Dial(client.Options{HostPort: info.Temporal, Namespace: info.Namespace, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	led, err := ledger.Open(dir, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	parts := toy.New(w, spec, dir, led, nil)
	opts := worker.Options{MaxHeartbeatThrottleInterval: time.Second}
	var workers []worker.Worker
	for _, queue := range []string{activities.WorkflowQueue, activities.RolloutQueue, activities.RewardQueue, activities.TrainQueue(spec.Name)} {
		k := worker.New(c, queue, opts)
		switch queue {
		case activities.WorkflowQueue:
			k.RegisterWorkflow(workflows.Run)
			k.RegisterWorkflow(workflows.Eval)
			k.RegisterActivity(parts.Rewards) // local ones
		case activities.RolloutQueue:
			k.RegisterActivity(parts.Rollouts)
		case activities.RewardQueue:
			k.RegisterActivity(parts.Rewards)
		default:
			k.RegisterActivity(parts.Trainer)
		}
		if err := k.Start(); err != nil {
			t.Fatal(err)
		}
		workers = append(workers, k)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		for _, k := range workers {
			k.Stop()
		}
		led.Close()
		c.Close()
	}
	t.Cleanup(stop)
	return c, stop
}

func execute(ctx context.Context, t *testing.T, c client.Client, spec grouse.RunSpec) client.WorkflowRun {
	t.Helper()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: spec.Name, TaskQueue: activities.WorkflowQueue, StaticSummary: "a toy run"},
		workflows.Run, workflows.RunState{Spec: spec, SearchAttributes: true})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// TestToyRun runs the toy on the embedded server, twice: undisturbed, where
// orchestration must stay under 100 ms a step in the median, and with workers
// that end in the middle.
func TestToyRun(t *testing.T) {
	s := start(t, devserver.Options{Dir: t.TempDir(), NoUI: true})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()

	spec := toy.Spec("toy", 30)
	spec.Stages[1].Algorithm.FilterGroups = grouse.FilterNone // one wave a step
	spec.Stages[1].Rollout.GroupsPerShard = 0                 // one shard
	c, stop := serve(t, s.Info(), toy.NewWorld(), spec, t.TempDir())
	run := execute(ctx, t, c, spec)
	for ; ; time.Sleep(20 * time.Millisecond) {
		val, err := c.QueryWorkflow(ctx, spec.Name, "", workflows.QueryStatus)
		if err != nil {
			t.Fatal(err)
		}
		var status workflows.Status
		if err := val.Get(&status); err != nil {
			t.Fatal(err)
		}
		if status.Stage == 1 && status.Step >= 2 {
			break
		}
	}
	lr := 0.2
	update(ctx, t, c, spec.Name, workflows.UpdateSet, workflows.SetInput{LearningRate: &lr})
	update(ctx, t, c, spec.Name, workflows.UpdatePause, workflows.PauseInput{Reason: "a look"})
	update(ctx, t, c, spec.Name, workflows.UpdateResume, workflows.ResumeInput{})
	update(ctx, t, c, spec.Name, workflows.UpdateCheckpoint, workflows.CheckpointInput{})
	var state workflows.RunState
	if err := run.Get(ctx, &state); err != nil {
		t.Fatal(err)
	}
	if state.State != workflows.StateDone || state.Policy.Version != 30 || len(state.Evals) != 2 {
		t.Errorf("ended %s at %+v, evaluations %+v", state.State, state.Policy, state.Evals)
	}
	if m := orchestration(t, state); m > 0.1 {
		t.Errorf("orchestration takes %.0f ms a step in the median, want at most 100", 1000*m)
	}
	history := historyOf(ctx, t, c, spec.Name, run.GetRunID())
	t.Logf("%d events for 2 calls of sft and 30 steps", len(history.Events))
	if *rewrite {
		save(t, "run.json", history)
		save(t, "eval.json", historyOf(ctx, t, c, spec.Name+"/eval-000000", ""))
	}
	query := "GrouseRecipe='toy' AND GrouseStep=30 AND GrouseState='done' AND GrouseReward>0"
	found := int64(-1)
	for deadline := time.Now().Add(10 * time.Second); found != 1 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // the list follows
		n, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: s.Info().Namespace, Query: query})
		if err != nil {
			t.Fatal(err)
		}
		found = n.GetCount()
	}
	if found != 1 {
		t.Errorf("%s finds %d runs, want 1", query, found)
	}
	stop()

	// All workers end twice on the way. Their weights, and the batches, are gone
	// each time.
	spec2 := toy.Spec("again", 30)
	w, dir := toy.NewWorld(), t.TempDir()
	c, stop = serve(t, s.Info(), w, spec2, dir)
	execute(ctx, t, c, spec2)
	for _, step := range []int{9, 19} {
		for w.Count("train") < step {
			time.Sleep(5 * time.Millisecond)
		}
		stop()
		w.LoseBus()
		w.LoseSamplers()
		c, stop = serve(t, s.Info(), w, spec2, dir)
	}
	if err := c.GetWorkflow(ctx, spec2.Name, "").Get(ctx, &state); err != nil {
		t.Fatal(err)
	}
	stop()
	undisturbed := finish(ctx, t, s.Info(), toy.Spec("undisturbed", 30))
	if state.Policy != undisturbed {
		t.Errorf("with workers that ended: %+v, undisturbed %+v", state.Policy, undisturbed)
	}
}

// orchestration returns the median of the last steps' orchestration times, seconds.
func orchestration(t *testing.T, state workflows.RunState) float64 {
	t.Helper()
	var times []float64
	drawn := 0.0
	for _, row := range state.Rows {
		if v, ok := row.Times["time/orchestration_s"]; ok {
			times = append(times, v)
			drawn += row.Stats["prompts_drawn"]
		}
	}
	slices.Sort(times)
	if len(times) < 5 {
		t.Fatalf("orchestration times of the last ten steps: %v", times)
	}
	t.Logf("%s: orchestration median %.0f ms, most %.0f ms; %.1f prompts drawn a step", state.Spec.Name,
		1000*times[len(times)/2], 1000*times[len(times)-1], drawn/float64(len(times)))
	return times[len(times)/2]
}

// finish runs a toy run and returns its last policy.
func finish(ctx context.Context, t *testing.T, info devserver.Info, spec grouse.RunSpec) grouse.PolicyRef {
	t.Helper()
	c, stop := serve(t, info, toy.NewWorld(), spec, t.TempDir())
	defer stop()
	var state workflows.RunState
	if err := execute(ctx, t, c, spec).Get(ctx, &state); err != nil {
		t.Fatal(err)
	}
	orchestration(t, state) // several waves of several shards: told only
	return state.Policy
}

func update(ctx context.Context, t *testing.T, c client.Client, id, name string, arg any) {
	t.Helper()
	h, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: id, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = h.Get(ctx, nil)
	}
	if err != nil {
		t.Fatalf("update %s: %v", name, err)
	}
}

func historyOf(ctx context.Context, t *testing.T, c client.Client, id, runID string) *historypb.History {
	t.Helper()
	var h historypb.History
	for it := c.GetWorkflowHistory(ctx, id, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	return &h
}

func save(t *testing.T, name string, h *historypb.History) {
	t.Helper()
	data, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	text := string(data)
	if host != "" { // identities are pid@host@queue
		text = strings.ReplaceAll(text, fmt.Sprintf("%d@%s@", os.Getpid(), host), "1@host@")
	}
	if err := os.WriteFile(filepath.Join("..", "..", "workflows", "testdata", "histories", name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
