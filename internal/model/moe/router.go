package moe

import (
	"math"
	"sort"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
)

// Names of Router.ScoreFunc.
const (
	Sigmoid = "sigmoid" // DeepSeek-V3
	Softmax = "softmax" // Qwen3-MoE
)

// Router is a layer's routing rule.
type Router struct {
	ScoreFunc string    // sigmoid | softmax
	Bias      []float64 // [E] e_score_correction_bias, added to sigmoid scores for the choice only; softmax routers ignore it
	TopK      int       // K
	NumGroups int       // n_group; 0 or 1: no groups
	TopGroups int       // topk_group, groups that may be chosen from
	Scale     float64   // routed_scaling_factor
	Normalize bool      // norm_topk_prob: divide the chosen scores by their sum
}

// normEps keeps a sum of scores away from 0, as DeepSeek's code does.
const normEps = 1e-20

// Validate checks the rule for E experts.
func (r *Router) Validate(E int) error {
	switch {
	case r.ScoreFunc != Sigmoid && r.ScoreFunc != Softmax:
		return grouse.Errorf(grouse.Invalid, "router: unknown score function %q", r.ScoreFunc).WithFix("use sigmoid or softmax")
	case r.TopK < 1 || r.TopK > E:
		return grouse.Errorf(grouse.Invalid, "router: %d of %d experts", r.TopK, E)
	case r.ScoreFunc == Sigmoid && r.Bias != nil && len(r.Bias) != E:
		return grouse.Errorf(grouse.Invalid, "router: %d biases for %d experts", len(r.Bias), E)
	case r.NumGroups > 1 && (E%r.NumGroups != 0 || r.TopGroups < 1 || r.TopGroups > r.NumGroups || r.TopGroups*(E/r.NumGroups) < r.TopK):
		return grouse.Errorf(grouse.Invalid, "router: %d experts in %d groups, %d experts from %d groups", E, r.NumGroups, r.TopK, r.TopGroups)
	}
	return nil
}

// Scores returns s [E]: sigmoid(z), or softmax(z) over all experts.
func (r *Router) Scores(logits []float64) []float64 {
	s := make([]float64, len(logits))
	if r.ScoreFunc == Sigmoid {
		for e, z := range logits {
			s[e] = 1 / (1 + rng.Exp(-z))
		}
		return s
	}
	top := math.Inf(-1)
	for _, z := range logits {
		top = max(top, z)
	}
	sum := 0.0
	for e, z := range logits {
		s[e] = rng.Exp(z - top)
		sum += s[e]
	}
	for e := range s {
		s[e] /= sum
	}
	return s
}

// Choose returns the experts that the router takes by itself, best first. With
// groups, a group's score is the sum of the two largest s + bias in it (the
// largest if there is no bias), and only the best TopGroups groups may be chosen
// from: the others count as -Inf (spec 10.4).
func (r *Router) Choose(logits []float64) []int {
	c := r.Scores(logits)
	biased := r.ScoreFunc == Sigmoid && r.Bias != nil
	if biased {
		for e := range c {
			c[e] += r.Bias[e]
		}
	}
	if r.NumGroups > 1 {
		per := len(c) / r.NumGroups
		group := make([]float64, r.NumGroups)
		for g := range group {
			in := append([]float64(nil), c[g*per:(g+1)*per]...)
			sort.Sort(sort.Reverse(sort.Float64Slice(in)))
			group[g] = in[0]
			if biased && per > 1 {
				group[g] += in[1]
			}
		}
		allowed := make([]bool, r.NumGroups)
		for _, g := range topK(group, r.TopGroups) {
			allowed[g] = true
		}
		for e := range c {
			if !allowed[e/per] {
				c[e] = math.Inf(-1)
			}
		}
	}
	return topK(c, r.TopK)
}

// topK returns the indices of the k largest values, best first, ties to the lower
// index.
func topK(v []float64, k int) []int {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return v[order[a]] > v[order[b]] })
	return order[:k]
}

// Weights returns the gate weights of experts, in their order:
//
//	g_e = s_e / (sum over experts of s + 1e-20) * Scale    with Normalize
//	g_e = s_e * Scale                                       without
//
// For the experts that Choose returns it is free routing; for recorded ones it is
// forced routing, in which bias and groups take no part.
func (r *Router) Weights(logits []float64, experts []int) []float64 {
	s := r.Scores(logits)
	g := make([]float64, len(experts))
	div := 1.0
	if r.Normalize {
		div = r.sum(s, experts)
	}
	for j, e := range experts {
		g[j] = s[e] / div * r.Scale
	}
	return g
}

func (r *Router) sum(s []float64, experts []int) float64 {
	sum := 0.0
	for _, e := range experts {
		sum += s[e]
	}
	return sum + normEps
}

// WeightsGrad returns d(sum_j coef_j g_j)/d logits, [E]: the backward of Weights.
// Nothing flows through the choice. With sigmoid scores, or softmax and Normalize,
// only the chosen experts' logits move; without Normalize softmax reaches all.
func (r *Router) WeightsGrad(logits []float64, experts []int, coef []float64) []float64 {
	s := r.Scores(logits)
	ds := make([]float64, len(s))
	if r.Normalize {
		sum := r.sum(s, experts)
		dot := 0.0
		for j, e := range experts {
			dot += coef[j] * s[e]
		}
		for j, e := range experts {
			ds[e] += r.Scale * (coef[j]/sum - dot/(sum*sum))
		}
	} else {
		for j, e := range experts {
			ds[e] += coef[j] * r.Scale
		}
	}
	dz := make([]float64, len(s))
	if r.ScoreFunc == Sigmoid {
		for e := range dz {
			dz[e] = ds[e] * s[e] * (1 - s[e])
		}
		return dz
	}
	dot := 0.0 // sum_e ds_e s_e, which is 0 with Normalize: the sum of the weights is fixed
	if !r.Normalize {
		for e := range s {
			dot += ds[e] * s[e]
		}
	}
	for e := range dz {
		dz[e] = s[e] * (ds[e] - dot)
	}
	return dz
}
