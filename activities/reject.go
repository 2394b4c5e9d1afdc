package activities

import (
	"cmp"
	"context"
	"slices"

	"github.com/grouse-rl/grouse"
)

// KeepBestInput ends a rejection-sampling stage.
type KeepBestInput struct {
	Policy  grouse.PolicyRef  `json:"policy"`
	Prompts grouse.BatchRef   `json:"prompts"`
	Groups  []grouse.BatchRef `json:"groups"`
	Scores  []grouse.BatchRef `json:"scores"`
}

// KeepBestOutput says what it came to.
type KeepBestOutput struct {
	Prompts int `json:"prompts"` // that were sampled for
	Rows    int `json:"rows"`    // that were kept
}

// KeepBest stores the best completions of each prompt as the stage's data set:
// at most Keep, of a reward of at least MinReward, ties in order of sample.
func (t *Trainer) KeepBest(ctx context.Context, in KeepBestInput) (KeepBestOutput, error) {
	return alone(ctx, t, "rows", 0, func(ctx context.Context, _ func(int)) (KeepBestOutput, error) {
		var out KeepBestOutput
		if in.Policy.Stage < 0 || in.Policy.Stage >= len(t.spec.Stages) {
			return out, t.unprepared(in.Policy.Stage)
		}
		spec := t.spec.Stages[in.Policy.Stage].Reject
		prompts, err := fetchPrompts(ctx, t.Bus, in.Prompts)
		if err != nil {
			return out, err
		}
		scores := map[uint32][]grouse.Score{}
		for _, ref := range in.Scores {
			ss, err := fetchScores(ctx, t.Bus, t.Codec, ref)
			if err != nil {
				return out, err
			}
			for _, s := range ss {
				scores[s.Candidate] = s.Scores
			}
		}
		var groups []grouse.Group
		for _, ref := range in.Groups {
			gs, err := fetchGroups(ctx, t.Bus, t.Codec, ref, byCandidate(prompts))
			if err != nil {
				return out, err
			}
			groups = append(groups, gs...)
		}
		slices.SortFunc(groups, func(a, b grouse.Group) int { return cmp.Compare(a.Candidate, b.Candidate) })
		var rows []KeptRow
		for _, g := range groups {
			out.Prompts++
			rows = append(rows, best(g, scores[g.Candidate], spec)...)
		}
		out.Rows = len(rows)
		if out.Rows == 0 {
			return out, grouse.Errorf(grouse.Invalid, "rejection sampling kept nothing of %d prompts: no completion has a reward of %g", out.Prompts, spec.MinReward).
				WithFix("lower min_reward, raise n, or begin with better weights")
		}
		if err := t.Prompts.Keep(ctx, in.Policy.Stage, rows); err != nil {
			return out, err
		}
		return out, t.Bus.Purge(ctx, t.Run, purposeToken(PurposeReject, in.Policy.Stage, in.Policy.Version))
	})
}

// best returns the completions of a group that are kept, best first.
func best(g grouse.Group, scores []grouse.Score, spec grouse.RejectSpec) []KeptRow {
	var rows []KeptRow
	for i, s := range scores {
		if i < len(g.Rollouts) && s.Outcome == grouse.Scored && s.Reward != nil && *s.Reward >= spec.MinReward {
			rows = append(rows, KeptRow{Prompt: g.Prompt, Rollout: g.Rollouts[i], Reward: *s.Reward})
		}
	}
	slices.SortStableFunc(rows, func(a, b KeptRow) int { return cmp.Compare(b.Reward, a.Reward) })
	return rows[:min(len(rows), spec.Keep)]
}
