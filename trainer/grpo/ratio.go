package grpo

import "github.com/grouse-rl/grouse/internal/rng"

// LogRatioClamp bounds every log-ratio that is exponentiated, in nats (spec 1.3;
// VERL's safety bound). Outside it the ratio is constant and its gradient 0.
const LogRatioClamp = 20

// Ratio returns the importance ratio exp(clamp(x, -20, 20)) of a log-ratio x in
// nats, and whether a gradient flows: |x| <= 20.
func Ratio(x float64) (r float64, flows bool) {
	c, flows := clamp(x)
	return rng.Exp(c), flows
}

// clamp bounds x to +-LogRatioClamp and reports whether it was inside.
func clamp(x float64) (float64, bool) {
	switch {
	case x > LogRatioClamp:
		return LogRatioClamp, false
	case x < -LogRatioClamp:
		return -LogRatioClamp, false
	}
	return x, true
}

// meanLogRatio returns (1/max(n,1)) sum_t m_t (a_t - b_t), nats per token.
func meanLogRatio[F Float](a, b []F, mask []uint8) float64 {
	sum, n := sumLogRatio(a, b, mask)
	return sum / float64(max(n, 1))
}

// sumLogRatio returns sum_t m_t (a_t - b_t) and n = sum_t m_t.
func sumLogRatio[F Float](a, b []F, mask []uint8) (sum float64, n int) {
	for t := range a {
		if mask == nil || mask[t] != 0 {
			sum += float64(a[t]) - float64(b[t])
			n++
		}
	}
	return sum, n
}

// SequenceRatio returns GSPO's ratio of a whole sequence and whether a gradient
// flows (spec 1.6; GSPO, arXiv:2507.18071):
//
//	s = exp( clamp( (1/n) sum_t m_t (lp_t - pi_old_t) ) )
//
// An empty or fully masked sequence has s = 1.
func SequenceRatio[F Float](logprobs, oldLogprobs []F, mask []uint8) (s float64, flows bool) {
	return Ratio(meanLogRatio(logprobs, oldLogprobs, mask))
}
