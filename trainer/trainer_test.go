package trainer_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
	"github.com/grouse-rl/grouse/trainer"
)

func open(t *testing.T, threads int, family string) *model.Model {
	t.Helper()
	m, err := model.Open(cpu.New(threads), "../internal/model/testdata/"+family)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func stage() grouse.Stage {
	delta := 0.1
	return grouse.Stage{Kind: grouse.StageRL, Steps: 10,
		Domains: []grouse.Domain{{Name: "a", Weight: 1}, {Name: "b", Weight: 1, Beta: ptr(0.02)}},
		Trainer: grouse.TrainerSpec{LearningRate: 1e-3, Schedule: "constant", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxGradNorm: 1, WeightDecay: 0.1, MicroBatchTokens: 1 << 20},
		Algorithm: grouse.Algorithm{Advantage: "mean_std", AdvantageDDoF: 1, AdvantageEps: 1e-6, Epsilon: 0.2, EpsilonHigh: 0.2,
			LossAggregation: grouse.SeqMeanTokenMean, ImportanceSamplingLevel: grouse.LevelToken, PiOld: grouse.PiOldRollout, KLEstimator: "k3_is",
			OffPolicyMaskThreshold: &delta, EngineCorrection: grouse.EngineCorrection{Mode: "none"}, NumIterations: 1, MiniBatches: 2, KeepSamplingMask: true, KeepRouting: true}}
}

func ptr[T any](v T) *T { return &v }

// groups samples with m's weights and gives made-up rewards.
func groups(t *testing.T, m *model.Model) []grouse.ScoredGroup {
	t.Helper()
	e := engine.New(cpu.New(1), engine.Options{})
	defer e.Close()
	e.SetPolicy(m, 0)
	key := rng.NewKey(rng.Rollout, "0", 1)
	s := grouse.Sampling{Temperature: 1, TopK: 20, TopP: 0.95}
	var out []grouse.ScoredGroup
	for c := range 6 {
		prompt := []int32{5, int32(7 + c), 9, int32(11 + 3*c)}[:2+c%3]
		rs, err := e.Generate(context.Background(), engine.Request{Prompt: prompt, N: 4, MaxTokens: 6 + 5*c, StopIDs: []int32{1}, Sampling: s, Key: key, Candidate: uint32(c), KeepRouting: true})
		if err != nil {
			t.Fatal(err)
		}
		g := grouse.ScoredGroup{Group: grouse.Group{Candidate: uint32(c), Prompt: grouse.Prompt{RowID: "r", Domain: []string{"a", "b"}[c%2], TokenIDs: prompt}, Rollouts: rs, Sampling: s}}
		for i := range rs {
			g.Scores = append(g.Scores, grouse.Score{Sample: uint16(i), Reward: ptr(float64((i*7 + c) % 3)), Outcome: grouse.Scored})
		}
		out = append(out, g)
	}
	return out
}

func weights(m *model.Model) []float32 {
	var all []float32
	for _, p := range m.Params() {
		all = append(all, p.Read(m.Device())...)
	}
	return all
}

// step does a step and returns the weights and metrics after it.
func step(t *testing.T, threads, micro int, recompute bool, family string) ([]float32, grouse.Metrics) {
	t.Helper()
	m := open(t, threads, family)
	batch := groups(t, m)
	s := stage()
	s.Trainer.MicroBatchTokens, s.Trainer.Recompute = micro, recompute
	tr, err := trainer.New(m, s)
	if err != nil {
		t.Fatal(err)
	}
	tr.SetReference(m.Clone())
	var out grouse.Metrics
	for range 3 { // the later ones are off policy
		res, err := tr.Step(context.Background(), batch)
		if err != nil {
			t.Fatal(err)
		}
		out = res.Metrics
	}
	return weights(m), out
}

// Splitting an update into micro-batches, the number of threads and
// recomputation change no bit of weights or metrics.
func TestSplitsChangeNoBit(t *testing.T) {
	for _, family := range []string{"llama", "qwen3", "qwen3moe", "deepseek", "deepseek-sparse"} { // tied and untied embeddings, experts
		want, metrics := step(t, 2, 1<<20, false, family)
		for _, v := range []struct {
			threads, micro int
			recompute      bool
		}{{1, 1, false}, {3, 40, false}, {2, 90, true}, {1, 1 << 20, false}} {
			got, m := step(t, v.threads, v.micro, v.recompute, family)
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%s %+v: weight %d is %v, want %v", family, v, i, got[i], want[i])
				}
			}
			if string(m.AppendBits(nil)) != string(metrics.AppendBits(nil)) {
				t.Fatalf("%s %+v: metrics differ:\n%v\n%v", family, v, m, metrics)
			}
		}
	}
}

