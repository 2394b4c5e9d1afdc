package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
)

// stepPlan is what a step will be trained on.
type stepPlan struct {
	Step     int64
	Attempt  int // how often it was planned before
	Draws    []activities.DrawPromptsOutput
	Waves    []activities.Wave
	Verdicts []grouse.GroupVerdict // ascending candidate
	Stats    grouse.Metrics        // of the admission
	Admitted int
	Rewards  []activities.RewardStat
	Busy     []activities.Span
}

// failed returns the share of drawn groups whose reward failed, and a reason.
func (p *stepPlan) failed() (float64, string) {
	n, reason := 0, ""
	for _, v := range p.Verdicts {
		if v.State == grouse.GroupFailed {
			if n++; n == 1 {
				reason = v.Reason
			}
		}
	}
	if n == 0 {
		return 0, ""
	}
	return float64(n) / float64(len(p.Verdicts)), reason
}

// plan makes the groups of a step; if a batch gets lost on the way, again.
func (r *run) plan(ctx workflow.Context, step int64, attempt int) (stepPlan, error) {
	for {
		plan, err := r.waves(ctx, step, attempt)
		if isMissing(err) && attempt < repeats {
			attempt++
			continue
		}
		return plan, failed(fmt.Sprintf("step %d", step), err)
	}
}

// waves fills a step: wave after wave is drawn, sampled, scored and admitted,
// until it is full, the waves are used up, or the data is.
func (r *run) waves(ctx workflow.Context, step int64, attempt int) (stepPlan, error) {
	stage := r.stage()
	k := int64(stage.Rollout.MaxStaleness)
	policy := r.policyOf(max(0, step-1-k))
	plan := stepPlan{Step: step, Attempt: attempt}
	adm := grouse.NewAdmission(stage.Rollout.PromptsPerStep, stage.Algorithm.MaxWaves)
	rules := grouse.AdmissionRules{NumGenerations: stage.Rollout.NumGenerations, Vocab: r.Vocab, Routing: r.Routing, Filter: stage.Algorithm.FilterGroups,
		MaskTruncated: stage.Algorithm.MaskTruncatedCompletions, OldestVersion: max(0, step-1-k)}
	if draw, ok := r.draw(step); ok && attempt == 0 {
		plan.Draws = append(plan.Draws, draw)
	}
	for {
		first, n := adm.NextWave()
		if n == 0 {
			break
		}
		for !enough(plan.Draws, first, n) {
			in := activities.DrawPromptsInput{Stage: r.Stage, Step: step, N: activities.DrawSize(stage), Head: max(0, step-1-k)}
			for _, d := range plan.Draws {
				in.First = d.First + uint32(d.Count)
				in.Earlier = append(in.Earlier, d.Prompts)
			}
			draw, err := execute[activities.DrawPromptsOutput](ctx, r, activities.TrainQueue(r.Spec.Name),
				fmt.Sprintf("step %d · draw · from %d", step, in.First), workTimeout, trainer.DrawPrompts, in)
			if err != nil {
				return plan, err
			}
			plan.Draws = append(plan.Draws, draw)
		}
		last := plan.Draws[len(plan.Draws)-1]
		n = min(n, int(last.First)+last.Count-int(first)) // fewer: the data has no more
		w, err := r.makeGroups(ctx, groupsWork{purpose: activities.PurposeRollout, stage: r.Stage, step: step, wave: adm.Waves, attempt: attempt,
			policy: policy, draws: plan.Draws, first: first, count: n, n: stage.Rollout.NumGenerations, rollout: stage.Rollout, domains: stage.Domains,
			routes: r.Routes, rules: rules, name: fmt.Sprintf("step %d", step)})
		if err != nil {
			return plan, err
		}
		verdicts, err := adm.AddWave(w.verdicts)
		if err != nil {
			return plan, err
		}
		plan.Waves = append(plan.Waves, activities.Wave{First: first, Count: n, Groups: w.groups, Scores: w.scores})
		plan.Verdicts = append(plan.Verdicts, verdicts...)
		plan.Rewards = activities.MergeRewardStats(plan.Rewards, w.rewards)
		plan.Busy = append(plan.Busy, w.busy...)
	}
	plan.Stats, plan.Admitted = adm.Metrics(), len(adm.Admitted)
	return plan, nil
}

// enough reports whether candidates first to first+n-1 are drawn, or the data
// has no more.
func enough(draws []activities.DrawPromptsOutput, first uint32, n int) bool {
	if len(draws) == 0 {
		return false
	}
	last := draws[len(draws)-1]
	return last.Spent || int(last.First)+last.Count >= int(first)+n
}

// policyOf names a version of the stage's policy. After a restart the chain of
// an older one is not known here: its version says enough.
func (r *run) policyOf(version int64) grouse.PolicyRef {
	for _, p := range r.Recent {
		if p.Version == version {
			return p
		}
	}
	return grouse.PolicyRef{Stage: r.Stage, Version: version}
}

// groupsWork is a set of prompts to be sampled and scored.
type groupsWork struct {
	purpose       string
	stage         int
	step          int64
	wave, attempt int
	policy        grouse.PolicyRef
	draws         []activities.DrawPromptsOutput
	first         uint32 // candidates first to first+count-1 of the draws
	count         int
	n             int // completions a prompt
	rollout       grouse.RolloutSpec
	domains       []grouse.Domain
	routes        []activities.ScoreRoute
	rules         grouse.AdmissionRules
	name          string // for summaries
}

// madeGroups is what came of it, in candidate order.
type madeGroups struct {
	groups, scores []grouse.BatchRef
	verdicts       []grouse.GroupVerdict
	rewards        []activities.RewardStat
	busy           []activities.Span
}

