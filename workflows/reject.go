package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
)

// reject does a rejection-sampling stage: N completions a prompt, the best of
// which become a data set. The weights stay as they are.
func (r *run) reject(ctx workflow.Context) error {
	if err := r.between(ctx, true); err != nil {
		return err
	}
	stage := r.stage()
	queue, name := activities.TrainQueue(r.Spec.Name), stage.Name
	rollout := stage.Rollout
	rollout.NumGenerations = stage.Reject.N
	var err error
	for attempt := 0; attempt <= repeats; attempt++ {
		var planned activities.PlanEvalOutput
		planned, err = execute[activities.PlanEvalOutput](ctx, r, queue, name+" · prompts", workTimeout, trainer.PlanEval,
			activities.PlanEvalInput{Purpose: activities.PurposeReject, Policy: r.Policy})
		if err != nil {
			break
		}
		var made madeGroups
		made, err = r.makeGroups(ctx, groupsWork{purpose: activities.PurposeReject, stage: r.Stage, step: r.Policy.Version, attempt: attempt,
			policy: r.Policy, draws: []activities.DrawPromptsOutput{{Prompts: planned.Prompts, Count: planned.Count}}, count: planned.Count, n: stage.Reject.N, rollout: rollout,
			domains: stage.Domains, routes: r.Routes, name: name,
			rules: grouse.AdmissionRules{NumGenerations: stage.Reject.N, Vocab: r.Vocab, Filter: grouse.FilterNone}})
		var kept activities.KeepBestOutput
		if err == nil {
			kept, err = execute[activities.KeepBestOutput](ctx, r, queue, name+" · keep the best", workTimeout, trainer.KeepBest,
				activities.KeepBestInput{Policy: r.Policy, Prompts: planned.Prompts, Groups: made.groups, Scores: made.scores})
		}
		if err == nil {
			return r.note(ctx, fmt.Sprintf("%s · kept %d completions of %d prompts", name, kept.Rows, kept.Prompts))
		}
		if !isMissing(err) {
			break
		}
	}
	return failed(name, err)
}
