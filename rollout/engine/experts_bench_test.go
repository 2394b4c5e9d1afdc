package engine_test

import (
	"context"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
)

const (
	benchDense  = `{"architectures": ["Qwen3ForCausalLM"], "intermediate_size": 1024, `
	benchSparse = `{"architectures": ["Qwen3MoeForCausalLM"], "intermediate_size": 1024, "num_experts": 32, "num_experts_per_tok": 4, "moe_intermediate_size": 256, "norm_topk_prob": true, `
	benchRest   = `"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 512, "max_position_embeddings": 1024}`
)

// BenchmarkExperts compares a mixture of experts with a dense model of the same
// active parameters: decoding and training 16 sequences.
func BenchmarkExperts(b *testing.B) {
	for name, head := range map[string]string{"dense": benchDense, "experts": benchSparse} {
		cfg, err := model.ParseConfig([]byte(head + benchRest))
		if err != nil {
			b.Fatal(err)
		}
		dev := cpu.New(0)
		m, err := model.New(dev, cfg)
		if err != nil {
			b.Fatal(err)
		}
		m.Init(rng.NewKey(rng.Init, "", 1))
		b.Run("decode/"+name, func(b *testing.B) {
			e := engine.New(dev, engine.Options{})
			defer e.Close()
			e.SetPolicy(m, 0)
			tokens := 0
			for b.Loop() {
				var reqs []engine.Request
				for i := range 16 {
					reqs = append(reqs, engine.Request{Prompt: []int32{int32(i), 5, 7, 9}, N: 1, Sampling: grouse.Sampling{Temperature: 1, TopP: 1}, MaxTokens: 64, Key: rng.NewKey(rng.Rollout, "b", 1), Candidate: uint32(i)})
				}
				out, err := e.GenerateAll(context.Background(), reqs, nil)
				if err != nil {
					b.Fatal(err)
				}
				for _, rs := range out {
					tokens += len(rs[0].ResponseIDs)
				}
			}
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
		})
		b.Run("train/"+name, func(b *testing.B) {
			m.Trainable()
			g := tensor.NewGraph(dev, tensor.Train)
			seqs := &tensor.Seqs{}
			var ids []int32
			for i := range 16 {
				seqs.Add(128, -1)
				for j := range 128 {
					ids = append(ids, int32((i*31+j*j*7)%512))
				}
			}
			coef := make([]float32, len(ids))
			for i := range coef {
				coef[i] = 1
			}
			tokens := 0
			for b.Loop() {
				m.ZeroGrads()
				h := m.Forward(g, model.Input{IDs: ids, Pos: seqs.Positions(), Attend: m.InBatch(g, seqs)})
				g.Logprob(h, m.Head(), &tensor.Targets{IDs: ids, Temperature: 1}).Backward(coef)
				g.Reset()
				tokens += len(ids)
			}
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
