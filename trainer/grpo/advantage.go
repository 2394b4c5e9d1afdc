package grpo

import (
	"math"

	"github.com/grouse-rl/grouse"
)

// Advantages writes the advantages of one group's rewards, both [G], to dst:
//
//	mean:      A_i = R_i - mu
//	mean_std:  A_i = (R_i - mu) / (sigma + eps),  sigma with ddof
//
// (spec 1.2: GRPO, DeepSeekMath arXiv:2402.03300 sec. 4.1; without the standard
// deviation Dr. GRPO, arXiv:2503.20783, and the DeepSeek-V3.2 report.) A flat
// group (grouse.Flat) and a group of one have advantages of exactly 0: rounding
// noise divided by eps would be a gradient. It panics if the lengths differ.
func (o *Objective) Advantages(dst, rewards []float64) {
	if len(dst) != len(rewards) {
		panic("grpo: Advantages: lengths differ")
	}
	if len(rewards) < 2 || grouse.Flat(rewards) {
		clear(dst)
		return
	}
	n := float64(len(rewards))
	mean := 0.0
	for _, r := range rewards {
		mean += r
	}
	mean /= n
	div := 1.0
	if o.alg.Advantage == grouse.AdvantageMeanStd {
		sum := 0.0
		for _, r := range rewards {
			d := r - mean
			sum += float64(d * d)
		}
		div = math.Sqrt(sum/(n-float64(o.alg.AdvantageDDoF))) + o.alg.AdvantageEps
	}
	for i, r := range rewards {
		dst[i] = (r - mean) / div
	}
}

// PenalizedReward returns a reward less the KL of its sequence, the way of
// RLHF before the KL became a loss (spec 2.2):
//
//	R - c sum_t m_t (old_t - ref_t),   c = kl_in_reward
//
// to be used before the group's statistics are taken. Nothing flows back through
// it. mask nil counts every token. It panics if the lengths differ.
func PenalizedReward[F Float](reward, c float64, old, ref []F, mask []uint8) float64 {
	if c == 0 {
		return reward
	}
	if len(old) != len(ref) || (mask != nil && len(mask) != len(old)) {
		panic("grpo: PenalizedReward: lengths differ")
	}
	sum := 0.0
	for t := range old {
		if mask == nil || mask[t] != 0 {
			sum += float64(old[t]) - float64(ref[t])
		}
	}
	return reward - float64(c*sum)
}
