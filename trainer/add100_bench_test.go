package trainer_test

import (
	"context"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
	"github.com/grouse-rl/grouse/trainer"
)

// BenchmarkAdd100 is the two halves of a step of scripts/compare's add100, without what
// coordinates them: 25 prompts of 4 tokens, 8 completions each of 3, 0.8 million weights.
func BenchmarkAdd100(b *testing.B) {
	dev := cpu.New(0)
	m, err := model.Open(dev, "../scripts/compare/add100/model")
	if err != nil {
		b.Fatal(err)
	}
	s := stage()
	s.Domains = []grouse.Domain{{Name: "a", Weight: 1}}
	s.Trainer.LearningRate, s.Trainer.MicroBatchTokens = 0, 8192
	s.Algorithm.MiniBatches, s.Algorithm.OffPolicyMaskThreshold = 1, nil
	s.Algorithm.LossAggregation = grouse.TokenMean
	tr, err := trainer.New(m, s)
	if err != nil {
		b.Fatal(err)
	}
	e := engine.New(dev, engine.Options{})
	defer e.Close()
	e.SetPolicy(m, 0)
	var batch []grouse.ScoredGroup
	sample := func() {
		var reqs []engine.Request
		for c := range 25 {
			reqs = append(reqs, engine.Request{Prompt: []int32{int32(2 + c%10), 12, int32(2 + c/10), 13}, N: 8, MaxTokens: 3, Sampling: grouse.Sampling{Temperature: 1, TopP: 1},
				Key: rng.NewKey(rng.Rollout, "0", 1), Candidate: uint32(c)})
		}
		out, err := e.GenerateAll(context.Background(), reqs, nil)
		if err != nil {
			b.Fatal(err)
		}
		batch = batch[:0]
		for c, rs := range out {
			g := grouse.ScoredGroup{Group: grouse.Group{Candidate: uint32(c), Prompt: grouse.Prompt{RowID: "r", Domain: "a", TokenIDs: reqs[c].Prompt}, Rollouts: rs, Sampling: reqs[c].Sampling}}
			for i := range rs {
				g.Scores = append(g.Scores, grouse.Score{Sample: uint16(i), Reward: ptr(float64((i*7 + c) % 3)), Outcome: grouse.Scored})
			}
			batch = append(batch, g)
		}
	}
	b.Run("sample", func(b *testing.B) {
		for b.Loop() {
			sample()
		}
	})
	b.Run("train", func(b *testing.B) {
		sample()
		for b.Loop() {
			if _, err := tr.Step(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
		}
	})
}
