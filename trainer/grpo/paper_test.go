package grpo_test

import (
	"math"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

// A categorical policy is small enough to take every expectation exactly.
type categorical struct{ theta, old, ref []float64 } // logprobs

func logSoftmax(z []float64) []float64 {
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(v)
	}
	out := make([]float64, len(z))
	for i, v := range z {
		out[i] = v - math.Log(sum)
	}
	return out
}

func someCategorical() categorical {
	return categorical{logSoftmax([]float64{0.3, -1, 0.7, 0.1}), logSoftmax([]float64{0, 0.4, -0.2, 0.5}), logSoftmax([]float64{-0.6, 0.2, 0.9, -0.1})}
}

// expected returns the expectation under sampler of a value and of its gradient
// with respect to the logits of theta: sum_v q_v dlp_v (1[v=j] - p_j).
func (c categorical) expected(sampler []float64, f func(v int) (value, dlp float64)) (mean float64, grad []float64) {
	grad = make([]float64, len(c.theta))
	for v := range c.theta {
		q := math.Exp(sampler[v])
		value, dlp := f(v)
		mean += q * value
		for j := range grad {
			d := -math.Exp(c.theta[j])
			if j == v {
				d++
			}
			grad[j] += q * dlp * d
		}
	}
	return mean, grad
}

func (c categorical) estimator(t *testing.T, name string, sampler []float64) (float64, []float64) {
	e, err := grpo.ParseEstimator(name)
	if err != nil {
		t.Fatal(err)
	}
	return c.expected(sampler, func(v int) (float64, float64) { return e.At(c.theta[v], c.old[v], c.ref[v]) })
}

// kl returns KL(theta||ref) and its gradient with respect to theta's logits.
func (c categorical) kl() (value float64, grad []float64) {
	return c.expected(c.theta, func(v int) (float64, float64) { d := c.theta[v] - c.ref[v]; return d, d })
}

// forward returns the gradient of KL(ref||theta).
func (c categorical) forward() []float64 {
	g := make([]float64, len(c.theta))
	for j := range g {
		g[j] = math.Exp(c.theta[j]) - math.Exp(c.ref[j])
	}
	return g
}

