package workflows

import (
	"fmt"
	"math"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
)

// Names of updates and queries.
const (
	UpdatePause      = "pause"
	UpdateResume     = "resume"
	UpdateCheckpoint = "checkpoint"
	UpdateStop       = "stop"
	UpdateSet        = "set"

	QueryStatus  = "status"
	QueryMetrics = "metrics"
	QueryConfig  = "config"
)

// PauseInput is the argument of update pause.
type PauseInput struct {
	Reason string `json:"reason,omitempty"`
}

// ResumeInput is the argument of update resume.
type ResumeInput struct{}

// CheckpointInput is the argument of update checkpoint.
type CheckpointInput struct{}

// StopInput is the argument of update stop.
type StopInput struct{}

// SetInput is the argument of update set: what is not named stays as it is.
type SetInput struct {
	LearningRate    *float64           `json:"learning_rate,omitempty"`
	Beta            map[string]float64 `json:"beta,omitempty"`  // KL strength by domain
	Steps           *int               `json:"steps,omitempty"` // of the current stage
	CheckpointEvery *int               `json:"checkpoint_every,omitempty"`
	EvalEvery       *int               `json:"eval_every,omitempty"`
}

// setHandlers makes the run answer updates and queries. The settings take
// effect at the next step, pause and stop at the end of this one.
func (r *run) setHandlers(ctx workflow.Context) error {
	for _, set := range []error{
		workflow.SetQueryHandlerWithOptions(ctx, QueryStatus, func() (Status, error) { return r.status(), nil },
			workflow.QueryHandlerOptions{Description: "where the run is and what it does"}),
		workflow.SetQueryHandlerWithOptions(ctx, QueryMetrics, func() ([]StepRow, error) { return r.Rows, nil },
			workflow.QueryHandlerOptions{Description: "the last ten steps"}),
		workflow.SetQueryHandlerWithOptions(ctx, QueryConfig, func() (grouse.RunSpec, error) { return r.Spec, nil },
			workflow.QueryHandlerOptions{Description: "the resolved recipe"}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdatePause, func(_ workflow.Context, in PauseInput) (Status, error) {
			r.pause(in.Reason)
			return r.status(), nil
		}, workflow.UpdateHandlerOptions{Description: `hold after this step: {"reason": "..."}`, Validator: func(PauseInput) error {
			if r.Paused {
				return fmt.Errorf("the run is paused already; update resume lets it go on")
			}
			return r.alive()
		}}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateResume, func(workflow.Context, ResumeInput) (Status, error) {
			r.Paused, r.PauseReason = false, ""
			return r.status(), nil
		}, workflow.UpdateHandlerOptions{Description: "go on after a pause: {}", Validator: func(ResumeInput) error {
			if !r.Paused {
				return fmt.Errorf("the run is not paused")
			}
			return nil
		}}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateCheckpoint, func(workflow.Context, CheckpointInput) (Status, error) {
			r.Save = true
			return r.status(), nil
		}, workflow.UpdateHandlerOptions{Description: "save after this step: {}", Validator: func(CheckpointInput) error { return r.alive() }}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateStop, func(workflow.Context, StopInput) (Status, error) {
			r.Stop = true
			return r.status(), nil
		}, workflow.UpdateHandlerOptions{Description: "finish this step, save and end: {}", Validator: func(StopInput) error {
			if r.Stop {
				return fmt.Errorf("the run is stopping already")
			}
			return nil
		}}),
		workflow.SetUpdateHandlerWithOptions(ctx, UpdateSet, func(_ workflow.Context, in SetInput) (Status, error) {
			r.set(in)
			return r.status(), nil
		}, workflow.UpdateHandlerOptions{Description: `change settings from the next step on: {"learning_rate": 1e-6, "beta": {"math": 0.001}, "steps": 300, "checkpoint_every": 10, "eval_every": 20}`,
			Validator: r.checkSet}),
	} {
		if set != nil {
			return set
		}
	}
	return nil
}

func (r *run) alive() error {
	if r.Stop {
		return fmt.Errorf("the run is stopping")
	}
	return nil
}

// checkSet refuses what cannot be set, with the reason.
func (r *run) checkSet(in SetInput) error {
	if err := r.alive(); err != nil {
		return err
	}
	if in.LearningRate == nil && len(in.Beta) == 0 && in.Steps == nil && in.CheckpointEvery == nil && in.EvalEvery == nil {
		return fmt.Errorf("nothing to set: name one of learning_rate, beta, steps, checkpoint_every, eval_every")
	}
	if lr := in.LearningRate; lr != nil && !(*lr >= 0 && *lr < 1) {
		return fmt.Errorf("learning_rate %v is not at least 0 and below 1", *lr)
	}
	stage := r.stage()
	for _, name := range workflow.DeterministicKeys(in.Beta) {
		var names []string
		for _, d := range stage.Domains {
			names = append(names, d.Name)
		}
		if !strings.Contains("\n"+strings.Join(names, "\n")+"\n", "\n"+name+"\n") {
			return fmt.Errorf("beta: no domain %q in stage %s; one of: %s", name, stage.Name, strings.Join(names, ", "))
		}
		if b := in.Beta[name]; !(b >= 0) || math.IsInf(b, 0) {
			return fmt.Errorf("beta of %s: %v is not a number of at least 0", name, b)
		}
		if b := in.Beta[name]; b > 0 && stage.Kind == grouse.StageRL && !stage.Algorithm.UsesReference(r.Spec.Stages[min(r.Stage, len(r.Spec.Stages)-1)].Domains) {
			return fmt.Errorf("beta of %s: the stage keeps no reference policy; begin it with a beta or a kl_estimator", name)
		}
	}
	if in.Steps != nil && int64(*in.Steps) <= r.Policy.Version {
		return fmt.Errorf("steps %d: %d are done already; update stop ends the run", *in.Steps, r.Policy.Version)
	}
	for _, every := range []*int{in.CheckpointEvery, in.EvalEvery} {
		if every != nil && *every < 0 {
			return fmt.Errorf("every %d steps: at least 0, which means never", *every)
		}
	}
	return nil
}

func (r *run) set(in SetInput) {
	if in.LearningRate != nil {
		r.Settings.LearningRate = in.LearningRate
	}
	if len(in.Beta) > 0 {
		beta := map[string]float64{}
		for _, name := range workflow.DeterministicKeys(r.Settings.Beta) {
			beta[name] = r.Settings.Beta[name]
		}
		for _, name := range workflow.DeterministicKeys(in.Beta) {
			beta[name] = in.Beta[name]
		}
		r.Settings.Beta = beta
	}
	if in.Steps != nil {
		r.Settings.Steps = in.Steps
	}
	if in.CheckpointEvery != nil {
		r.CheckpointEvery = in.CheckpointEvery
	}
	if in.EvalEvery != nil {
		r.EvalEvery = in.EvalEvery
	}
}

func (r *run) status() Status {
	s := Status{Run: r.Spec.Name, Recipe: r.Spec.Recipe, State: r.State, Reason: r.PauseReason, Waiting: r.waiting, Stage: r.Stage,
		Stages: len(r.Spec.Stages), Step: max(0, r.Policy.Version), Doing: r.doing, Policy: r.Policy, Checkpoint: r.Saved, Evals: r.Evals,
		Device: r.Device, Settings: r.Settings}
	if len(r.Spec.Stages) > 0 {
		stage := r.stage()
		s.StageName, s.StageKind, s.Steps = stage.Name, stage.Kind, stage.Steps
		if r.Policy.Stage != r.Stage {
			s.Step = 0
		}
	}
	return s
}
