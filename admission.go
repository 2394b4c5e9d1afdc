package grouse

import (
	"math"
	"slices"
	"sort"
	"strings"
)

// FlatSpread is the largest spread of a group's rewards at which they count as
// equal: equal floats do not always average to themselves (spec 1.2, 8).
const FlatSpread = 1e-9

// Flat reports whether rewards are all the same, max - min <= FlatSpread, so that
// their group has no advantages. One reward, and none, are flat.
func Flat(rewards []float64) bool {
	if len(rewards) == 0 {
		return true
	}
	return slices.Max(rewards)-slices.Min(rewards) <= FlatSpread
}

// Reason says why a drawn group was not trained on. A GroupVerdict's Reason is one
// of these, or one of these with the details: "reward: sample 3: timeout". The
// names are the last part of the metrics groups/*.
type Reason string

const (
	ReasonFlatZero Reason = "flat_zero" // filtered: every completion is wrong
	ReasonFlatMax  Reason = "flat_max"  // filtered: every completion is right
	ReasonFlat     Reason = "flat"      // filtered: the same reward in between
	ReasonStale    Reason = "stale"     // filtered: a token older than max_staleness allows
	ReasonInvalid  Reason = "invalid"   // filtered: the record breaks an invariant (Group.Validate)
	ReasonOverlong Reason = "overlong"  // filtered: every completion was truncated, and truncated ones are masked
	ReasonSurplus  Reason = "surplus"   // filtered: the step was full
	ReasonReward   Reason = "reward"    // failed: a reward could not judge it
	ReasonSample   Reason = "sample"    // failed: no completions could be made
)

// Reasons lists every Reason.
var Reasons = [...]Reason{ReasonFlatZero, ReasonFlatMax, ReasonFlat, ReasonStale, ReasonInvalid, ReasonOverlong,
	ReasonSurplus, ReasonReward, ReasonSample}

// With returns the reason with details, as GroupVerdict.Reason holds it.
func (r Reason) With(detail string) string {
	if detail == "" {
		return string(r)
	}
	return string(r) + ": " + detail
}

// ReasonOf returns the Reason that a GroupVerdict's text begins with.
func ReasonOf(text string) Reason {
	kind, _, _ := strings.Cut(text, ":")
	return Reason(kind)
}

// AdmissionRules are the numbers that Judge goes by.
type AdmissionRules struct {
	NumGenerations int          // G
	Vocab          int          // ids of the model's vocabulary
	Routing        RoutingShape // of the model's routing
	Filter         string       // filter_groups: none | total | outcome
	MaskTruncated  bool         // mask_truncated_completions
	OldestVersion  int64        // of a token: step - max_staleness, at least 0
}

// Judge decides what speaks against a scored group, in this order: a broken
// record, a reward that failed, a token that is too old, nothing left to train
// on, no spread. It looks at the group alone. GroupScored means that nothing
// does; Admit may still find the step full.
func Judge(g *ScoredGroup, rules AdmissionRules) GroupVerdict {
	v := GroupVerdict{Candidate: g.Group.Candidate}
	no := func(state GroupState, reason Reason, detail string) GroupVerdict {
		v.State, v.Reason = state, reason.With(detail)
		return v
	}
	if err := g.Group.Validate(rules.NumGenerations, rules.Vocab); err != nil {
		return no(GroupFiltered, ReasonInvalid, err.Error())
	}
	for i := range g.Group.Rollouts {
		if err := g.Group.Rollouts[i].Routing.Check(rules.Routing); err != nil {
			return no(GroupFiltered, ReasonInvalid, Errorf(Invalid, "sample %d: %w", i, err).Error())
		}
	}
	rewards, err := rewardsOf(g, rules.Filter == FilterOutcome)
	if err != nil {
		return no(GroupFailed, ReasonReward, err.Error())
	}
	for _, r := range rewards {
		v.Mean += r / float64(len(rewards))
	}
	v.SolveRate = SolveRate(g.Scores)
	overlong := rules.MaskTruncated
	for i := range g.Group.Rollouts {
		r := &g.Group.Rollouts[i]
		for t, version := range r.PolicyVersion {
			if version < rules.OldestVersion {
				return no(GroupFiltered, ReasonStale, Errorf(Stale, "sample %d: token %d was drawn by version %d, the oldest allowed is %d", i, t, version, rules.OldestVersion).Error())
			}
		}
		overlong = overlong && r.Finish == FinishLength
	}
	if overlong {
		return no(GroupFiltered, ReasonOverlong, "every completion was truncated")
	}
	if noSpread(g, rewards, rules.Filter) {
		return no(GroupFiltered, flatReason(g, rewards), "")
	}
	v.State = GroupScored
	return v
}

