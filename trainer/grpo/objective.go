package grpo

import (
	"fmt"
	"math"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Objective is a grouse.Algorithm that was checked and whose names were
// resolved. It is immutable and safe for concurrent use.
type Objective struct {
	alg        grouse.Algorithm
	clip       Clip
	estimator  Estimator
	correction Correction
	sequence   bool // importance ratio of the whole sequence (GSPO)
	rollout    bool // pi_old is the rollout engine's
}

// New checks an algorithm by itself: names, ranges, and pairs that make no
// sense. Validate also looks at the domains.
func New(a *grouse.Algorithm) (*Objective, error) {
	o := &Objective{
		alg:      *a,
		clip:     Clip{Low: a.Epsilon, High: a.EpsilonHigh, C: a.Delta},
		sequence: a.ImportanceSamplingLevel == grouse.LevelSequence,
		rollout:  a.PiOld == grouse.PiOldRollout,
	}
	if err := oneOf("advantage", a.Advantage, grouse.AdvantageMean, grouse.AdvantageMeanStd); err != nil {
		return nil, err
	}
	if err := oneOf("loss_aggregation", a.LossAggregation, grouse.SeqMeanTokenMean, grouse.TokenMean, grouse.SeqMeanTokenSum, grouse.SeqMeanTokenSumNorm); err != nil {
		return nil, err
	}
	if err := oneOf("importance_sampling_level", a.ImportanceSamplingLevel, grouse.LevelToken, grouse.LevelSequence); err != nil {
		return nil, err
	}
	if err := oneOf("pi_old", a.PiOld, grouse.PiOldRollout, grouse.PiOldRecomputed); err != nil {
		return nil, err
	}
	var err error
	if o.estimator, err = ParseEstimator(a.KLEstimator); err != nil {
		return nil, err
	}
	if o.correction, err = ParseCorrection(a.EngineCorrection); err != nil {
		return nil, err
	}
	for _, r := range []struct {
		key   string
		value float64
		ok    bool
		want  string
	}{
		{"advantage_ddof", float64(a.AdvantageDDoF), a.AdvantageDDoF == 0 || a.AdvantageDDoF == 1, "0 (population) or 1 (sample)"},
		{"advantage_eps", a.AdvantageEps, finite(a.AdvantageEps) && a.AdvantageEps >= 0, "a number of at least 0, such as 1e-6"},
		{"epsilon", a.Epsilon, finite(a.Epsilon) && a.Epsilon >= 0, "a number of at least 0, such as 0.2"},
		{"epsilon_high", a.EpsilonHigh, finite(a.EpsilonHigh) && a.EpsilonHigh >= 0, "a number of at least 0, such as 0.2"},
		{"delta", a.Delta, a.Delta == 0 || (finite(a.Delta) && a.Delta > 1 && a.Delta > 1+a.EpsilonHigh), "0 for no dual clip, or a number above 1+epsilon_high, such as 3"},
		{"loss_norm_tokens", a.LossNormTokens, a.LossAggregation != grouse.SeqMeanTokenSumNorm || (finite(a.LossNormTokens) && a.LossNormTokens > 0), "the generation budget in tokens"},
		{"beta", a.Beta, finite(a.Beta) && a.Beta >= 0, "a number of at least 0"},
		{"kl_in_reward", a.KLInReward, finite(a.KLInReward) && a.KLInReward >= 0, "a number of at least 0"},
	} {
		if !r.ok {
			return nil, grouse.Errorf(grouse.Invalid, "algorithm: %s is %v", r.key, r.value).WithFix("set %s to %s", r.key, r.want)
		}
	}
	if d := a.OffPolicyMaskThreshold; d != nil && !(*d >= 0 && finite(*d)) {
		return nil, grouse.Errorf(grouse.Invalid, "algorithm: off_policy_mask_threshold is %v", *d).
			WithFix("set off_policy_mask_threshold to nats per token of at least 0, such as 0.1, or to null for no mask")
	}
	if o.rollout && o.correction.Mode != CorrectionNone {
		return nil, grouse.Errorf(grouse.Invalid, "algorithm: pi_old: rollout together with engine_correction.mode: %s would correct the engine mismatch twice", a.EngineCorrection.Mode).
			WithFix("set pi_old: recomputed, or engine_correction: {mode: none}")
	}
	return o, nil
}

// Validate checks an algorithm against the domains it will train on: what New
// checks, a KL estimator that no domain's strength uses, and a strength without
// an estimator.
func Validate(a *grouse.Algorithm, domains []grouse.Domain) error {
	if _, err := New(a); err != nil {
		return err
	}
	var with []string
	for i := range domains {
		d := &domains[i]
		beta := d.BetaOr(a.Beta)
		if !(beta >= 0) || !finite(beta) {
			return grouse.Errorf(grouse.Invalid, "domains.%s: beta is %v", d.Name, beta).WithFix("set beta to a number of at least 0")
		}
		if beta != 0 {
			with = append(with, d.Name)
		}
	}
	switch none := a.KLEstimator == grouse.KLNone; {
	case none && len(with) > 0:
		return grouse.Errorf(grouse.Invalid, "algorithm: kl_estimator is none, but beta is not 0 for domain %s", strings.Join(with, ", ")).
			WithFix("set kl_estimator: k3_is, or beta: 0")
	case !none && len(with) == 0:
		return grouse.Errorf(grouse.Invalid, "algorithm: kl_estimator is %s, but every domain's beta is 0: nothing would use it", a.KLEstimator).
			WithFix("set kl_estimator: none, or a beta above 0")
	case a.RefModelSyncSteps != 0 && !a.UsesReference(domains):
		return grouse.Errorf(grouse.Invalid, "algorithm: ref_model_sync_steps is %d, but no beta and no kl_in_reward uses a reference model", a.RefModelSyncSteps).
			WithFix("remove ref_model_sync_steps, or set beta")
	}
	return nil
}

// Algorithm returns a copy of what the objective was made from.
func (o *Objective) Algorithm() grouse.Algorithm { return o.alg }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func oneOf(key, got string, names ...string) error {
	for _, n := range names {
		if got == n {
			return nil
		}
	}
	return grouse.Errorf(grouse.Invalid, "algorithm: unknown %s %q", key, got).WithFix("set %s to %s", key, orList(names))
}

func orList(names []string) string {
	return fmt.Sprintf("%s or %s", strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}
