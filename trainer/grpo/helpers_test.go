package grpo_test

import (
	"math"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

// algorithm returns plain GRPO without KL, edited by f.
func algorithm(f func(a *grouse.Algorithm)) *grouse.Algorithm {
	a := &grouse.Algorithm{
		Advantage: grouse.AdvantageMeanStd, AdvantageDDoF: 1, AdvantageEps: 1e-6, Epsilon: 0.2, EpsilonHigh: 0.2,
		LossAggregation: grouse.SeqMeanTokenMean, ImportanceSamplingLevel: grouse.LevelToken, PiOld: grouse.PiOldRollout,
		KLEstimator: grouse.KLNone, EngineCorrection: grouse.EngineCorrection{Mode: "none"}, NumIterations: 1, MiniBatches: 1,
		FilterGroups: grouse.FilterTotal, MaxWaves: 10, Curriculum: grouse.CurriculumUniform,
	}
	if f != nil {
		f(a)
	}
	return a
}

func objective(t *testing.T, f func(a *grouse.Algorithm)) *grpo.Objective {
	t.Helper()
	o, err := grpo.New(algorithm(f))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// sequences returns n sequences with every logprob set, of 0 to 9 tokens.
func sequences(seed uint32, n int, spread float64) []grpo.Sequence[float64] {
	s := rng.NewKey(rng.Data, "grpo", 1).Stream(seed, 0, 0)
	normal := func(scale float64) float64 {
		sum := -6.0
		for range 12 {
			sum += s.Float64()
		}
		return sum * scale
	}
	out := make([]grpo.Sequence[float64], n)
	for i := range out {
		q := &out[i]
		q.Domain = []string{"math", "code"}[i%2]
		q.Advantage, q.Beta = normal(1), 0.1*s.Float64()
		for range s.Below(10) {
			roll := -0.05 - 2*s.Float64()
			q.RolloutLogprobs = append(q.RolloutLogprobs, roll)
			q.OldLogprobs = append(q.OldLogprobs, math.Min(roll+normal(spread/3), 0))
			q.Logprobs = append(q.Logprobs, math.Min(roll+normal(spread), -1e-4))
			q.RefLogprobs = append(q.RefLogprobs, math.Min(roll+normal(spread), 0))
			q.Mask = append(q.Mask, uint8(1-s.Below(5)/4))
		}
	}
	return out
}

func normalizers(seqs []grpo.Sequence[float64]) grpo.Normalizers {
	var n grpo.Normalizers
	for i := range seqs {
		n.Add(seqs[i].Tokens())
	}
	return n
}

// evaluate returns the loss and the gradients of an update.
func evaluate(o *grpo.Objective, norm grpo.Normalizers, seqs []grpo.Sequence[float64]) (loss float64, grads [][]float64, stats []grpo.SequenceStats) {
	for i := range seqs {
		g := make([]float64, len(seqs[i].Logprobs))
		st := grpo.Loss(o, norm, &seqs[i], g, nil)
		loss += st.Loss
		grads, stats = append(grads, g), append(stats, st)
	}
	return loss, grads, stats
}

func closeTo(got, want, rel, abs float64) bool {
	return math.Abs(got-want) <= rel*math.Abs(want)+abs
}

// variants are the settings that change the loss's shape.
func variants() map[string]func(a *grouse.Algorithm) {
	delta := 0.05
	v := map[string]func(a *grouse.Algorithm){
		"grpo":         nil,
		"dapo":         func(a *grouse.Algorithm) { a.LossAggregation, a.EpsilonHigh = grouse.TokenMean, 0.28 },
		"token sum":    func(a *grouse.Algorithm) { a.LossAggregation = grouse.SeqMeanTokenSum },
		"dr grpo":      func(a *grouse.Algorithm) { a.LossAggregation, a.LossNormTokens = grouse.SeqMeanTokenSumNorm, 12 },
		"dual clip":    func(a *grouse.Algorithm) { a.Delta = 1.5 },
		"gspo":         func(a *grouse.Algorithm) { a.ImportanceSamplingLevel = grouse.LevelSequence },
		"gspo with kl": func(a *grouse.Algorithm) { a.ImportanceSamplingLevel, a.KLEstimator = grouse.LevelSequence, "k3_is" },
		"mask":         func(a *grouse.Algorithm) { a.OffPolicyMaskThreshold, a.KLEstimator = &delta, "k3_is" },
		"recomputed":   func(a *grouse.Algorithm) { a.PiOld, a.KLEstimator = grouse.PiOldRecomputed, "k3_is" },
	}
	for _, k := range grpo.Estimators {
		v["kl "+k] = func(a *grouse.Algorithm) { a.KLEstimator = k }
	}
	for _, m := range grpo.CorrectionModes {
		v["correction "+m] = func(a *grouse.Algorithm) {
			a.PiOld = grouse.PiOldRecomputed
			a.EngineCorrection = grouse.EngineCorrection{Mode: m, Cap: 1.1, Floor: 0.8}
			if m == "token_mask" {
				a.EngineCorrection.Veto = 0.7
			}
			if m == "none" {
				a.EngineCorrection = grouse.EngineCorrection{Mode: m}
			}
		}
	}
	return v
}
