package activities

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
)

// Rewards scores groups.
type Rewards struct {
	Scorer Scorer
	Bus    Bus
	Codec  Codec
}

// ScoreGroupsInput asks for the scores of a shard's groups of some domains.
type ScoreGroupsInput struct {
	Run     string                `json:"run"`
	Purpose string                `json:"purpose"`
	Stage   int                   `json:"stage"`
	Step    int64                 `json:"step"`
	Attempt int                   `json:"attempt"` // of the step: one that is asked for anew is judged anew
	Groups  grouse.BatchRef       `json:"groups"`
	Prompts grouse.BatchRef       `json:"prompts"`
	Domains []grouse.Domain       `json:"domains"` // groups of others are left out
	Rules   grouse.AdmissionRules `json:"rules"`
}

// ScoreGroupsOutput names the scores and says of each group what speaks against
// training on it.
type ScoreGroupsOutput struct {
	Scores   grouse.BatchRef       `json:"scores"` // zero if there was no group
	Verdicts []grouse.GroupVerdict `json:"verdicts"`
	Rewards  []RewardStat          `json:"rewards,omitempty"` // of what was judged now, not before
	Span     Span                  `json:"span"`
}

// What goes into history of a failure, bytes: the reason, and the completion.
const (
	maxReason = 300
	maxShown  = 160
)

// ScoreGroups scores one shard.
func (a *Rewards) ScoreGroups(ctx context.Context, in ScoreGroupsInput) (ScoreGroupsOutput, error) {
	return beating(ctx, "groups", 0, func(ctx context.Context, progress func(int)) (ScoreGroupsOutput, error) {
		out := ScoreGroupsOutput{Span: Span{What: "score", Start: now()}}
		prompts, err := fetchPrompts(ctx, a.Bus, in.Prompts)
		if err != nil {
			return out, err
		}
		groups, err := fetchGroups(ctx, a.Bus, a.Codec, in.Groups, byCandidate(prompts))
		if err != nil {
			return out, err
		}
		domains := map[string]grouse.Domain{}
		for _, d := range in.Domains {
			domains[d.Name] = d
		}
		groups = slices.DeleteFunc(groups, func(g grouse.Group) bool { _, ok := domains[g.Prompt.Domain]; return !ok })
		if len(groups) == 0 {
			out.Span.End = now()
			return out, nil
		}
		var meter rewardMeter
		scores, err := a.scores(ctx, in, domains, groups, progress, meter.observe)
		if err != nil {
			return out, err
		}
		out.Scores, out.Verdicts, err = a.publish(ctx, in, groups, scores)
		out.Rewards = meter.stats
		out.Span.End = now()
		return out, err
	})
}

// scores returns the scores that were stored before, or has them made.
func (a *Rewards) scores(ctx context.Context, in ScoreGroupsInput, domains map[string]grouse.Domain, groups []grouse.Group, progress func(int),
	observe func(string, time.Duration, grouse.Outcome)) ([]GroupScores, error) {
	if ref, err := a.Bus.Lookup(ctx, in.scoreKey()); err == nil {
		if stored, err := fetchScores(ctx, a.Bus, a.Codec, ref); err == nil && sameCandidates(stored, groups) {
			return stored, nil
		}
	}
	made, err := a.Scorer.Score(ctx, ScoreRequest{Run: in.Run, Purpose: in.Purpose, Stage: in.Stage, Step: in.Step, Domains: domains, Groups: groups, Observe: observe}, progress)
	if err != nil {
		return nil, fmt.Errorf("score %s: %w", in.Groups.Key, err)
	}
	if len(made) != len(groups) {
		return nil, grouse.Errorf(grouse.Internal, "score %s: scores of %d groups, want %d", in.Groups.Key, len(made), len(groups))
	}
	scores := make([]GroupScores, len(groups))
	for i := range groups {
		if len(made[i]) != len(groups[i].Rollouts) {
			return nil, grouse.Errorf(grouse.Internal, "score %s: %d scores for the %d completions of candidate %d",
				in.Groups.Key, len(made[i]), len(groups[i].Rollouts), groups[i].Candidate)
		}
		scores[i] = GroupScores{Candidate: groups[i].Candidate, Scores: made[i]}
	}
	return scores, nil
}

