package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/durable"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/worker"
	"github.com/grouse-rl/grouse/workflows"
)

type runCmd struct {
	Recipe string   `arg:"" help:"Built-in recipe (grouse recipe list) or file."`
	Name   string   `help:"Name of the run; the recipe's unless given." placeholder:"NAME"`
	Set    []string `help:"Override a key: --set seed=3 --set stages.rl.steps=50." placeholder:"KEY=VALUE" sep:"none"`
	JSON   bool     `name:"json" help:"One JSON object a line on stdout."`
	Roles  []string `help:"What this process serves: workflows, rollout, reward, trainer, or none. The rest is left to grouse worker." default:"workflows,rollout,reward,trainer" placeholder:"ROLE"`
	serverFlags
}

// Help is shown by `grouse run --help`.
func (c *runCmd) Help() string {
	return `Examples:
  grouse run quickstart
  grouse run quickstart --name second --set seed=2
  grouse run recipe.yaml --json > metrics.jsonl

Ctrl-C once finishes the step, saves and says how to go on; twice stops at once. A run that
was killed goes on by itself: grouse resume NAME.`
}

// Run starts a run, or goes on with the one of that name.
func (c *runCmd) Run(a *app) error {
	r, err := config.Load(c.Recipe, config.Options{Set: c.Set, Name: c.Name})
	if err != nil {
		return err
	}
	if err := worker.CheckMemory(r, a.home, c.Roles, worker.HostMemory()); err != nil {
		return err
	}
	if err := worker.Supported(&r.Spec); err != nil {
		return err
	}
	if err := worker.CheckEffect(r, a.home); err != nil {
		return err
	}
	if err := a.planGPU(r, c.Roles); err != nil {
		return err
	}
	dir := worker.RunDir(a.home, r.Spec.Name)
	_, err = os.Stat(dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := worker.SaveRecipe(a.home, r); err != nil {
		return err
	}
	err = drive(a, r, c.JSON, c.Roles, c.serverFlags, false)
	if kind := grouse.KindOf(err); fresh && (kind == grouse.Invalid || kind == grouse.NotFound) && worker.NothingDone(dir) {
		// What is wrong can be mended and the run started again under its name.
		if gone := os.RemoveAll(dir); gone != nil {
			return errors.Join(err, gone)
		}
	}
	return err
}

type resumeCmd struct {
	Name  string   `arg:"" help:"Name of the run."`
	JSON  bool     `name:"json" help:"One JSON object a line on stdout."`
	Roles []string `help:"What this process serves: workflows, rollout, reward, trainer, or none. The rest is left to grouse worker." default:"workflows,rollout,reward,trainer" placeholder:"ROLE"`
	serverFlags
}

// Run goes on with a run from its last committed point.
func (c *resumeCmd) Run(a *app) error {
	r, err := worker.LoadRecipe(a.home, c.Name)
	if err != nil {
		return err
	}
	if err := worker.CheckMemory(r, a.home, c.Roles, worker.HostMemory()); err != nil {
		return err
	}
	if err := a.planGPU(r, c.Roles); err != nil {
		return err
	}
	return drive(a, r, c.JSON, c.Roles, c.serverFlags, true)
}

// planGPU says what a run needs of the GPU, if it uses one, and refuses what does not
// fit. A run that is done needs nothing.
func (a *app) planGPU(r *config.Resolved, roles []string) error {
	if _, err := os.Stat(filepath.Join(worker.RunDir(a.home, r.Spec.Name), worker.DoneFile)); err == nil {
		return nil
	}
	line, err := worker.CheckGPU(r, a.home, roles, a.backend)
	if line != "" {
		fmt.Fprintln(a.stderr, line)
	}
	return err
}

// done is the last line of a run.
type done struct {
	Event         string                    `json:"event"`
	Run           string                    `json:"run"`
	Steps         int                       `json:"steps"` // rl steps
	Eval          map[string]map[string]any `json:"eval"`
	WeightsSHA256 string                    `json:"weights_sha256"`
	Chain         string                    `json:"chain"`
}

// drive runs a run to its end in this process, with whatever it needs. unpause ends a
// pause in which it may be.
func drive(a *app, r *config.Resolved, asJSON bool, roles []string, f serverFlags, unpause bool) error {
	name := r.Spec.Name
	v := newView(a, r.Spec, asJSON)
	defer v.close()
	if raw, err := os.ReadFile(filepath.Join(worker.RunDir(a.home, name), worker.DoneFile)); err == nil {
		var d done
		if err := json.Unmarshal(raw, &d); err != nil {
			return grouse.Errorf(grouse.Corrupt, "%s: %w", worker.DoneFile, err)
		}
		v.finish(d)
		return nil
	}
	v.say("starting Temporal, its Web UI and NATS ...")
	s, err := f.connect(a, true)
	if err != nil {
		return err
	}
	defer s.close()
	if s.own != nil {
		if s.page, err = startDashboard(a.home, dashboardPort); err != nil {
			v.say("no dashboard: %v", err)
		}
	}
	v.addresses(s, name)
	host := s.host(a, v.event)
	defer host.Stop()
	queues, train, err := splitRoles(roles)
	if err != nil {
		return err
	}
	if s.own != nil && (!train || len(queues) < len(worker.Roles)) {
		return grouse.Errorf(grouse.Invalid, "--roles leaves work to other processes, which cannot reach the servers inside this one").
			WithFix("start `grouse serve` first, or name servers with --temporal and --nats")
	}
	if err := host.Start(queues...); err != nil {
		return err
	}
	if train {
		stopTrainer, err := host.Train(r)
		if grouse.KindOf(err) == grouse.Unavailable && unpause && update(a.ctx, s.temporal, name, workflows.UpdateResume, workflows.ResumeInput{}, nil) == nil {
			v.say("the run was paused and goes on, in the process that holds it: grouse watch %s", name)
			return nil
		}
		if err != nil {
			return err
		}
		defer stopTrainer()
	}
	run, err := startWorkflow(a.ctx, s, r.Spec)
	if err != nil {
		return err
	}
	if unpause {
		// It is refused if the run is not paused, which is as well.
		_ = update(a.ctx, s.temporal, name, workflows.UpdateResume, workflows.ResumeInput{}, nil)
	}
	state, err := await(a, s, run, v)
	if err != nil {
		return err
	}
	switch state.State {
	case workflows.StateDone:
		d, err := summary(a.home, r.Spec)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if err := durable.WriteFile(filepath.Join(worker.RunDir(a.home, name), worker.DoneFile), append(raw, '\n')); err != nil {
			return err
		}
		v.finish(*d)
		return nil
	case workflows.StateStopped:
		line, exit := stopped(state)
		v.say("%s", line)
		return exit
	}
	return grouse.Errorf(grouse.Internal, "the run ended in state %s", state.State)
}

// stopped says how a run that was stopped was left: one that waited for a person has an
// exit code of its own, by which a script can tell.
func stopped(state workflows.RunState) (line string, exit exitError) {
	name, step := state.Spec.Name, state.Policy.Version
	if state.Paused {
		return fmt.Sprintf("left while it was paused at step %d: %s. Go on with: grouse resume %s", step, state.PauseReason, name), exitPaused
	}
	return fmt.Sprintf("stopped and saved at step %d. Go on with: grouse resume %s", step, name), exitInterrupted
}

// splitRoles tells the shared queues from the run's trainer.
func splitRoles(roles []string) (queues []string, train bool, err error) {
	for _, role := range roles {
		switch {
		case role == worker.RoleTrainer:
			train = true
		case slices.Contains(worker.Roles, role):
			queues = append(queues, role)
		case role != "none" || len(roles) > 1:
			return nil, false, grouse.Errorf(grouse.Invalid, "unknown role %q", role).WithFix("roles: workflows, rollout, reward, trainer, or none alone")
		}
	}
	return queues, train, nil
}

// startWorkflow starts the run's workflow, or finds it running.
func startWorkflow(ctx context.Context, s *servers, spec grouse.RunSpec) (client.WorkflowRun, error) {
	o := client.StartWorkflowOptions{
		ID: spec.Name, TaskQueue: activities.WorkflowQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		// Of a worker that was killed in the middle of one, and that nobody misses before.
		WorkflowTaskTimeout: 5 * time.Second,
		StaticSummary:       fmt.Sprintf("%s · %s", spec.Name, spec.Recipe),
		StaticDetails:       spec.Description,
		Memo:                map[string]any{"recipe": spec.Recipe, "description": spec.Description},
	}
	if s.search {
		o.TypedSearchAttributes = temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword("GrouseRecipe").ValueSet(spec.Recipe),
			temporal.NewSearchAttributeKeyKeyword("GrouseState").ValueSet(workflows.StateRunning))
	}
	run, err := s.temporal.ExecuteWorkflow(ctx, o, workflows.Run, workflows.RunState{Spec: spec, SearchAttributes: s.search})
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "start the run's workflow: %w", err)
	}
	return run, nil
}

