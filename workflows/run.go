package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
)

// run is RunState at work: with what an execution does not carry on.
type run struct {
	RunState
	doing   string // for status
	waiting string
}

// Only their method names are used.
var (
	rollouts *activities.Rollouts
	rewards  *activities.Rewards
	trainer  *activities.Trainer
)

var (
	errStop     = errors.New("stop")
	errContinue = errors.New("continue as new")
)

// Run trains until the last stage is done, or until it is told to stop: the
// step under way is then finished and saved, and a Run of the same name goes on
// from there. Its result is the state it ended in.
func Run(ctx workflow.Context, state RunState) (RunState, error) {
	r := &run{RunState: state}
	r.State = StateRunning
	if err := r.setHandlers(ctx); err != nil {
		return r.RunState, err
	}
	err := r.stages(ctx)
	switch {
	case errors.Is(err, errContinue):
		if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
			return r.RunState, err
		}
		r.Executions++
		return r.RunState, workflow.NewContinueAsNewError(ctx, Run, r.RunState)
	case errors.Is(err, errStop):
		r.State, err = StateStopped, nil
	case err == nil:
		r.State = StateDone
	case ctx.Err() != nil:
		r.State = StateStopped
	default:
		r.State = StateFailed
	}
	r.doing = r.State
	if tellErr := r.tell(ctx); err == nil {
		err = tellErr
	}
	if waitErr := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err == nil {
		err = waitErr
	}
	return r.RunState, err
}

// stages goes through the stages from where the run is.
func (r *run) stages(ctx workflow.Context) error {
	if !r.Prepared {
		if err := r.prepare(ctx); err != nil {
			return err
		}
	}
	for r.Stage < len(r.Spec.Stages) {
		if err := r.begin(ctx); err != nil {
			return err
		}
		var err error
		switch stage := r.stage(); stage.Kind {
		case grouse.StageSFT:
			err = r.sft(ctx)
		case grouse.StageRL:
			err = r.rl(ctx)
		case grouse.StageRejectionSampling:
			err = r.reject(ctx)
		default:
			err = fmt.Errorf("stage %q is of kind %q: one of sft, rl, rejection_sampling", stage.Name, stage.Kind)
		}
		if err != nil {
			return err
		}
		last := r.Stage == len(r.Spec.Stages)-1
		if err := r.save(ctx, true); err != nil {
			return err
		}
		if last && r.stage().Kind != grouse.StageRejectionSampling {
			if err := r.evaluate(ctx); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		r.Stage++
		r.Begun, r.Draws, r.Recent, r.Settings = false, nil, nil, activities.Settings{}
	}
	return nil
}

// stage returns the current stage with the settings in force.
func (r *run) stage() grouse.Stage {
	return r.Settings.Apply(r.Spec.Stages[min(r.Stage, len(r.Spec.Stages)-1)])
}

// name says where the run is, for summaries: "step 42", or "sft · update 20".
func (r *run) name(step int64) string {
	if r.stage().Kind == grouse.StageSFT {
		return fmt.Sprintf("%s · update %d", r.stage().Name, step)
	}
	return fmt.Sprintf("step %d", step)
}

func (r *run) prepare(ctx workflow.Context) error {
	if len(r.Spec.Stages) == 0 {
		return failed("begin", fmt.Errorf("the recipe has no stage"))
	}
	r.doing = "prepare"
	out, err := execute[activities.PrepareOutput](ctx, r, activities.TrainQueue(r.Spec.Name), "prepare · model, data, ledger", workTimeout,
		trainer.Prepare, activities.PrepareInput{Spec: r.Spec})
	if err != nil {
		return failed("prepare", err)
	}
	r.Prepared = true
	r.Policy, r.Vocab, r.Routing, r.Device, r.Evals, r.Saved = out.Policy, out.Vocab, out.Routing, out.Device, out.Evals, out.Saved
	if stage := max(0, out.Policy.Stage); stage != r.Stage {
		r.Stage, r.Settings = stage, activities.Settings{}
	}
	r.Begun = false
	return nil
}

// begin makes the stage ready.
func (r *run) begin(ctx workflow.Context) error {
	if r.Begun {
		return r.tell(ctx)
	}
	stage := r.stage()
	r.doing = "begin stage " + stage.Name
	out, err := execute[activities.BeginStageOutput](ctx, r, activities.TrainQueue(r.Spec.Name), "begin stage "+stage.Name, workTimeout,
		trainer.BeginStage, activities.BeginStageInput{Stage: r.Stage, Policy: r.Policy, Ahead: stage.Rollout.MaxStaleness + 1})
	if err != nil {
		return failed(r.doing, err)
	}
	r.Begun, r.Policy = true, out.Policy
	if r.Recent = out.Recent; len(r.Recent) == 0 {
		r.Recent = []grouse.PolicyRef{out.Policy}
	}
	r.Routes, r.EvalRoutes, r.GroupsPerShard, r.Draws = out.Routes, out.EvalRoutes, out.GroupsPerShard, out.Draws
	r.PrevEnd = 0
	return r.tell(ctx)
}

// between is the moment between two steps: a pause is waited out, a checkpoint
// that was asked for is made. It returns errStop or errContinue when this
// execution shall end; idle says that nothing is under way.
func (r *run) between(ctx workflow.Context, idle bool) error {
	if r.Paused && !r.Stop {
		r.State, r.PrevEnd = StatePaused, 0
		if err := r.tell(ctx); err != nil {
			return err
		}
		if err := workflow.Await(ctx, func() bool { return !r.Paused || r.Stop || r.Save }); err != nil {
			return err
		}
		if r.Save {
			if err := r.save(ctx, false); err != nil {
				return err
			}
			return r.between(ctx, idle)
		}
		r.State = StateRunning
		if err := r.tell(ctx); err != nil {
			return err
		}
	}
	if r.Stop {
		if err := r.save(ctx, false); err != nil {
			return err
		}
		return errStop
	}
	if r.Save {
		if err := r.save(ctx, false); err != nil {
			return err
		}
	}
	if idle && workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
		return errContinue
	}
	return nil
}

// save makes a checkpoint of the newest weights, unless there is one. The last
// of a stage is kept for ever.
func (r *run) save(ctx workflow.Context, last bool) error {
	r.Save = false
	if r.Policy.Stage < 0 || !last && r.Saved != nil && *r.Saved == r.Policy {
		return nil
	}
	doing := r.name(r.Policy.Version) + " · checkpoint"
	r.doing = doing
	out, err := execute[activities.CheckpointOutput](ctx, r, activities.TrainQueue(r.Spec.Name), doing, workTimeout,
		trainer.Checkpoint, activities.CheckpointInput{Policy: r.Policy, Last: last})
	if err != nil {
		return failed(doing, err)
	}
	saved := r.Policy
	r.Saved, r.PrevEnd = &saved, 0
	_ = out.Checkpoint // the ledger has it
	return nil
}

// due reports whether something that happens every so many steps happens after
// this one.
func due(step int64, every int, changed *int) bool {
	if changed != nil {
		every = *changed
	}
	return every > 0 && step%int64(every) == 0
}

func (r *run) pause(reason string) { r.Paused, r.PauseReason = true, reason }
