package engine_test

import (
	"context"
	"syscall"
	"testing"
	"time"

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
// active parameters, 16 sequences at once: decoding, generation as `grouse bench
// generate` counts it (prompts of 32 tokens, 64 new ones), and training; and decoding
// 64 at once.
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
		for _, c := range []struct {
			name   string
			prompt int // tokens
			n      int // sequences
		}{{"decode", 4, 16}, {"generate", 32, 16}, {"decode64", 4, 64}} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				e := engine.New(dev, engine.Options{})
				defer e.Close()
				e.SetPolicy(m, 0)
				tokens, began := 0, processorTime()
				for b.Loop() {
					var reqs []engine.Request
					for i := range c.n {
						r := engine.Request{Prompt: []int32{int32(i)}, N: 1, Sampling: grouse.Sampling{Temperature: 1, TopP: 1}, MaxTokens: 64, Key: rng.NewKey(rng.Rollout, "b", 1), Candidate: uint32(i)}
						for j := 1; j < c.prompt; j++ {
							r.Prompt = append(r.Prompt, int32((i*j*j+3*j)%512))
						}
						reqs = append(reqs, r)
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
				b.ReportMetric(float64(tokens)/(processorTime()-began), "tokens/cpu-s")
			})
		}
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
			tokens, began := 0, processorTime()
			for b.Loop() {
				m.ZeroGrads()
				h := m.Forward(g, model.Input{IDs: ids, Pos: seqs.Positions(), Attend: m.InBatch(g, seqs)})
				g.Logprob(h, m.Head(), &tensor.Targets{IDs: ids, Temperature: 1}).Backward(coef)
				g.Reset()
				tokens += len(ids)
			}
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
			b.ReportMetric(float64(tokens)/(processorTime()-began), "tokens/cpu-s")
		})
	}
}

// processorTime returns this process's, seconds: what a busy machine does not change
// much. With more threads than one it counts their waiting too.
func processorTime() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