// On policy the engine's logprobs are the trainer's: ratio exactly 1, divergence
// exactly 0.
func TestFirstUpdateIsExactlyOnPolicy(t *testing.T) {
	m := open(t, 2, "qwen2")
	s := stage()
	s.Algorithm.MiniBatches = 1
	tr, err := trainer.New(m, s)
	if err != nil {
		t.Fatal(err)
	}
	tr.SetReference(m.Clone())
	res, err := tr.Step(context.Background(), groups(t, m))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{"ratio/mean": 1, "ratio/max": 1, "off_policy/divergence_mean": 0, "off_policy/divergence_p99": 0, "kl": 0} {
		if got, ok := res.Metrics[key]; !ok || got != want {
			t.Errorf("%s = %v, want exactly %v", key, got, want)
		}
	}
	if res.Metrics["grad_norm"] == 0 {
		t.Error("no gradient")
	}
}

// Restored moments and counters go on exactly where they were, in both precisions.
func TestRestoreGoesOn(t *testing.T) {
	restored(t, "deepseek-sparse", false) // some weights are frozen
	full, half := restored(t, "llama", false), restored(t, "llama", true)
	differ := 0
	for i := range full {
		if full[i] != half[i] {
			differ++
		}
		if d := math.Abs(float64(full[i] - half[i])); d > 4e-3 { // four updates of at most 1e-3
			t.Fatalf("weight %d is %v, with bfloat16 moments %v", i, full[i], half[i])
		}
	}
	if differ < len(full)/2 {
		t.Errorf("bfloat16 moments changed %d of %d weights only", differ, len(full))
	}
}

// The processor keeps float32 weights: to leave them out is refused, not ignored.
func TestWeightsWithoutMastersNeedTheDevice(t *testing.T) {
	s := stage()
	s.Trainer.BF16Weights = true
	if _, err := trainer.New(open(t, 1, "llama"), s); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "trainer.bf16_weights: cpu/") || grouse.FixOf(err) == "" {
		t.Errorf("%v; %s", err, grouse.FixOf(err))
	}
}

// So is leaving the moments in the host's memory where they are.
func TestOffloadingNeedsTheDevice(t *testing.T) {
	s := stage()
	s.Trainer.OffloadMoments = true
	if _, err := trainer.New(open(t, 1, "llama"), s); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "trainer.offload_moments: cpu/") || grouse.FixOf(err) == "" {
		t.Errorf("%v; %s", err, grouse.FixOf(err))
	}
}

// restored trains, restores into a new trainer, trains both on and returns the weights.
func restored(t *testing.T, family string, bf16 bool) []float32 {
	t.Helper()
	s := stage()
	s.Trainer.BF16Moments = bf16
	m := open(t, 2, family)
	batch := groups(t, m)
	ref := m.Clone()
	run := func(m *model.Model, tr *trainer.Trainer, n int) {
		tr.SetReference(ref)
		for range n {
			if _, err := tr.Step(context.Background(), batch); err != nil {
				t.Fatal(err)
			}
		}
	}
	a, err := trainer.New(m, s)
	if err != nil {
		t.Fatal(err)
	}
	run(m, a, 2)
	saved := memory{}
	if err := a.Moments(t.Context(), saved.put); err != nil {
		t.Fatal(err)
	}
	state, copied := a.State(), m.Clone()
	run(m, a, 2)
	b, err := trainer.New(copied, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(state, saved); err != nil {
		t.Fatal(err)
	}
	run(copied, b, 2)
	want, got := weights(m), weights(copied)
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("weight %d is %v, want %v", i, got[i], want[i])
		}
	}
	return got
}

type memory map[string][]float32

