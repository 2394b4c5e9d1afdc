package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse/activities"
)

// sftUpdates is how many updates one activity does.
const sftUpdates = 10

// sft does the updates of a supervised stage.
func (r *run) sft(ctx workflow.Context) error {
	for r.Policy.Version < int64(r.stage().Steps) {
		if err := r.between(ctx, true); err != nil {
			return err
		}
		first := r.Policy.Version + 1
		last := min(first+sftUpdates-1, int64(r.stage().Steps))
		summary := fmt.Sprintf("%s · updates %d-%d", r.stage().Name, first, last)
		r.doing = summary
		out, err := execute[activities.TrainSFTOutput](ctx, r, activities.TrainQueue(r.Spec.Name), summary, workTimeout,
			trainer.TrainSFT, activities.TrainSFTInput{Stage: r.Stage, First: first, Last: last, Policy: r.Policy, Settings: r.Settings})
		if err != nil {
			return failed(summary, err)
		}
		r.Policy = out.Policy
		if err := r.finished(ctx, StepRow{Stage: r.Stage, Step: last, Of: r.stage().Steps, Stats: out.Stats, Times: out.Times}); err != nil {
			return err
		}
		if out.Pause != "" {
			r.pause(out.Pause)
		}
		every := r.Spec.Checkpoint.Every
		if r.CheckpointEvery != nil {
			every = *r.CheckpointEvery
		}
		if every > 0 && last/int64(every) > (first-1)/int64(every) && last < int64(r.stage().Steps) {
			if err := r.save(ctx, false); err != nil {
				return err
			}
		}
	}
	return nil
}
