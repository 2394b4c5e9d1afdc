package proof

import "math"

// Alpha and Beta weigh proof and self-evaluation in GeneratorReward (eq. 5).
const (
	Alpha = 0.76
	Beta  = 0.24
)

// ScoreReward returns R_score = 1 - |predicted - truth|, from 0 to 1 (eq. 1).
func ScoreReward(predicted, truth float64) float64 { return 1 - math.Abs(predicted-truth) }

// VerifierReward returns R_format R_score, from 0 to 1 (eq. 2): a verifier's reward in
// the first round, and the meta-verifier's on its own rating.
func VerifierReward(format bool, predicted, truth float64) float64 {
	if !format {
		return 0
	}
	return ScoreReward(predicted, truth)
}

// VerifierMetaReward returns R_format R_score R_meta, from 0 to 1 (eq. 3): meta is the
// meta-verifier's rating of the evaluation.
func VerifierMetaReward(format bool, predicted, truth, meta float64) float64 {
	return VerifierReward(format, predicted, truth) * meta
}

// GeneratorReward returns R_format (alpha R_Y + beta R_Z), from 0 to 1 (eq. 5-6): R_Y =
// score is the verifier's score of the proof, R_Z = R_score(predicted, score) R_meta
// rewards an honest self-evaluation. predicted is the generator's own score.
func GeneratorReward(format bool, alpha, beta, score, predicted, meta float64) float64 {
	if !format {
		return 0
	}
	return float64(alpha*score) + float64(beta*(ScoreReward(predicted, score)*meta)) // rounded one by one: never fused
}