func sameCandidates(scores []GroupScores, groups []grouse.Group) bool {
	return slices.EqualFunc(scores, groups, func(s GroupScores, g grouse.Group) bool {
		return s.Candidate == g.Candidate && len(s.Scores) == len(g.Rollouts)
	})
}

// publish stores the scores and judges by what is stored: who came second goes
// by the first one's scores.
func (a *Rewards) publish(ctx context.Context, in ScoreGroupsInput, groups []grouse.Group, scores []GroupScores) (grouse.BatchRef, []grouse.GroupVerdict, error) {
	data, err := a.Codec.EncodeScores(scores)
	if err != nil {
		return grouse.BatchRef{}, nil, fmt.Errorf("score %s: %w", in.Groups.Key, err)
	}
	rows := 0
	for _, s := range scores {
		rows += len(s.Scores)
	}
	ref, err := a.Bus.Publish(ctx, in.scoreKey(), rows, data)
	if err != nil {
		return ref, nil, err
	}
	if scores, err = fetchScores(ctx, a.Bus, a.Codec, ref); err != nil {
		return ref, nil, err
	}
	if !sameCandidates(scores, groups) {
		return ref, nil, grouse.Errorf(grouse.Internal, "score %s: what is stored under %s is of other groups", in.Groups.Key, ref.Key)
	}
	verdicts := make([]grouse.GroupVerdict, len(groups))
	for i := range groups {
		verdicts[i] = grouse.Judge(&grouse.ScoredGroup{Group: groups[i], Scores: scores[i].Scores}, in.Rules)
		verdicts[i].Reason = clip(verdicts[i].Reason, maxReason)
		if verdicts[i].State == grouse.GroupFailed { // who pauses over it wants to see what could not be judged
			r := failedSample(&groups[i], scores[i].Scores)
			verdicts[i].Reason += fmt.Sprintf(" · row %s, sample %d: %q", groups[i].Prompt.RowID, r.Sample, clip(r.Text, maxShown))
		}
	}
	return ref, verdicts, nil
}

// clip shortens a text to about n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

// failedSample returns the completion that a failure is about: the one that it names,
// or the first.
func failedSample(g *grouse.Group, scores []grouse.Score) *grouse.Rollout {
	for _, s := range scores {
		if m := sampleNamed.FindStringSubmatch(s.Failure); m != nil {
			if i, err := strconv.Atoi(m[1]); err == nil && i < len(g.Rollouts) {
				return &g.Rollouts[i]
			}
		}
	}
	return &g.Rollouts[0]
}

// sampleNamed finds the sample in a rewards.Error's text.
var sampleNamed = regexp.MustCompile(`\bsample (\d{1,6}):`)

// scoreKey names the scores: the groups' shard, the domains, the attempt.
func (in *ScoreGroupsInput) scoreKey() string {
	parts := strings.Split(in.Groups.Key, "/")
	shard := parts[len(parts)-1]
	if in.Attempt > 0 {
		shard += fmt.Sprintf("-a%d", in.Attempt)
	}
	var names []string
	for _, d := range in.Domains {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return key(in.Run, kindScores, purposeToken(in.Purpose, in.Stage, in.Step), shard+"-"+shortHash(strings.Join(names, "\n")))
}

func fetchScores(ctx context.Context, bus Bus, codec Codec, ref grouse.BatchRef) ([]GroupScores, error) {
	data, err := bus.Fetch(ctx, ref)
	if err != nil {
		return nil, missing(err, BatchMissing)
	}
	scores, err := codec.DecodeScores(data)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", ref.Key, err)
	}
	return scores, nil
}