// rewardsOf returns the total rewards of a group, or why one cannot be had.
func rewardsOf(g *ScoredGroup, outcome bool) ([]float64, error) {
	if len(g.Scores) != len(g.Group.Rollouts) {
		return nil, Errorf(Invalid, "%d scores for %d completions", len(g.Scores), len(g.Group.Rollouts))
	}
	rewards := make([]float64, len(g.Scores))
	for i := range g.Scores {
		s := &g.Scores[i]
		switch {
		case s.Outcome != Scored:
			return nil, Errorf(Unavailable, "sample %d: %s: %s", i, s.Outcome, s.Failure)
		case s.Reward == nil:
			return nil, Errorf(Invalid, "sample %d: no reward had an opinion", i)
		case math.IsNaN(*s.Reward) || math.IsInf(*s.Reward, 0):
			return nil, Errorf(Invalid, "sample %d: the reward is %v", i, *s.Reward)
		case outcome && s.Correct == nil:
			return nil, Errorf(Invalid, "sample %d: filter_groups is outcome, but no reward says whether the completion is correct", i)
		}
		rewards[i] = *s.Reward
	}
	return rewards, nil
}

// noSpread reports whether the filter drops the group. By outcome it keeps groups
// with 0 < #correct < G (DAPO, eq. 11).
func noSpread(g *ScoredGroup, rewards []float64, filter string) bool {
	switch filter {
	case FilterTotal:
		return Flat(rewards)
	case FilterOutcome:
		n := 0
		for _, s := range g.Scores {
			if *s.Correct {
				n++
			}
		}
		return n == 0 || n == len(g.Scores)
	}
	return false
}

// flatReason tells all wrong from all right: by the verdict of the outcome reward
// if there is one, else by totals of 0 and 1.
func flatReason(g *ScoredGroup, rewards []float64) Reason {
	right, known := 0, true
	for _, s := range g.Scores {
		if s.Correct == nil {
			known = false
		} else if *s.Correct {
			right++
		}
	}
	switch {
	case known && right == 0, !known && math.Abs(rewards[0]) <= FlatSpread:
		return ReasonFlatZero
	case known && right == len(g.Scores), !known && math.Abs(rewards[0]-1) <= FlatSpread:
		return ReasonFlatMax
	}
	return ReasonFlat
}

// SolveRate returns the share of completions that the outcome reward found right;
// without such a reward, the share with a positive total.
func SolveRate(scores []Score) float64 {
	if len(scores) == 0 {
		return 0
	}
	sum := 0.0
	for _, s := range scores {
		switch {
		case s.Correct != nil && *s.Correct:
			sum++
		case s.Correct == nil && s.Reward != nil && *s.Reward > 0:
			sum++
		}
	}
	return sum / float64(len(scores))
}

// Admit admits groups in candidate order, up to want; those that nothing speaks
// against but that come too late become surplus. It returns all verdicts in
// candidate order. The result does not depend on the order of its input: arrival
// means nothing.
func Admit(verdicts []GroupVerdict, want int) []GroupVerdict {
	out := slices.Clone(verdicts)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Candidate < out[j].Candidate })
	n := 0
	for i := range out {
		if out[i].State != GroupScored {
			continue
		}
		if n++; n > want {
			out[i].State, out[i].Reason = GroupFiltered, string(ReasonSurplus)
		}
	}
	return out
}

