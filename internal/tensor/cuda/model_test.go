//go:build emu

package cuda_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/emu"
	"github.com/grouse-rl/grouse/rollout/engine"
	"github.com/grouse-rl/grouse/trainer"
)

func open(t *testing.T, dev tensor.Device, family string) *model.Model {
	t.Helper()
	m, err := model.Open(dev, "../../model/testdata/"+family)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const offloadBytes = 4096

func emulated(f32 bool) *cuda.Device {
	return cuda.New(emu.New(emu.Options{Order: emu.Scattered, Threads: 2}), cuda.Options{Float32: f32, SlabBytes: slabBytes, OffloadBytes: offloadBytes})
}

// closeTo demands that the distance of two vectors is at most tolerance times the
// length of want, or of 0.1 in each element.
func closeTo(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	far, size := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		far += d * d
		size += float64(w) * float64(w)
	}
	size = max(size, 0.01*float64(len(want)))
	if d := math.Sqrt(far / size); !(d <= tolerance) {
		t.Errorf("%s: relative distance %.3g, allowed %.3g", what, d, tolerance)
	}
}

// pass runs a model forward and backward over a prompt with two continuations and
// a sequence alone.
func pass(t *testing.T, dev tensor.Device, family string, mode tensor.Mode) (hidden, lps []float32, grads map[string][]float32) {
	t.Helper()
	m := open(t, dev, family)
	m.Trainable()
	seqs := &tensor.Seqs{}
	root := seqs.Add(7, -1)
	seqs.Add(20, root)
	seqs.Add(11, root)
	seqs.Add(18, -1)
	ids, targets, coef := make([]int32, seqs.Rows()), make([]int32, seqs.Rows()), make([]float32, seqs.Rows())
	for i := range ids {
		ids[i], targets[i] = int32((i*i*7+3*i)%m.Config.VocabSize), int32((i*5+1)%m.Config.VocabSize)
		coef[i] = float32(i%7-3) / 3
	}
	g := tensor.NewGraph(dev, mode)
	h := m.Forward(g, model.Input{IDs: ids, Pos: seqs.Positions(), Attend: m.InBatch(g, seqs)})
	hidden = make([]float32, h.Rows*h.Cols)
	dev.Read(hidden, h.Data)
	lp := g.Logprob(h, m.Head(), &tensor.Targets{IDs: targets, Temperature: 0.9})
	lps = append(lps, lp.Values...)
	lp.Backward(coef)
	m.FoldGrads()
	grads = map[string][]float32{}
	for _, p := range m.Params() {
		if p.Grad != nil {
			grads[p.Name] = p.ReadBuffer(dev, p.Grad)
		}
	}
	return hidden, lps, grads
}