func same(t *testing.T, what string, got, want []float64) {
	t.Helper()
	for i := range want {
		if !closeTo(got[i], want[i], 1e-12, 1e-14) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

// DeepSeek-V3.2, eq. 7: sampled from pi_old, k3_is is unbiased in value and in
// gradient for KL(theta||ref).
func TestPaperUnbiasedKLIsUnbiasedUnderPiOld(t *testing.T) {
	c := someCategorical()
	want, wantGrad := c.kl()
	got, grad := c.estimator(t, "k3_is", c.old)
	if !closeTo(got, want, 1e-12, 0) {
		t.Errorf("value %v, KL %v", got, want)
	}
	same(t, "gradient", grad, wantGrad)
	_, k1 := c.estimator(t, "k1_is", c.old)
	same(t, "k1_is has the same expected gradient", k1, wantGrad)
}

// DeepSeek-V3.2, sec. 3.1: the gradient of k3_is is r log(pi_theta/pi_ref), which
// goes to 0 with pi_theta, where that of k3 has e^u without bound.
func TestPaperUnbiasedKLGradientIsBounded(t *testing.T) {
	for _, lp := range []float64{-0.5, -3, -8, -15} {
		const old, ref = -1.0, -0.2
		_, unbiased := grpo.UnbiasedKL.At(lp, old, ref)
		if want := math.Exp(lp-old) * (lp - ref); !closeTo(unbiased, want, 1e-12, 0) {
			t.Errorf("lp %v: gradient %v, want r log(theta/ref) = %v", lp, unbiased, want)
		}
		k3, _ := grpo.ParseEstimator("k3")
		if _, g := k3.At(lp, old, ref); lp < -5 && math.Abs(g) < 100*math.Abs(unbiased) {
			t.Errorf("lp %v: k3's gradient %v is not far above k3_is's %v", lp, g, unbiased)
		}
	}
}

// Schulman; Tang & Munos (arXiv:2506.09477): what the plain estimators do as losses.
func TestPaperPlainEstimatorsOnPolicy(t *testing.T) {
	c := someCategorical()
	want, wantGrad := c.kl()
	k1, k1Grad := c.estimator(t, "k1", c.theta)
	k3, k3Grad := c.estimator(t, "k3", c.theta)
	if !closeTo(k1, want, 1e-12, 0) || !closeTo(k3, want, 1e-12, 0) {
		t.Errorf("k1 %v and k3 %v are unbiased in value, KL %v", k1, k3, want)
	}
	same(t, "k1 as a loss has zero expected gradient", k1Grad, make([]float64, 4))
	same(t, "k3's expected gradient is that of KL(ref||theta)", k3Grad, c.forward())
	_, k2Grad := c.estimator(t, "k2", c.theta)
	same(t, "k2's expected gradient is that of KL(theta||ref)", k2Grad, wantGrad)
}

// Spec 2.3: with the ratio detached the gradient is that of the other direction,
// so At must let it flow.
func TestPaperDetachedRatioIsTheWrongDirection(t *testing.T) {
	c := someCategorical()
	k3, _ := grpo.ParseEstimator("k3")
	_, detached := c.expected(c.old, func(v int) (float64, float64) {
		value, dlp := k3.At(c.theta[v], 0, c.ref[v])
		r, _ := grpo.Ratio(c.theta[v] - c.old[v])
		return r * value, r * dlp
	})
	same(t, "detached", detached, c.forward())
	_, unbiased := c.estimator(t, "k3_is", c.old)
	if closeTo(unbiased[0], detached[0], 1e-3, 0) {
		t.Errorf("k3_is has the detached gradient %v", unbiased)
	}
}

// DeepSeek-V3.2, eq. 8-9: only negative advantages are masked, strictly above delta.
func TestPaperOffPolicyMaskNeverDropsASuccess(t *testing.T) {
	delta := 0.1
	o := objective(t, func(a *grouse.Algorithm) { a.OffPolicyMaskThreshold, a.KLEstimator = &delta, "k3_is" })
	for _, c := range []struct {
		advantage, gap float64
		dropped        bool
	}{{1, 5, false}, {0, 5, false}, {-1, 5, true}, {-1, 0.05, false}, {-1, -5, false}} {
		s := grpo.Sequence[float64]{Advantage: c.advantage, Beta: 0.1, Logprobs: []float64{-1, -2}, RolloutLogprobs: []float64{-1 + c.gap, -2 + c.gap}, RefLogprobs: []float64{-1.5, -1.5}}
		g := make([]float64, 2)
		st := grpo.Loss(o, grpo.Normalizers{Sequences: 1, Tokens: 2}, &s, g, nil)
		if st.Dropped != c.dropped {
			t.Errorf("A %v, D %v: dropped %v", c.advantage, c.gap, st.Dropped)
		}
		if c.dropped && (st.PolicyLoss != 0 || st.KLLoss == 0 || g[0] == 0) {
			t.Errorf("a masked sequence loses its policy term and keeps its KL: %+v, gradient %v", st, g)
		}
	}
	if !grpo.OffPolicyKeep(-1, 0.25, 0.25) {
		t.Error("equality must keep")
	}
}

// Dr. GRPO (arXiv:2503.20783): with a constant normalizer a token's gradient does
// not depend on its completion's length; with GRPO's it does.
func TestPaperDrGRPOHasNoLengthBias(t *testing.T) {
	first := func(agg string, T int) float64 {
		o := objective(t, func(a *grouse.Algorithm) { a.LossAggregation, a.LossNormTokens = agg, 100 })
		lp := make([]float64, T)
		s := grpo.Sequence[float64]{Advantage: -1, Logprobs: lp, RolloutLogprobs: lp}
		g := make([]float64, T)
		grpo.Loss(o, grpo.Normalizers{Sequences: 2, Tokens: 300}, &s, g, nil)
		return g[0]
	}
	if a, b := first(grouse.SeqMeanTokenSumNorm, 10), first(grouse.SeqMeanTokenSumNorm, 200); a != b || a != 1.0/200 {
		t.Errorf("Dr. GRPO: gradient %v in 10 tokens, %v in 200, want 1/(2*100)", a, b)
	}
	if a, b := first(grouse.SeqMeanTokenMean, 10), first(grouse.SeqMeanTokenMean, 200); !closeTo(a, 20*b, 1e-12, 0) {
		t.Errorf("GRPO: gradient %v in 10 tokens, %v in 200, want 20 times as much", a, b)
	}
}

// DAPO (arXiv:2503.14476, sec. 3.3): every token of the update weighs the same.
func TestPaperDAPOWeighsTokensAlike(t *testing.T) {
	o := objective(t, func(a *grouse.Algorithm) { a.LossAggregation = grouse.TokenMean })
	norm := grpo.Normalizers{Sequences: 2, Tokens: 50}
	if a, b := o.Weight(norm, 1), o.Weight(norm, 49); a != b || a != 1.0/50 {
		t.Errorf("weights %v and %v, want 1/50", a, b)
	}
}

// DAPO, sec. 3.1: the higher upper bound lets an unlikely token grow further.
func TestPaperClipHigherKeepsExploring(t *testing.T) {
	if _, live := (grpo.Clip{Low: 0.2, High: 0.2}).Surrogate(1.25, 1); live {
		t.Error("r 1.25 is live within 0.2")
	}
	if _, live := (grpo.Clip{Low: 0.2, High: 0.28}).Surrogate(1.25, 1); !live {
		t.Error("r 1.25 is clipped within 0.28")
	}
}

// PPO: the clip never removes a gradient that would undo an overshoot.
func TestPaperClipIsPessimistic(t *testing.T) {
	c := grpo.Clip{Low: 0.2, High: 0.2}
	for _, k := range []struct {
		r, a float64
		obj  float64
		live bool
	}{
		{1, 2, 2, true}, {1.5, 2, 2.4, false}, {0.5, 2, 1, true}, {1.5, -2, -3, true}, {0.5, -2, -1.6, false},
		{1 + c.High, 1, 1 + c.High, true}, {1 - c.Low, -1, -(1 - c.Low), true}, {3, 0, 0, false},
	} {
		if obj, live := c.Surrogate(k.r, k.a); !closeTo(obj, k.obj, 1e-15, 0) || live != k.live {
			t.Errorf("r %v, A %v: objective %v live %v, want %v %v", k.r, k.a, obj, live, k.obj, k.live)
		}
	}
}

// Dual clip (arXiv:1912.09729): the objective of a bad token is bounded below by c A.
func TestPaperDualClipBoundsBadTokens(t *testing.T) {
	c := grpo.Clip{Low: 0.2, High: 0.2, C: 3}
	for _, k := range []struct {
		r, a, obj float64
		live      bool
	}{{10, -1, -3, false}, {3, -1, -3, true}, {2, -1, -2, true}, {10, 1, 1.2, false}} {
		if obj, live := c.Surrogate(k.r, k.a); obj != k.obj || live != k.live {
			t.Errorf("r %v, A %v: objective %v live %v, want %v %v", k.r, k.a, obj, live, k.obj, k.live)
		}
	}
}

// GSPO (arXiv:2507.18071): the ratio is the geometric mean, one for the sequence,
// and a live sequence's gradient is -(1/N) A s / n on each of its tokens.
func TestPaperGSPOHasOneRatioPerSequence(t *testing.T) {
	o := objective(t, func(a *grouse.Algorithm) { a.ImportanceSamplingLevel = grouse.LevelSequence })
	s := grpo.Sequence[float64]{Advantage: 0.7, Logprobs: []float64{-1, -2, -1.5}, RolloutLogprobs: []float64{-1.1, -1.8, -1.6}, Mask: []uint8{1, 1, 1}}
	want := math.Exp((0.1 - 0.2 + 0.1) / 3)
	g := make([]float64, 3)
	var d grpo.Detail
	st := grpo.Loss(o, grpo.Normalizers{Sequences: 4, Tokens: 3}, &s, g, &d)
	for tok := range g {
		if !closeTo(d.Ratio[tok], want, 1e-14, 0) || !closeTo(g[tok], -0.7*want/(4*3), 1e-14, 0) {
			t.Errorf("token %d: ratio %v, gradient %v; want %v, %v", tok, d.Ratio[tok], g[tok], want, -0.7*want/12)
		}
	}
	if !closeTo(st.Loss, -0.7*want/4, 1e-14, 0) {
		t.Errorf("loss %v, want min(..)/N = %v", st.Loss, -0.7*want/4)
	}
}

// GRPO (arXiv:2402.03300): advantages do not change when all rewards are shifted,
// nor, with the standard deviation, when they are scaled.
func TestPaperGroupAdvantagesAreRelative(t *testing.T) {
	rewards, moved := []float64{0, 1, 0.25, 3}, []float64{}
	for _, r := range rewards {
		moved = append(moved, 10*r-7)
	}
	std := objective(t, func(a *grouse.Algorithm) { a.AdvantageEps = 0 })
	a, b := make([]float64, 4), make([]float64, 4)
	std.Advantages(a, rewards)
	std.Advantages(b, moved)
	same(t, "mean_std of shifted and scaled rewards", b, a)
	sum := 0.0
	for _, v := range a {
		sum += v
	}
	if math.Abs(sum) > 1e-14 {
		t.Errorf("advantages sum to %v", sum)
	}
	mean := objective(t, func(a *grouse.Algorithm) { a.Advantage = grouse.AdvantageMean })
	mean.Advantages(a, rewards)
	mean.Advantages(b, moved)
	for i := range a {
		a[i] *= 10
	}
	same(t, "mean of shifted and scaled rewards", b, a)
	for _, flat := range [][]float64{{0.1, 0.1, 0.1}, {5}, {1, 1 + 1e-10}, {}} {
		got := make([]float64, len(flat))
		std.Advantages(got, flat)
		for _, v := range got {
			if v != 0 {
				t.Errorf("rewards %v: advantages %v, want exactly 0", flat, got)
			}
		}
	}
}

// TIS (Yao et al.): truncation bounds the weight and leaves the rest unchanged;
// MIS and IcePop drop what is outside; a sequence-level ratio shrinks with length,
// a geometric one does not.
func TestPaperEngineCorrection(t *testing.T) {
	old, roll := []float64{-1, -2, -3}, []float64{-2, -2, -2.5} // log rho 1, 0, -0.5
	for _, c := range []struct {
		correction grpo.Correction
		want       []float64
	}{
		{grpo.Correction{Mode: "token_truncate", Cap: 2}, []float64{2, 1, math.Exp(-0.5)}},
		{grpo.Correction{Mode: "token_mask", Cap: 2, Floor: 0.7}, []float64{0, 1, 0}},
		{grpo.Correction{Mode: "token_reject", Cap: 3, Floor: 0.7}, []float64{1, 1, 0}},
		{grpo.Correction{Mode: "sequence_truncate", Cap: 1.2}, []float64{1.2, 1.2, 1.2}},
		{grpo.Correction{Mode: "sequence_mask", Cap: 2}, []float64{math.Exp(0.5), math.Exp(0.5), math.Exp(0.5)}},
		{grpo.Correction{Mode: "geometric_reject", Cap: 1.1, Floor: 0.9}, []float64{0, 0, 0}},
		{grpo.Correction{Mode: "geometric_mask", Cap: 1.2, Floor: 0.9}, []float64{math.Exp(0.5 / 3), math.Exp(0.5 / 3), math.Exp(0.5 / 3)}},
		{grpo.Correction{Mode: "token_truncate", Cap: 2, Veto: 0.7}, []float64{0, 0, 0}},
		{grpo.Correction{Mode: "token_truncate", Cap: 2, Veto: 0.6}, []float64{2, 1, math.Exp(-0.5)}},
		{grpo.Correction{Mode: "none"}, []float64{1, 1, 1}},
	} {
		w, rho := make([]float64, 3), make([]float64, 3)
		grpo.Weights(c.correction, w, rho, old, roll, nil)
		same(t, string(c.correction.Mode), w, c.want)
	}
}

// RLHF's KL in the reward: the sequence's summed log-ratio is taken off.
func TestPaperKLInReward(t *testing.T) {
	got := grpo.PenalizedReward(1, 0.1, []float64{-1, -2, -9}, []float64{-1.5, -1, 0}, []uint8{1, 1, 0})
	if want := 1 - 0.1*(0.5-1); !closeTo(got, want, 1e-15, 0) {
		t.Errorf("penalized reward %v, want %v", got, want)
	}
}
