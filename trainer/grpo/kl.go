package grpo

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
)

// Estimator is an estimator of the KL divergence of the policy from the
// reference policy on one sampled token. With d = lp - ref and u = ref - lp:
//
//	k1  d               d/dlp = 1
//	k2  d^2 / 2         d/dlp = d
//	k3  e^u - u - 1     d/dlp = 1 - e^u, u clamped to +-20, no gradient outside
//
// (Schulman, "Approximating KL divergence".) As a loss on policy, k1 has
// expected gradient 0, k2 that of KL(theta||ref), k3 that of KL(ref||theta).
//
// Reweighted estimators (k1_is, k2_is, k3_is) are multiplied by r = pi_theta /
// pi_old, token by token, unclipped by epsilon, and the gradient flows through r:
//
//	kl = r k,   d kl/dlp = r (k + dk/dlp)
//
// UnbiasedKL, k3_is, is DeepSeek-V3.2's (arXiv:2512.02556, eq. 7): its value is
// unbiased for KL(theta||ref) under pi_old, and d kl/dlp = -r u makes its gradient
// unbiased too.
type Estimator struct {
	kind     int // 0: none, else the k of k1, k2, k3
	weighted bool
}

// UnbiasedKL is the estimator k3_is.
var UnbiasedKL = Estimator{kind: 3, weighted: true}

// Estimators lists the names that ParseEstimator knows.
var Estimators = []string{grouse.KLNone, "k1", "k2", "k3", "k1_is", "k2_is", "k3_is"}

// ParseEstimator returns the estimator of a name.
func ParseEstimator(name string) (Estimator, error) {
	if err := oneOf("kl_estimator", name, Estimators...); err != nil {
		return Estimator{}, err
	}
	if name == grouse.KLNone {
		return Estimator{}, nil
	}
	return Estimator{kind: int(name[1] - '0'), weighted: len(name) > 2}, nil
}

// None reports whether there is no KL term.
func (e Estimator) None() bool { return e.kind == 0 }

// At returns the estimate for a token, in nats, and its derivative with respect
// to logprob. oldLogprob is read by reweighted estimators only. The value of k3
// and k3_is is non-negative up to rounding; the others have either sign.
func (e Estimator) At(logprob, oldLogprob, refLogprob float64) (value, grad float64) {
	d := logprob - refLogprob
	switch e.kind {
	case 0:
		return 0, 0
	case 1:
		value, grad = d, 1
	case 2:
		value, grad = 0.5*d*d, d
	case 3:
		u, flows := clamp(-d)
		em1 := rng.Expm1(u)
		value = em1 - u
		if flows {
			grad = -em1
		}
	}
	if !e.weighted {
		return value, grad
	}
	r, flows := Ratio(logprob - oldLogprob)
	switch _, inside := clamp(d); {
	case flows && e.kind == 3 && inside:
		grad = d // value + grad, without the cancellation of e^u
	case flows:
		grad += value
	}
	return r * value, r * grad
}
