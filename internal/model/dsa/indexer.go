package dsa

import (
	"math"
	"slices"
	"sort"

	"github.com/grouse-rl/grouse/internal/rng"
)

// IndexScores returns I [L][L], 0 where s > t:
//
//	I_ts = sum_j w_tj H^-1/2 D^-1/2 relu(q_tj . k_s)
//
// q is [L][H][D], k [L][D], w [L][H] the raw output of weights_proj.
func IndexScores(q [][][]float64, k, w [][]float64) [][]float64 {
	L := len(q)
	scores := make([][]float64, L)
	for t := range scores {
		scores[t] = make([]float64, L)
		H := float64(len(q[t]))
		for s := range t + 1 {
			for j, head := range q[t] {
				dot := 0.0
				for d := range head {
					dot += head[d] * k[s][d]
				}
				if dot > 0 {
					scores[t][s] += w[t][j] / math.Sqrt(H*float64(len(head))) * dot
				}
			}
		}
	}
	return scores
}

// Select returns S_t for each query: the positions of the min(topK, t+1) largest
// scores, ascending.
func Select(scores [][]float64, topK int) [][]int {
	selected := make([][]int, len(scores))
	for t := range scores {
		order := make([]int, t+1)
		for s := range order {
			order[s] = s
		}
		sort.SliceStable(order, func(a, b int) bool { return scores[t][order[a]] > scores[t][order[b]] })
		order = order[:min(topK, t+1)]
		slices.Sort(order)
		selected[t] = order
	}
	return selected
}

// Causal returns the selection of dense attention: every s <= t.
func Causal(L int) [][]int {
	all := make([][]int, L)
	for t := range all {
		for s := range t + 1 {
			all[t] = append(all[t], s)
		}
	}
	return all
}

// Loss returns L_I, summed over queries, and its gradient with respect to the
// scores [L][L]:
//
//	p_t = mean over heads of softmax(attention logits on S_t)      a constant
//	L_I = sum_t KL( p_t || softmax(I_t on S_t) ),   dL/dI_ts = softmax(I_t)_s - p_ts
//
// attention is [heads][L][L], the main attention's logits, already scaled.
// selected is Causal for the warm-up (eq. 3), Select's for the sparse stage (eq. 4).
func Loss(scores [][]float64, attention [][][]float64, selected [][]int) (loss float64, grad [][]float64) {
	grad = make([][]float64, len(scores))
	for t, S := range selected {
		grad[t] = make([]float64, len(scores))
		p := make([]float64, len(S))
		for _, head := range attention {
			for i, lp := range logSoftmax(head[t], S) {
				p[i] += rng.Exp(lp) / float64(len(attention))
			}
		}
		for i, lq := range logSoftmax(scores[t], S) {
			if p[i] > 0 { // 0 log 0 = 0
				loss += p[i] * (rng.Log(p[i]) - lq)
			}
			grad[t][S[i]] = rng.Exp(lq) - p[i]
		}
	}
	return loss, grad
}

// logSoftmax returns log softmax of row restricted to the positions S, in order.
func logSoftmax(row []float64, S []int) []float64 {
	top := math.Inf(-1)
	for _, s := range S {
		top = max(top, row[s])
	}
	sum := 0.0
	for _, s := range S {
		sum += rng.Exp(row[s] - top)
	}
	out := make([]float64, len(S))
	for i, s := range S {
		out[i] = row[s] - top - rng.Log(sum)
	}
	return out
}
