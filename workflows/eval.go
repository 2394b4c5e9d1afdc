package workflows

import (
	"fmt"
	"strconv"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
)

// EvalState is Eval's input.
type EvalState struct {
	Spec           grouse.RunSpec          `json:"spec"`
	Policy         grouse.PolicyRef        `json:"policy"`
	Vocab          int                     `json:"vocab"`
	Routes         []activities.ScoreRoute `json:"routes"`
	GroupsPerShard int                     `json:"groups_per_shard"`
}

// Eval samples and judges the held-out prompts with one version of the policy.
func Eval(ctx workflow.Context, in EvalState) (activities.EvalResult, error) {
	r := &run{RunState: RunState{Spec: in.Spec, Policy: in.Policy, Stage: in.Policy.Stage, Vocab: in.Vocab, GroupsPerShard: in.GroupsPerShard}}
	r.State = StateRunning
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryStatus, func() (Status, error) { return r.status(), nil },
		workflow.QueryHandlerOptions{Description: "what the evaluation does or waits for"}); err != nil {
		return activities.EvalResult{}, err
	}
	queue, name := activities.TrainQueue(in.Spec.Name), fmt.Sprintf("eval %d", in.Policy.Version)
	planned, err := execute[activities.PlanEvalOutput](ctx, r, queue, name+" · prompts", workTimeout, trainer.PlanEval,
		activities.PlanEvalInput{Purpose: activities.PurposeEval, Policy: in.Policy})
	if err != nil {
		return activities.EvalResult{}, failed(name, err)
	}
	if planned.Done != nil {
		return *planned.Done, nil
	}
	spec := in.Spec.Eval
	rollout := in.Spec.Stages[in.Policy.Stage].Rollout
	rollout.Sampling, rollout.MaxCompletionLength, rollout.NumGenerations = spec.Sampling, spec.MaxTokens, max(1, spec.N)
	var made madeGroups
	for attempt := 0; ; attempt++ {
		made, err = r.makeGroups(ctx, groupsWork{purpose: activities.PurposeEval, stage: in.Policy.Stage, step: in.Policy.Version, attempt: attempt,
			policy: in.Policy, draws: []activities.DrawPromptsOutput{{Prompts: planned.Prompts, Count: planned.Count}}, count: planned.Count, n: rollout.NumGenerations,
			rollout: rollout, domains: activities.EvalDomains(in.Spec), routes: in.Routes, name: name,
			rules: grouse.AdmissionRules{NumGenerations: rollout.NumGenerations, Vocab: in.Vocab, Filter: grouse.FilterNone}})
		if !isMissing(err) || attempt >= repeats {
			break
		}
		if planned, err = execute[activities.PlanEvalOutput](ctx, r, queue, name+" · prompts again", workTimeout, trainer.PlanEval,
			activities.PlanEvalInput{Purpose: activities.PurposeEval, Policy: in.Policy}); err != nil {
			break
		}
	}
	if err != nil {
		return activities.EvalResult{}, failed(name, err)
	}
	result := judgeEval(spec, in.Policy, made.verdicts)
	out, err := execute[activities.EvalResult](ctx, r, queue, fmt.Sprintf("%s · %s %.3f", name, result.Metric, result.Value), workTimeout,
		trainer.RecordEval, activities.RecordEvalInput{Policy: in.Policy, Result: result})
	return out, failed(name, err)
}

// judgeEval computes the metric: accuracy and avg@N are the mean share of right
// completions, pass@N the share of prompts with one. Groups that could not be
// judged count as wrong, and are told.
func judgeEval(spec grouse.EvalSpec, policy grouse.PolicyRef, verdicts []grouse.GroupVerdict) activities.EvalResult {
	res := activities.EvalResult{Stage: policy.Stage, Step: policy.Version, Metric: spec.Metric, Prompts: len(verdicts)}
	if res.Metric == "" {
		res.Metric = "accuracy"
	}
	accuracy, passed, reward, lost := 0.0, 0.0, 0.0, 0
	for _, v := range verdicts {
		if v.State != grouse.GroupScored {
			lost++
			continue
		}
		accuracy += v.SolveRate
		reward += v.Mean
		if v.SolveRate > 0 {
			passed++
		}
	}
	n := float64(max(1, len(verdicts)))
	res.Stats = grouse.Metrics{"eval/accuracy": accuracy / n, "eval/pass@" + strconv.Itoa(max(1, spec.N)): passed / n,
		"eval/reward": reward / n, "eval/not_judged": float64(lost)}
	res.Value = accuracy / n
	if strings.HasPrefix(res.Metric, "pass@") {
		res.Value = passed / n
	}
	return res
}

// evaluate runs Eval as a child, unless the result is known or there is no
// held-out data.
func (r *run) evaluate(ctx workflow.Context) error {
	if !activities.HasEval(r.Spec) {
		return nil
	}
	for _, e := range r.Evals {
		if e.Stage == r.Policy.Stage && e.Step == r.Policy.Version {
			return nil
		}
	}
	id := fmt.Sprintf("%s/eval-%06d", r.Spec.Name, r.Policy.Version)
	if r.Stage != r.firstRL() {
		id = fmt.Sprintf("%s/eval-%d-%06d", r.Spec.Name, r.Stage, r.Policy.Version)
	}
	r.doing = fmt.Sprintf("evaluate · step %d", r.Policy.Version)
	child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: id, TaskQueue: activities.WorkflowQueue, StaticSummary: fmt.Sprintf("%s · evaluation at step %d", r.Spec.Name, r.Policy.Version),
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL, WaitForCancellation: true,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	})
	in := EvalState{Spec: r.Spec, Policy: r.Policy, Vocab: r.Vocab, Routes: r.EvalRoutes, GroupsPerShard: r.GroupsPerShard}
	var result activities.EvalResult
	if err := workflow.ExecuteChildWorkflow(child, Eval, in).Get(ctx, &result); err != nil {
		if temporal.IsCanceledError(err) {
			return err
		}
		return failed(r.doing, err)
	}
	r.Evals = append(r.Evals, result)
	r.PrevEnd = 0
	return r.note(ctx, fmt.Sprintf("step %d · eval · %s %.3f on %d prompts", result.Step, result.Metric, result.Value, result.Prompts))
}
