package grpo

// Divergence returns D_i, how far the policy has moved from the one that sampled
// the sequence, in nats per token, not clamped (DeepSeek-V3.2, arXiv:2512.02556,
// eq. 8-9):
//
//	D = (1/max(n,1)) sum_t m_t (roll_t - lp_t)
//
// It is the k1 estimate of KL(pi_old||pi_theta) on the sequence and holds both the
// engine's mismatch and the staleness. 0 for an empty or fully masked sequence.
func Divergence[F Float](rolloutLogprobs, logprobs []F, mask []uint8) float64 {
	return meanLogRatio(rolloutLogprobs, logprobs, mask)
}

// OffPolicyKeep returns M_i: false if the sequence has a negative advantage and
// its divergence exceeds delta, both strictly. Sequences that did well are kept
// however stale they are.
func OffPolicyKeep(advantage, divergence, delta float64) bool {
	return !(advantage < 0 && divergence > delta)
}