// await waits for the workflow's end. An interrupt asks it to stop after the
// step; a second one leaves at once.
func await(a *app, s *servers, run client.WorkflowRun, v *view) (workflows.RunState, error) {
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	type result struct {
		state workflows.RunState
		err   error
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		r.err = run.Get(ctx, &r.state)
		ended <- r
	}()
	asked := 0
	status := time.NewTicker(time.Second)
	defer status.Stop()
	for {
		select {
		case r := <-ended:
			if a.ctx.Err() != nil {
				return r.state, a.ctx.Err()
			}
			return r.state, explain(r.err)
		case <-status.C:
			v.status(s.temporal, run.GetID())
		case <-interrupts:
			if asked++; asked > 1 {
				return workflows.RunState{}, fmt.Errorf("left at once; the run goes on where it was: grouse resume %s: %w", run.GetID(), context.Canceled)
			}
			v.say("finishing the step, then saving. Ctrl-C again leaves at once; nothing that was committed is lost")
			go func() { _ = update(ctx, s.temporal, run.GetID(), workflows.UpdateStop, workflows.StopInput{}, nil) }()
		case <-a.ctx.Done():
			return workflows.RunState{}, context.Canceled
		}
	}
}

// update sends an update to a run and waits for its answer.
func update(ctx context.Context, c client.Client, id, name string, arg, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	h, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: id, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return err
	}
	return h.Get(ctx, answer)
}

