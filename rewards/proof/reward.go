package proof

import (
	"context"
	"fmt"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Roles of Options.Role.
const (
	RoleVerifier = "verifier" // the completion evaluates a proof
	RoleMeta     = "meta"     // the completion evaluates an evaluation
)

// Options are the parameters of proof.
type Options struct {
	Role   string `json:"role"`   // verifier | meta; "verifier"
	Column string `json:"column"` // holds the true score: 0, 0.5 or 1; "score"
}

// Reward is R_format R_score of a verifier's or meta-verifier's completion, from 0 to
// 1 (eq. 2): 1 for the right format and the true score. A truncated completion has
// the wrong format.
func Reward(o Options) rewards.Reward {
	parse := ParseVerifier
	if o.Role == RoleMeta {
		parse = ParseMeta
	}
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		text, err := s.Text(o.Column)
		if err != nil {
			return rewards.Result{}, err
		}
		truth, ok := parseScore(text)
		if !ok {
			return rewards.Result{}, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q is %q, not a score", s.Prompt.RowID, o.Column, text).
				WithFix("scores are 0, 0.5 and 1"))
		}
		e, ok := parse(s.Completion)
		if ok = ok && s.Thought != rewards.UnclosedThought && s.Finish != grouse.FinishLength; !ok {
			return rewards.Result{Explanation: "wrong format", Numbers: map[string]float64{"format": 0}}, nil
		}
		r := rewards.Value(VerifierReward(true, e.Score, truth), fmt.Sprintf("scored %v, true score %v", e.Score, truth))
		r.Numbers = map[string]float64{"format": 1, "score": e.Score}
		return r, nil
	})
}

// New makes the reward proof from a recipe's parameters.
func New(params map[string]any) (rewards.Reward, error) {
	o := Options{Role: RoleVerifier, Column: "score"}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if o.Role != RoleVerifier && o.Role != RoleMeta {
		return nil, grouse.Errorf(grouse.Invalid, "unknown role %q", o.Role).
			WithFix("set role to verifier or meta; a generator's reward needs a verifier's score: proof.GeneratorReward")
	}
	return Reward(o), nil
}