func (s memory) put(name string, _ []int, data []float32) error {
	s[name] = append([]float32(nil), data...)
	return nil
}
func (s memory) Names() []string    { return nil }
func (s memory) Shape(string) []int { return nil }
func (s memory) Float32(name string, dst []float32) error {
	copy(dst, s[name])
	return nil
}

func TestSFTLearnsItsExamples(t *testing.T) {
	m := open(t, 2, "llama")
	s := grouse.Stage{Kind: grouse.StageSFT, Steps: 60, Trainer: stage().Trainer}
	s.Trainer.LearningRate = 1e-2
	tr, err := trainer.New(m, s)
	if err != nil {
		t.Fatal(err)
	}
	examples := []trainer.Example{{Prompt: []int32{3, 4}, Completion: []int32{9, 8, 7, 1}}, {Prompt: []int32{5}, Completion: []int32{6, 1}}}
	var first, last float64
	for i := range 60 {
		out, err := tr.SFT(context.Background(), examples)
		if err != nil {
			t.Fatal(err)
		}
		if last = out["loss"]; i == 0 {
			first = last
		}
	}
	if !(first > 2 && last < 0.05) {
		t.Fatalf("loss went from %v to %v", first, last)
	}
	if _, err := tr.SFT(context.Background(), nil); grouse.KindOf(err) != grouse.Invalid {
		t.Fatalf("no examples: %v", err)
	}
}

// Kept routing that is the policy's own choice changes no bit of an update; other
// experts do, are counted by layer, and split like anything else.
func TestKeptRouting(t *testing.T) {
	for _, family := range []string{"qwen3moe", "deepseek", "deepseek-sparse"} {
		run := func(keep bool, micro int, change func([]grouse.ScoredGroup)) ([]float32, grouse.Metrics) {
			m := open(t, 2, family)
			batch := groups(t, m)
			if change != nil {
				change(batch)
			}
			s := stage()
			s.Algorithm.MiniBatches, s.Algorithm.KeepRouting, s.Trainer.MicroBatchTokens = 1, keep, micro
			tr, err := trainer.New(m, s)
			if err != nil {
				t.Fatal(err)
			}
			tr.SetReference(m.Clone())
			res, err := tr.Step(context.Background(), batch)
			if err != nil {
				t.Fatal(err)
			}
			return weights(m), res.Metrics
		}
		free, freeMetrics := run(false, 1<<20, nil)
		if _, ok := freeMetrics["routing/differ_frac"]; ok {
			t.Errorf("%s: free routing is counted", family)
		}
		kept, metrics := run(true, 1<<20, nil)
		same(t, family, kept, free)
		if got, ok := metrics["routing/differ_frac"]; !ok || got != 0 {
			t.Errorf("%s: on policy differ_frac is %v", family, got)
		}
		other := func(batch []grouse.ScoredGroup) { // one completion of each group, prompt included
			for i := range batch {
				e := batch[i].Group.Rollouts[2].Routing.Experts
				for j := range e {
					e[j] = int16(j % 3)
				}
			}
		}
		changed, metrics := run(true, 1<<20, other)
		if metrics["routing/differ_frac"] == 0 || metrics["routing/differ_frac/layer_01"] == 0 || metrics["ratio/max"] == 1 {
			t.Errorf("%s: other experts: %v", family, metrics)
		}
		again, more := run(true, 1, other)
		same(t, family+" in small micro-batches", again, changed)
		if string(more.AppendBits(nil)) != string(metrics.AppendBits(nil)) {
			t.Errorf("%s: metrics differ in small micro-batches", family)
		}
		// The completions that were left alone are on policy, though their group's
		// prompts have other experts in one sample.
		if metrics["ratio/mean"] == 1 || metrics["off_policy/divergence_mean"] == 0 {
			t.Errorf("%s: other experts change nothing: %v", family, metrics)
		}
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: weight %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestRoutingOfAnotherModelIsRefused(t *testing.T) {
	m := open(t, 1, "qwen3moe")
	batch := groups(t, m)
	batch[1].Group.Rollouts[0].Routing.Experts[4] = 8 // of 8
	tr, err := trainer.New(m, stage())
	if err != nil {
		t.Fatal(err)
	}
	tr.SetReference(m.Clone())
	if _, err := tr.Step(context.Background(), batch); grouse.KindOf(err) != grouse.Invalid {
		t.Fatal(err)
	}
}
