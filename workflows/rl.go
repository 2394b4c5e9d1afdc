package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
)

// flight is a step whose groups are being made.
type flight struct {
	step   int64
	result workflow.Future // of stepPlan
}

// rl does the steps of an rl stage. Up to max_staleness+1 steps are in flight;
// they are trained one after the other.
func (r *run) rl(ctx workflow.Context) error {
	if r.Policy.Version == 0 && r.Spec.Eval.BeforeRL && r.firstRL() == r.Stage {
		if err := r.evaluate(ctx); err != nil {
			return err
		}
	}
	flying, cancel := workflow.WithCancel(ctx)
	defer cancel()
	var flights []flight
	for r.Policy.Version < int64(r.stage().Steps) {
		if err := r.between(ctx, len(flights) == 0); err != nil {
			cancel()
			for _, f := range flights {
				_ = f.result.Get(ctx, nil) // it was cancelled; what it had made is on the bus
			}
			return err
		}
		next := r.Policy.Version + 1
		// What was drawn for steps that will not be launched before the end of
		// this execution is carried on in r.Draws.
		if !workflow.GetInfo(ctx).GetContinueAsNewSuggested() || len(flights) == 0 {
			ahead := next + int64(r.stage().Rollout.MaxStaleness)
			for step := next + int64(len(flights)); step <= min(ahead, int64(r.stage().Steps)); step++ {
				flights = append(flights, r.launch(flying, step))
			}
		}
		var plan stepPlan
		if err := flights[0].result.Get(ctx, &plan); err != nil {
			return err
		}
		flights = flights[1:]
		if err := r.train(ctx, plan); err != nil {
			return err
		}
		if err := r.afterStep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// launch begins to make the groups of a step.
func (r *run) launch(ctx workflow.Context, step int64) flight {
	future, set := workflow.NewFuture(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		plan, err := r.plan(ctx, step, 0)
		set.Set(plan, err)
	})
	return flight{step: step, result: future}
}

// firstRL returns the index of the first rl stage.
func (r *run) firstRL() int {
	for i, s := range r.Spec.Stages {
		if s.Kind == grouse.StageRL {
			return i
		}
	}
	return -1
}

// train trains on a planned step. If the batches got lost on the way, or a
// person let the run go on after too many rewards failed, the step is planned
// again: what does not depend on a judge comes out the same.
func (r *run) train(ctx workflow.Context, plan stepPlan) error {
	for attempt := plan.Attempt; ; {
		if share, reason := plan.failed(); r.Spec.RewardGuard > 0 && share > r.Spec.RewardGuard {
			r.pause(fmt.Sprintf("step %d: rewards failed on %.0f%% of the groups, allowed are %.0f%%: %s", plan.Step, 100*share, 100*r.Spec.RewardGuard, reason))
			if err := r.between(ctx, false); err != nil {
				return err
			}
		} else {
			err := r.trainOnce(ctx, plan)
			if !isMissing(err) || attempt >= repeats {
				return failed(r.name(plan.Step)+" · train", err)
			}
		}
		attempt++
		var err error
		if plan, err = r.plan(ctx, plan.Step, attempt); err != nil {
			return err
		}
	}
}

func (r *run) trainOnce(ctx workflow.Context, plan stepPlan) error {
	stage := r.stage()
	in := activities.TrainInput{Stage: r.Stage, Step: plan.Step, Policy: r.Policy, Draws: plan.Draws, Waves: plan.Waves, Verdicts: plan.Verdicts,
		Stats: plan.Stats, Settings: r.Settings, PrevEnd: r.PrevEnd, Rewards: plan.Rewards, Busy: plan.Busy, PurgeTo: plan.Step}
	if ahead := plan.Step + 1 + int64(stage.Rollout.MaxStaleness); ahead <= int64(stage.Steps) {
		in.Next = &activities.DrawPromptsInput{Stage: r.Stage, Step: ahead, N: activities.DrawSize(stage), Head: plan.Step}
	}
	summary := fmt.Sprintf("step %d · train · %d groups", plan.Step, plan.Admitted)
	r.doing = summary
	out, err := execute[activities.TrainOutput](ctx, r, activities.TrainQueue(r.Spec.Name), summary, workTimeout, trainer.Train, in)
	if err != nil {
		return err
	}
	r.Policy, r.PrevEnd = out.Policy, out.Span.End
	r.Recent = append(r.Recent, out.Policy)
	if extra := len(r.Recent) - stage.Rollout.MaxStaleness - 1; extra > 0 {
		r.Recent = append([]grouse.PolicyRef(nil), r.Recent[extra:]...)
	}
	r.dropDraw(plan.Step)
	if out.Next != nil {
		r.Draws = append(r.Draws, *out.Next)
	}
	if out.Pause != "" {
		r.pause(out.Pause)
	}
	return r.finished(ctx, StepRow{Stage: r.Stage, Step: plan.Step, Of: stage.Steps, Stats: out.Stats, Times: out.Times})
}

// afterStep does what happens every so many steps.
func (r *run) afterStep(ctx workflow.Context) error {
	step, steps := r.Policy.Version, int64(r.stage().Steps)
	if step < steps && due(step, r.Spec.Checkpoint.Every, r.CheckpointEvery) {
		if err := r.save(ctx, false); err != nil {
			return err
		}
	}
	if step < steps && due(step, r.Spec.Eval.Every, r.EvalEvery) {
		return r.evaluate(ctx)
	}
	return nil
}

// draw returns what was drawn for a step beforehand, if anything was.
func (r *run) draw(step int64) (activities.DrawPromptsOutput, bool) {
	for _, d := range r.Draws {
		if d.Step == step {
			return d, true
		}
	}
	return activities.DrawPromptsOutput{}, false
}

func (r *run) dropDraw(step int64) {
	var rest []activities.DrawPromptsOutput
	for _, d := range r.Draws {
		if d.Step > step {
			rest = append(rest, d)
		}
	}
	r.Draws = rest
}
