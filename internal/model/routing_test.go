package model_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

var sparseFamilies = []string{"qwen3moe", "qwen3moe-nonorm", "deepseek", "deepseek-plain"}

// pass runs a forward and a backward pass and returns the logprobs and gradients.
func pass(t *testing.T, family string, mode tensor.Mode, r *model.Routing) (lps []float32, grads map[string][]float32) {
	t.Helper()
	gold, dev := openGolden(t, family), cpu.New(2)
	m := open(t, dev, family)
	m.Trainable()
	ids := gold.ids("ids")
	seqs, pos := batch(ids)
	g := tensor.NewGraph(dev, mode)
	h := m.Forward(g, model.Input{IDs: ids, Pos: pos, Routing: r, Attend: m.InBatch(g, seqs)})
	targets, coef := make([]int32, len(ids)), make([]float32, len(ids))
	for i := range ids {
		targets[i], coef[i] = ids[(i+1)%len(ids)], float32(i%7)-3
	}
	lp := g.Logprob(h, m.Head(), &tensor.Targets{IDs: targets, Temperature: 1})
	lp.Backward(coef)
	m.FoldGrads()
	grads = map[string][]float32{}
	for _, p := range m.Params() {
		if p.Grad != nil {
			grads[p.Name] = p.ReadBuffer(dev, p.Grad)
		}
	}
	return lp.Values, grads
}

func table(t *testing.T, family string) (m *model.Model, experts []int16) {
	t.Helper()
	m = open(t, cpu.New(1), family)
	return m, make([]int16, B*T*m.MoELayers()*m.ExpertsPerToken())
}

func sameBits(t *testing.T, what string, a, b []float32) {
	t.Helper()
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			t.Fatalf("%s: element %d is %v, was %v", what, i, a[i], b[i])
		}
	}
}

// Forcing the experts that the router takes by itself changes no bit, and no
// choice is counted as different; rows of -1 route freely.
func TestForcingTheFreeChoiceChangesNothing(t *testing.T) {
	for _, family := range sparseFamilies {
		m, chosen := table(t, family)
		free, freeGrads := pass(t, family, tensor.Train, &model.Routing{Chosen: chosen})
		for _, mode := range []tensor.Mode{tensor.Train, tensor.Recompute} {
			forced := slices.Clone(chosen)
			for i := 0; i < len(forced); i += 3 * m.ExpertsPerToken() {
				for j := range m.ExpertsPerToken() {
					forced[i+j] = -1
				}
			}
			again := make([]int16, len(chosen))
			r := &model.Routing{Forced: forced, Chosen: again, Differ: make([]int, m.MoELayers()), Counted: make([]int, m.MoELayers())}
			lps, grads := pass(t, family, mode, r)
			sameBits(t, family+" logprobs", lps, free)
			for name, g := range grads {
				sameBits(t, family+" gradient of "+name, g, freeGrads[name])
			}
			if !slices.Equal(again, chosen) {
				t.Errorf("%s: the record of a forced pass differs from what was forced", family)
			}
			total := 0
			for l := range r.Counted {
				total += r.Counted[l]
				if r.Differ[l] != 0 {
					t.Errorf("%s: %d choices of layer %d differ from themselves", family, r.Differ[l], l)
				}
			}
			rows := len(forced) / m.ExpertsPerToken()
			if want := rows - (rows+2)/3; total != want { // recomputation counts once
				t.Errorf("%s: %d rows were counted, want %d", family, total, want)
			}
		}
	}
}

// Only forced experts get gradients, and the order of a row's experts is the
// order of its sum.
func TestOnlyForcedExpertsGetGradients(t *testing.T) {
	for _, family := range sparseFamilies {
		m, forced := table(t, family)
		k := m.ExpertsPerToken()
		for i := range forced {
			forced[i] = int16(1 + (i/k+i%k)%k) // experts 1..k of each layer, rotated
		}
		r := &model.Routing{Forced: forced, Differ: make([]int, m.MoELayers()), Counted: make([]int, m.MoELayers())}
		lps, grads := pass(t, family, tensor.Train, r)
		_, recomputed := pass(t, family, tensor.Recompute, &model.Routing{Forced: forced})
		if differ := slices.Max(r.Differ); differ == 0 || differ > r.Counted[0] {
			t.Errorf("%s: %d of %d choices differ", family, differ, r.Counted[0])
		}
		for name, g := range grads {
			sameBits(t, family+" recomputed gradient of "+name, recomputed[name], g)
			_, rest, ok := strings.Cut(name, ".experts.")
			if !ok {
				continue
			}
			e := int(rest[0] - '0')
			zero := !slices.ContainsFunc(g, func(v float32) bool { return v != 0 })
			if want := e < 1 || e > k; zero != want {
				t.Errorf("%s: gradient of %s is zero: %v, want %v", family, name, zero, want)
			}
		}
		for i := 0; i < len(forced); i += k {
			slices.Reverse(forced[i : i+k])
		}
		reversed, _ := pass(t, family, tensor.Train, &model.Routing{Forced: forced})
		closeTo(t, family+" with the order reversed", reversed, lps, 1e-6)
	}
}

// With sigmoid scores, or softmax and the norm, forced routing moves only the
// forced rows of the router; softmax without the norm moves all.
func TestRouterGradientOfForcedExperts(t *testing.T) {
	for family, all := range map[string]bool{"qwen3moe": false, "deepseek": false, "deepseek-plain": false, "qwen3moe-nonorm": true} {
		m, forced := table(t, family)
		k := m.ExpertsPerToken()
		for i := range forced {
			forced[i] = int16(i % k)
		}
		_, grads := pass(t, family, tensor.Train, &model.Routing{Forced: forced})
		g := grads["model.layers.1.mlp.gate.weight"]
		d := m.Config.HiddenSize
		for e := range m.Config.Experts {
			zero := !slices.ContainsFunc(g[e*d:(e+1)*d], func(v float32) bool { return v != 0 })
			if want := e >= k && !all; zero != want {
				t.Errorf("%s: the router's row %d has no gradient: %v, want %v", family, e, zero, want)
			}
		}
	}
}