// makeGroups samples and scores in shards, all at the same time. How many there
// are changes no result.
func (r *run) makeGroups(ctx workflow.Context, work groupsWork) (madeGroups, error) {
	size := r.GroupsPerShard
	if size <= 0 {
		size = max(1, work.count)
	}
	var shards []workflow.Future
	for _, draw := range work.draws {
		from := max(work.first, draw.First)
		end := min(work.first+uint32(work.count), draw.First+uint32(draw.Count))
		for ; from < end; from += uint32(size) {
			future, set := workflow.NewFuture(ctx)
			shard := shardOf{prompts: draw.Prompts, from: int(from - draw.First), to: int(min(from+uint32(size), end) - draw.First), first: from}
			workflow.Go(ctx, func(ctx workflow.Context) {
				made, err := r.makeShard(ctx, work, shard)
				set.Set(made, err)
			})
			shards = append(shards, future)
		}
	}
	var all madeGroups
	var firstErr error
	for _, shard := range shards { // all of them, so that none is left behind
		var made madeGroups
		if err := shard.Get(ctx, &made); err != nil {
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		all.groups, all.scores = append(all.groups, made.groups...), append(all.scores, made.scores...)
		all.verdicts, all.busy = append(all.verdicts, made.verdicts...), append(all.busy, made.busy...)
		all.rewards = activities.MergeRewardStats(all.rewards, made.rewards)
	}
	slices.SortStableFunc(all.verdicts, func(a, b grouse.GroupVerdict) int { return int(a.Candidate) - int(b.Candidate) })
	return all, firstErr
}

// shardOf is a range of drawn prompts.
type shardOf struct {
	prompts  grouse.BatchRef
	from, to int    // rows of prompts
	first    uint32 // candidate of row from
}

// String is "groups 0-15", by candidate.
func (s shardOf) String() string {
	return fmt.Sprintf("groups %d-%d", s.first, int(s.first)+s.to-s.from-1)
}

func (r *run) makeShard(ctx workflow.Context, work groupsWork, shard shardOf) (madeGroups, error) {
	var made madeGroups
	sampled, err := r.sample(ctx, work, shard)
	if err != nil {
		return made, err
	}
	made.groups, made.busy = []grouse.BatchRef{sampled.Groups}, []activities.Span{sampled.Span}
	summary := fmt.Sprintf("%s · score · %s", work.name, shard)
	r.doing = summary
	for _, route := range work.routes {
		var domains []grouse.Domain
		for _, d := range work.domains {
			if slices.Contains(route.Domains, d.Name) && slices.Contains(sampled.Domains, d.Name) {
				domains = append(domains, d)
			}
		}
		if len(domains) == 0 {
			continue
		}
		in := activities.ScoreGroupsInput{Run: r.Spec.Name, Purpose: work.purpose, Stage: work.stage, Step: work.step, Attempt: work.attempt,
			Groups: sampled.Groups, Prompts: shard.prompts, Domains: domains, Rules: work.rules}
		var scored activities.ScoreGroupsOutput
		if route.Local {
			scored, err = executeLocal[activities.ScoreGroupsOutput](ctx, summary, rewards.ScoreGroups, in)
		} else {
			timeout := scoreTimeout
			if route.DeadlineS > 0 {
				timeout = time.Duration(route.DeadlineS * float64(time.Second))
			}
			scored, err = execute[activities.ScoreGroupsOutput](ctx, r, route.Queue, summary, timeout, rewards.ScoreGroups, in)
		}
		if err != nil {
			return made, err
		}
		made.scores, made.verdicts = append(made.scores, scored.Scores), append(made.verdicts, scored.Verdicts...)
		made.rewards = activities.MergeRewardStats(made.rewards, scored.Rewards)
		made.busy = append(made.busy, scored.Span)
	}
	if want := shard.to - shard.from; len(made.verdicts) != want {
		return made, fmt.Errorf("%s: %d groups were scored, want %d: the routes leave out a domain of %v", summary, len(made.verdicts), want, sampled.Domains)
	}
	return made, nil
}

// sample has a shard sampled. A sampler that lacks the weights, because it or
// the trainer began anew, gets them first.
func (r *run) sample(ctx workflow.Context, work groupsWork, shard shardOf) (activities.SampleGroupsOutput, error) {
	in := activities.SampleGroupsInput{Run: r.Spec.Name, Purpose: work.purpose, Stage: work.stage, Step: work.step, Wave: work.wave, Policy: work.policy,
		Prompts: shard.prompts, From: shard.from, To: shard.to, N: work.n, Rollout: work.rollout, Seed: r.Spec.Seed,
		KeepRouting: work.purpose == activities.PurposeRollout && r.Spec.Stages[work.stage].Algorithm.KeepRouting}
	summary := fmt.Sprintf("%s · sample · %s · policy %d", work.name, shard, work.policy.Version)
	for attempt := 0; ; attempt++ {
		r.doing = summary
		out, err := execute[activities.SampleGroupsOutput](ctx, r, activities.RolloutQueue, summary, workTimeout, rollouts.SampleGroups, in)
		if errorType(err) != activities.PolicyMissing || attempt >= repeats {
			return out, err
		}
		_, err = execute[activities.PublishOutput](ctx, r, activities.TrainQueue(r.Spec.Name), fmt.Sprintf("%s · publish · policy %d", work.name, work.policy.Version),
			workTimeout, trainer.Publish, activities.PublishInput{Policy: r.Policy, From: work.policy.Version})
		if err != nil {
			return out, err
		}
	}
}