// A dense model, one with experts, one with latent attention, one with sparse
// attention: hidden states, log-probabilities and every gradient are the CPU
// device's in float32; dense ones in bfloat16 within its rounding.
func TestModelsAgreeWithTheCPU(t *testing.T) {
	for _, c := range []struct {
		family    string
		f32       bool
		tolerance float64
	}{
		{"llama", true, 1e-5}, {"qwen3", true, 1e-5}, {"qwen3moe", true, 1e-5}, {"deepseek", true, 1e-5}, {"deepseek-sparse", true, 1e-5},
		{"llama", false, 3e-2}, {"qwen3", false, 3e-2},
	} {
		wantHidden, wantLogprobs, wantGrads := pass(t, cpu.New(1), c.family, tensor.Train)
		hidden, lps, grads := pass(t, emulated(c.f32), c.family, tensor.Recompute)
		name := c.family
		if !c.f32 {
			name += " in bfloat16"
		}
		closeTo(t, name+": hidden states", hidden, wantHidden, c.tolerance)
		closeTo(t, name+": logprobs", lps, wantLogprobs, c.tolerance)
		for p, want := range wantGrads {
			closeTo(t, name+": gradient of "+p, grads[p], want, c.tolerance)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// stage is GRPO with a KL to a reference, off-policy masking, two mini-batches.
// Adam's epsilon is large: with the usual one a gradient near zero moves a weight
// by a whole learning rate in the direction of its sign, whatever its size.
func stage() grouse.Stage {
	return grouse.Stage{Kind: grouse.StageRL, Steps: 10,
		Domains: []grouse.Domain{{Name: "a", Weight: 1, Beta: ptr(0.02)}},
		Trainer: grouse.TrainerSpec{LearningRate: 1e-2, Schedule: "constant", Beta1: 0.9, Beta2: 0.999, Eps: 1e-3, MaxGradNorm: 1, WeightDecay: 0.1, MicroBatchTokens: 60},
		Algorithm: grouse.Algorithm{Advantage: "mean_std", AdvantageDDoF: 1, AdvantageEps: 1e-6, Epsilon: 0.2, EpsilonHigh: 0.2,
			LossAggregation: grouse.SeqMeanTokenMean, ImportanceSamplingLevel: grouse.LevelToken, PiOld: grouse.PiOldRollout, KLEstimator: "k3_is",
			OffPolicyMaskThreshold: ptr(0.1), EngineCorrection: grouse.EngineCorrection{Mode: "none"}, NumIterations: 1, MiniBatches: 2, KeepSamplingMask: true, KeepRouting: true}}
}

// groups samples two prompts on a device of their own kind, and gives made-up
// rewards.
func groups(t *testing.T, m *model.Model, dev tensor.Device) []grouse.ScoredGroup {
	t.Helper()
	e := engine.New(dev, engine.Options{MaxKVTokens: 1024, PrefillChunk: 5})
	defer e.Close()
	e.SetPolicy(m, 0)
	s := grouse.Sampling{Temperature: 0.9, TopK: 20, TopP: 0.95}
	var out []grouse.ScoredGroup
	for c, prompt := range [][]int32{{5, 7, 9, 11, 3}, {5, 8}} {
		rs, err := e.Generate(context.Background(), engine.Request{Prompt: prompt, N: 3, MaxTokens: 9 + 6*c, StopIDs: []int32{1}, Sampling: s, Key: rng.NewKey(rng.Rollout, "0", 1), Candidate: uint32(c), KeepRouting: true})
		if err != nil {
			t.Fatal(err)
		}
		g := grouse.ScoredGroup{Group: grouse.Group{Candidate: uint32(c), Prompt: grouse.Prompt{RowID: "r", Domain: "a", TokenIDs: prompt}, Rollouts: rs, Sampling: s}}
		for i := range rs {
			g.Scores = append(g.Scores, grouse.Score{Sample: uint16(i), Reward: ptr(float64((i*7 + c) % 3)), Outcome: grouse.Scored})
		}
		out = append(out, g)
	}
	return out
}

// step trains on a batch once and returns what changed in the weights.
func step(t *testing.T, dev tensor.Device, family string, batch []grouse.ScoredGroup, change func(s *grouse.Stage)) (before, after []float32, metrics grouse.Metrics) {
	t.Helper()
	m := open(t, dev, family)
	s := stage()
	change(&s)
	tr, err := trainer.New(m, s)
	if err != nil {
		t.Fatal(err)
	}
	tr.SetReference(m.Clone())
	read := func() (all []float32) {
		for _, p := range m.Params() {
			all = append(all, p.Read(dev)...)
		}
		return all
	}
	before = read()
	res, err := tr.Step(context.Background(), batch)
	if err != nil {
		t.Fatal(err)
	}
	return before, read(), res.Metrics
}

// One step of GRPO, two updates, moves the weights as on the CPU: in float32 the
// changes differ by 1e-3 of their length at most (Adam divides gradients of the
// size of its epsilon by nearly nothing), in bfloat16 by a tenth.
func TestGRPOStepAgreesWithTheCPU(t *testing.T) {
	for _, c := range []struct {
		family    string
		f32       bool
		tolerance float64
		change    func(s *grouse.Stage)
	}{
		{"llama", true, 1e-3, func(*grouse.Stage) {}},
		{"llama", true, 1e-3, func(s *grouse.Stage) { s.Trainer.BF16Moments, s.Trainer.Recompute = true, true }},
		{"qwen3moe", true, 1e-3, func(*grouse.Stage) {}},
		{"deepseek-sparse", true, 1e-3, func(s *grouse.Stage) { s.Trainer.TrainIndexer = "sparse" }},
		{"llama", false, 0.1, func(*grouse.Stage) {}},
	} {
		batch := groups(t, open(t, cpu.New(1), c.family), cpu.New(1))
		before, want, wantMetrics := step(t, cpu.New(1), c.family, batch, c.change)
		_, got, metrics := step(t, emulated(c.f32), c.family, batch, c.change)
		far, moved := 0.0, 0.0
		for i := range want {
			far += sq(float64(got[i] - want[i]))
			moved += sq(float64(want[i] - before[i]))
		}
		d := math.Sqrt(far / moved)
		t.Logf("%s, float32 %v: relative distance of the changes %.3g; grad_norm %v, the CPU's %v", c.family, c.f32, d, metrics["grad_norm"], wantMetrics["grad_norm"])
		if !(moved > 0 && d <= c.tolerance) {
			t.Errorf("%s, float32 %v: relative distance of the changes %.3g, allowed %.3g", c.family, c.f32, d, c.tolerance)
		}
	}
}

func sq(x float64) float64 { return x * x }

// The emulated device's engine and trainer agree: with kernels and products whose
// rows do not depend on the batch the ratio is exactly 1, in float32 and in
// bfloat16. And a step repeats bit for bit.
func TestOnPolicyAndRepeatable(t *testing.T) {
	for _, f32 := range []bool{true, false} {
		dev := emulated(f32)
		batch := groups(t, open(t, dev, "qwen3"), dev)
		one := func(s *grouse.Stage) { s.Algorithm.MiniBatches = 1 }
		_, first, metrics := step(t, dev, "qwen3", batch, one)
		for key, want := range map[string]float64{"ratio/mean": 1, "ratio/max": 1, "kl": 0} {
			if got, ok := metrics[key]; !ok || got != want {
				t.Errorf("float32 %v: %s = %v, want exactly %v", f32, key, got, want)
			}
		}
		_, again, _ := step(t, emulated(f32), "qwen3", batch, one)
		for i := range first {
			if math.Float32bits(first[i]) != math.Float32bits(again[i]) {
				t.Fatalf("float32 %v: weight %d is %v, was %v", f32, i, again[i], first[i])
			}
		}
	}
}

// The plan of a model that exists, against what the device handed out.
func TestPlanAgreesWithWhatIsUsed(t *testing.T) {
	const (
		dense  = `{"architectures":["Qwen3ForCausalLM"],"model_type":"qwen3","vocab_size":300,"hidden_size":64,"intermediate_size":160,"num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":16,"max_position_embeddings":256,"rms_norm_eps":1e-6,"tie_word_embeddings":true,"hidden_act":"silu","rope_theta":10000}`
		latent = `{"architectures":["DeepseekV3ForCausalLM"],"model_type":"deepseek_v3","vocab_size":300,"hidden_size":64,"intermediate_size":160,"num_hidden_layers":4,"num_attention_heads":4,"q_lora_rank":48,"kv_lora_rank":32,"qk_nope_head_dim":16,"qk_rope_head_dim":8,"v_head_dim":16,"first_k_dense_replace":1,"n_routed_experts":4,"num_experts_per_tok":2,"n_group":1,"topk_group":1,"n_shared_experts":1,"moe_intermediate_size":48,"max_position_embeddings":256,"rms_norm_eps":1e-6,"hidden_act":"silu","rope_theta":10000}`
	)
	for _, c := range []struct {
		config                          string
		recompute, half, short, offload bool
	}{{config: dense}, {dense, true, true, false, false}, {dense, true, true, true, false}, {config: dense, offload: true}, {dense, true, true, true, true}, {config: latent}, {latent, true, true, false, false}} {
		dev := emulated(!c.half)
		cfg, err := model.ParseConfig([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.New(dev, cfg)
		if err != nil {
			t.Fatal(err)
		}
		m.Init(rng.NewKey(rng.Init, "", 1))
		s := stage()
		s.Trainer.Recompute, s.Trainer.BF16Moments, s.Trainer.BF16Weights, s.Trainer.MicroBatchTokens = c.recompute, c.half, c.short, 1<<20
		s.Trainer.OffloadMoments = c.offload
		s.Algorithm.MiniBatches = 1
		tr, err := trainer.New(m, s)
		if err != nil {
			t.Fatal(err)
		}
		tr.SetReference(m.Clone())
		const prompts, length = 3, 61
		var batch []grouse.ScoredGroup
		for c := range prompts {
			g := grouse.ScoredGroup{Group: grouse.Group{Candidate: uint32(c), Prompt: grouse.Prompt{RowID: "r", Domain: "a", TokenIDs: []int32{5}}, Sampling: grouse.Sampling{Temperature: 1}}}
			for i := range 2 {
				r := grouse.Rollout{Sample: uint16(i), Logprobs: make([]float32, length)}
				for j := range length {
					r.ResponseIDs = append(r.ResponseIDs, int32((j*7+i)%300))
					r.Logprobs[j] = -5.7
				}
				g.Group.Rollouts = append(g.Group.Rollouts, r)
				g.Scores = append(g.Scores, grouse.Score{Sample: uint16(i), Reward: ptr(float64(i)), Outcome: grouse.Scored})
			}
			batch = append(batch, g)
		}
		if _, err := tr.Step(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		sizes, err := cfg.Sizes()
		if err != nil {
			t.Fatal(err)
		}
		shape := cuda.Shape{Params: sizes.Parameters, Matrices: sizes.Matrices, Tied: cfg.TieEmbeddings, Layers: 4, Dim: 64, Vocab: 300, Hidden: 160, HeadNorms: sizes.HeadNorms,
			Attention: sizes.Attention, Latent: sizes.Latent, ExpertLayers: sizes.ExpertLayers, Experts: cfg.Experts, PerToken: cfg.ExpertsPerToken, ExpertHidden: cfg.ExpertSize, SharedHidden: cfg.ExpertSize * cfg.SharedExperts}
		plan := cuda.NewPlan(shape, cuda.Use{Train: true, Reference: true, Recompute: c.recompute, BF16Moments: c.half, BF16Weights: c.short, OffloadMoments: c.offload, MicroBatchTokens: prompts * (1 + 2*(length-1)), Options: cuda.Options{Float32: !c.half, OffloadBytes: offloadBytes}})
		planned := int64(0)
		for _, p := range plan {
			if p.Name != "logits and operands" { // temporaries, for the most part
				planned += p.Bytes
			}
		}
		ratio := float64(planned) / float64(dev.HighWater())
		name := fmt.Sprintf("%s, recompute %v, bfloat16 %v, without masters %v, offloaded %v", cfg.ModelType, c.recompute, c.half, c.short, c.offload)
		t.Logf("%s: planned %d bytes, used %d: %.2f", name, planned, dev.HighWater(), ratio)
		if ratio < 0.85 || ratio > 1.2 {
			t.Errorf("%s: planned %d bytes, used %d", name, planned, dev.HighWater())
		}
	}
}