// explain turns a workflow's failure into an error of a known kind.
func explain(err error) error {
	if err == nil {
		return nil
	}
	var ae *temporal.ApplicationError
	if errors.As(err, &ae) {
		return &grouse.Error{Kind: grouse.Kind(ae.Type()), Err: errors.New(ae.Message())}
	}
	return grouse.Errorf(grouse.Internal, "the run failed: %w", err)
}

// summary reads from the ledger what a finished run came to.
func summary(home string, spec grouse.RunSpec) (*done, error) {
	d := &done{Event: "done", Run: spec.Name, Eval: map[string]map[string]any{}}
	firstRL := -1
	for i, s := range spec.Stages {
		if s.Kind == grouse.StageRL && firstRL < 0 {
			firstRL = i
		}
	}
	var before, after *grouse.EvalRecord
	for e, err := range ledger.Read(worker.RunDir(home, spec.Name)) {
		if err != nil {
			return nil, err
		}
		rec, err := e.Record()
		if err != nil {
			return nil, err
		}
		switch rec := rec.(type) {
		case grouse.StepRecord:
			d.Steps++
			d.Chain = rec.Chain
		case grouse.SFTRecord:
			d.Chain = rec.Chain
		case grouse.EvalRecord:
			if rec.Stage < firstRL || (rec.Stage == firstRL && rec.Step == 0) {
				before = &rec
			}
			after = &rec
		case grouse.CheckpointRecord:
			d.WeightsSHA256 = rec.WeightsSHA256
		}
	}
	if before != nil {
		d.Eval["before"] = evalJSON(before)
	}
	if after != nil {
		d.Eval["after"] = evalJSON(after)
	}
	return d, nil
}

func evalJSON(e *grouse.EvalRecord) map[string]any {
	return map[string]any{e.Metric: e.Value, "prompts": e.Prompts}
}