// Admission fills a step wave by wave (design: deterministic active sampling).
// Wave 0 asks for Want groups, wave j for exactly Want minus those admitted, at
// most MaxWaves in all. It is plain data, so that a workflow can carry it.
type Admission struct {
	Want     int            `json:"want"`      // P
	MaxWaves int            `json:"max_waves"` // at least 1
	Waves    int            `json:"waves"`     // added so far
	Drawn    uint32         `json:"drawn"`     // candidates named so far; the next wave's first
	Admitted []uint32       `json:"admitted"`  // ascending. Invariant: len(Admitted) <= Want
	Counts   map[Reason]int `json:"counts"`    // of the others. Invariant: they and Admitted make up Drawn
	Spent    bool           `json:"spent"`     // the data has no more prompts
	Judged   int            `json:"judged"`    // groups that got rewards, admitted or not
	Reward   float64        `json:"reward"`    // sum of their mean rewards
}

// NewAdmission returns an Admission for a step of want groups.
func NewAdmission(want, maxWaves int) *Admission {
	return &Admission{Want: want, MaxWaves: maxWaves, Counts: map[Reason]int{}}
}

// NextWave returns the candidates first, first+1, ..., first+n-1 to draw next;
// n is 0 if the step is full, the waves are used up, or the data is.
func (a *Admission) NextWave() (first uint32, n int) {
	if a.Waves >= a.MaxWaves || a.Spent {
		return a.Drawn, 0
	}
	return a.Drawn, a.Want - len(a.Admitted)
}

// AddWave takes the verdicts of the wave that NextWave named, in any order, and
// returns them in candidate order with their final states. Fewer than n mean that
// the data had no more prompts: they must still be the first ones. Anything else
// is an error of kind Invalid.
func (a *Admission) AddWave(verdicts []GroupVerdict) ([]GroupVerdict, error) {
	first, n := a.NextWave()
	if n == 0 {
		return nil, Errorf(Invalid, "admission: a wave of %d groups, but none was asked for", len(verdicts))
	}
	if len(verdicts) > n {
		return nil, Errorf(Invalid, "admission: wave %d has %d groups, asked for %d", a.Waves, len(verdicts), n)
	}
	out := Admit(verdicts, n)
	for i, v := range out {
		if v.Candidate != first+uint32(i) {
			return nil, Errorf(Invalid, "admission: wave %d has candidate %d where %d was asked for", a.Waves, v.Candidate, first+uint32(i))
		}
	}
	for _, v := range out {
		if v.State == GroupScored || strings.HasPrefix(v.Reason, string(ReasonFlat)) {
			a.Judged++
			a.Reward += v.Mean
		}
		if v.State == GroupScored {
			a.Admitted = append(a.Admitted, v.Candidate)
		} else {
			a.Counts[ReasonOf(v.Reason)]++
		}
	}
	a.Waves++
	a.Drawn += uint32(len(out))
	a.Spent = len(out) < n
	return out, nil
}

// Metrics returns the step's counts by reason, as groups/admitted, groups/flat_zero,
// ..., and prompts_drawn. Every reason is there, also at 0. reward is the mean
// over all groups that were judged, flat ones too: over the admitted ones alone
// it would say more about the filter than about the policy.
func (a *Admission) Metrics() Metrics {
	m := Metrics{"groups/admitted": float64(len(a.Admitted)), "prompts_drawn": float64(a.Drawn)}
	if a.Judged > 0 {
		m["reward"] = a.Reward / float64(a.Judged)
	}
	for _, r := range Reasons {
		m["groups/"+string(r)] = float64(a.Counts[r])
	}
	return m
}
