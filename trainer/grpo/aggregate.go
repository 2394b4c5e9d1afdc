package grpo

import "github.com/grouse-rl/grouse"

// Normalizers are the denominators of one optimizer update: counted over all its
// sequences, whatever the micro-batches and ranks, before the first loss is taken.
type Normalizers struct {
	Sequences int // N; empty and fully masked sequences count
	Tokens    int // sum_i n_i
}

// Add counts a sequence of n tokens whose mask is 1.
func (n *Normalizers) Add(tokens int) {
	n.Sequences++
	n.Tokens += tokens
}

// Merge counts the sequences of another part of the same update.
func (n *Normalizers) Merge(m Normalizers) {
	n.Sequences += m.Sequences
	n.Tokens += m.Tokens
}

// Weight returns weight_it of the counted tokens of a sequence that has n of
// them (spec 1.5):
//
//	seq_mean_token_mean      1 / (N max(n,1))         GRPO, DeepSeek
//	token_mean               1 / max(sum_j n_j, 1)    DAPO, Olmo 3
//	seq_mean_token_sum       1 / N
//	seq_mean_token_sum_norm  1 / (N L)                Dr. GRPO; L is loss_norm_tokens
func (o *Objective) Weight(norm Normalizers, n int) float64 {
	N := float64(norm.Sequences)
	switch o.alg.LossAggregation {
	case grouse.SeqMeanTokenMean:
		return 1 / (N * float64(max(n, 1)))
	case grouse.TokenMean:
		return 1 / float64(max(norm.Tokens, 1))
	case grouse.SeqMeanTokenSum:
		return 1 / N
	case grouse.SeqMeanTokenSumNorm:
		return 1 / (N * o.alg.LossNormTokens)
	}
	panic("grpo: unknown loss_aggregation " + o.alg.LossAggregation) // New refuses it
}
