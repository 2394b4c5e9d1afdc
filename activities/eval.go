package activities

import (
	"context"
	"fmt"

	"github.com/grouse-rl/grouse"
)

// PlanEvalInput asks for the prompts of an evaluation, or of a
// rejection-sampling stage.
type PlanEvalInput struct {
	Purpose string           `json:"purpose"` // eval | reject
	Policy  grouse.PolicyRef `json:"policy"`
}

// PlanEvalOutput names them.
type PlanEvalOutput struct {
	Prompts grouse.BatchRef `json:"prompts"`
	Count   int             `json:"count"`
	Done    *EvalResult     `json:"done,omitempty"` // it was made before: nothing is left to do
}

// PlanEval publishes the prompts, and makes sure that samplers have the policy.
func (t *Trainer) PlanEval(ctx context.Context, in PlanEvalInput) (PlanEvalOutput, error) {
	return alone(ctx, t, "prompts", 0, func(ctx context.Context, _ func(int)) (PlanEvalOutput, error) {
		var out PlanEvalOutput
		if in.Policy.Stage < 0 || in.Policy.Stage >= len(t.spec.Stages) {
			return out, t.unprepared(in.Policy.Stage)
		}
		var prompts []Candidate
		var err error
		switch in.Purpose {
		case PurposeEval:
			rec, ok, err := find[grouse.EvalRecord](t.Ledger, grouse.StepKey(in.Policy.Stage, in.Policy.Version))
			if err != nil {
				return out, err
			}
			if ok {
				out.Done = &EvalResult{Stage: rec.Stage, Step: rec.Step, Metric: rec.Metric, Value: rec.Value, Prompts: rec.Prompts, Stats: rec.Stats}
				return out, nil
			}
			if prompts, err = t.Prompts.Eval(ctx); err != nil {
				return out, fmt.Errorf("evaluation: %w", err)
			}
		case PurposeReject:
			if prompts, err = t.Prompts.Reject(ctx, in.Policy.Stage); err != nil {
				return out, fmt.Errorf("rejection sampling: %w", err)
			}
		default:
			return out, grouse.Errorf(grouse.Internal, "plan for purpose %q", in.Purpose)
		}
		if len(prompts) == 0 {
			return out, grouse.Errorf(grouse.Invalid, "stage %d: the data for %s has no rows", in.Policy.Stage, in.Purpose).WithFix("look at its path, split and limit in the recipe")
		}
		if !t.loaded || t.at != in.Policy {
			if err := t.restore(ctx, in.Policy, in.Policy.Version); err != nil {
				return out, err
			}
		}
		if err := t.Policy.Publish(ctx, in.Policy); err != nil {
			return out, err
		}
		out.Count = len(prompts)
		out.Prompts, err = publishPrompts(ctx, t.Bus, key(t.Run, kindPrompts, purposeToken(in.Purpose, in.Policy.Stage, in.Policy.Version), "all"), prompts)
		return out, err
	})
}

// EvalResult is a held-out evaluation.
type EvalResult struct {
	Stage   int            `json:"stage"`
	Step    int64          `json:"step"`
	Metric  string         `json:"metric"`
	Value   float64        `json:"value"`
	Prompts int            `json:"prompts"`
	Stats   grouse.Metrics `json:"stats"`
}

// RecordEvalInput is the result to be kept.
type RecordEvalInput struct {
	Policy grouse.PolicyRef `json:"policy"`
	Result EvalResult       `json:"result"`
}

// RecordEval writes an evaluation to the ledger and drops its batches.
func (t *Trainer) RecordEval(ctx context.Context, in RecordEvalInput) (EvalResult, error) {
	return alone(ctx, t, "record", 0, func(ctx context.Context, _ func(int)) (EvalResult, error) {
		r := in.Result
		err := t.Ledger.Append(ctx, grouse.EvalRecord{Stage: r.Stage, Step: r.Step, Chain: in.Policy.Chain, Metric: r.Metric, Value: r.Value, Prompts: r.Prompts, Stats: r.Stats})
		if err != nil {
			return r, err
		}
		if err := t.Bus.Purge(ctx, t.Run, purposeToken(PurposeEval, r.Stage, r.Step)); err != nil {
			t.observe(ctx, Event{Kind: "warning", Stage: r.Stage, Step: r.Step, Text: err.Error()}) // limits drop them later
		}
		t.observe(ctx, Event{Kind: "eval", Stage: r.Stage, Step: r.Step, Policy: in.Policy, Stats: r.Stats, Text: r.Metric})
		return r, nil
	})
}
