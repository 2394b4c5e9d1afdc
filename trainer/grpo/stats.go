package grpo

// SequenceStats is what one sequence contributes to an update's metrics: sums and
// counts over its counted tokens. The fields with a Has are valid if it is true.
type SequenceStats struct {
	Domain    string
	Advantage float64
	Tokens    int // n_i

	Loss, PolicyLoss, KLLoss float64 // contributions to the update's loss: Loss = PolicyLoss + KLLoss

	HasKL bool
	KLSum float64 // sum of the estimator's values before beta, nats

	RatioSum, RatioMax                   float64 // of the ratio that is clipped, over tokens
	ClippedLow, ClippedHigh, ClippedDual int     // tokens

	HasDivergence bool
	Divergence    float64 // D_i, nats per token
	Dropped       bool    // by the off-policy sequence mask

	HasMismatch              bool
	MismatchSum, MismatchMax float64 // of |old - roll| over tokens, nats

	// The engine correction's ratios: one per counted token at token level, one
	// per sequence otherwise; nil without a correction. Invariant: len(Rho) ==
	// len(EngineWeights).
	Rho, EngineWeights []float32
	Cut                int // of Rho: truncated, masked or rejected
	Vetoed             bool
}

// count notes a counted token's clipped ratio.
func (st *SequenceStats) count(c Clip, r, advantage float64) {
	st.RatioSum += r
	st.RatioMax = max(st.RatioMax, r)
	if c.clippedLow(r, advantage) {
		st.ClippedLow++
	}
	if c.clippedHigh(r, advantage) {
		st.ClippedHigh++
	}
	if c.clippedDual(r, advantage) {
		st.ClippedDual++
	}
}

// countEngine notes the engine correction's ratios and weights [T].
func (st *SequenceStats) countEngine(c Correction, weights, rho []float64, mask []uint8) {
	if c.Mode == CorrectionNone {
		return
	}
	for t := range weights {
		if mask != nil && mask[t] == 0 {
			continue
		}
		st.Rho = append(st.Rho, float32(rho[t]))
		st.EngineWeights = append(st.EngineWeights, float32(weights[t]))
		if rho[t] < c.Floor || rho[t] > c.Cap {
			st.Cut++
		}
		if c.perSequence() {
			return
		}
	}
}
