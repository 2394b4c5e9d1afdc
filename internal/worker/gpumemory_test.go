package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

// config.json of Qwen3-0.6B's sizes.
const qwen06 = `{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
	"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": true, "max_position_embeddings": 40960}`

var everything = append([]string{RoleTrainer}, Roles...)

// onCUDA is a recipe of three stages, of which rl needs most.
func onCUDA() grouse.RunSpec {
	beta := 0.02
	trainer := grouse.TrainerSpec{Backend: devices.CUDA, MicroBatchTokens: 4096}
	rollout := grouse.RolloutSpec{Engine: "local", MaxKVTokens: 1 << 16, KeepExact: true}
	return grouse.RunSpec{Name: "big", Stages: []grouse.Stage{
		{Name: "sft", Kind: grouse.StageSFT, Trainer: trainer, Rollout: rollout},
		{Name: "reject", Kind: grouse.StageRejectionSampling, Trainer: trainer, Rollout: rollout},
		{Name: "rl", Kind: grouse.StageRL, Trainer: trainer, Rollout: rollout, Domains: []grouse.Domain{{Name: "a", Beta: &beta}}},
	}}
}

// What is counted in internal/tensor/cuda by hand comes out of a recipe and a
// config.json, by stage and by role.
func TestPlanOfARecipe(t *testing.T) {
	cfg, err := model.ParseConfig([]byte(qwen06))
	if err != nil {
		t.Fatal(err)
	}
	rl := "needs 30.2 GiB in stage rl: weights 3.3, gradients 2.8, moments 4.4, reference 3.3, activations 8.9, logits and operands 0.4, KV cache 7.0 GiB"
	for _, c := range []struct {
		name   string
		roles  []string
		change func(s *grouse.RunSpec)
		want   string
	}{
		{"everything", everything, func(*grouse.RunSpec) {}, rl},
		{"the order of stages", everything, func(s *grouse.RunSpec) { s.Stages[0], s.Stages[2] = s.Stages[2], s.Stages[0] }, rl},
		{"trainer alone", []string{RoleTrainer}, func(*grouse.RunSpec) {}, strings.Replace(strings.Replace(rl, "30.2", "23.2", 1), ", KV cache 7.0", "", 1)},
		{"rollouts alone", []string{RoleRollout}, func(*grouse.RunSpec) {}, "needs 10.8 GiB in stage reject: weights 3.3, activations 0.1, logits and operands 0.4, KV cache 7.0 GiB"},
		{"sft alone", everything, func(s *grouse.RunSpec) { s.Stages = s.Stages[:1] }, "needs 19.9 GiB in stage sft: weights 3.3, gradients 2.8, moments 4.4, activations 8.9, logits and operands 0.4 GiB"},
		{"sft with evaluations", everything, func(s *grouse.RunSpec) { s.Stages, s.Eval.Data.Path = s.Stages[:1], "x.jsonl" }, "needs 26.9 GiB in stage sft: weights 3.3, gradients 2.8, moments 4.4, activations 8.9, logits and operands 0.4, KV cache 7.0 GiB"},
		{"three ranks", everything, func(s *grouse.RunSpec) {
			for i := range s.Stages {
				s.Stages[i].Trainer.Ranks = 3
			}
		}, strings.Replace(strings.Replace(rl, "30.2", "27.2", 1), "moments 4.4", "moments 1.5", 1)},
		{"short moments", everything, func(s *grouse.RunSpec) { s.Stages[2].Trainer.BF16Moments = true }, strings.Replace(strings.Replace(rl, "30.2", "28.0", 1), "moments 4.4", "moments 2.2", 1)},
		{"offloaded moments", everything, func(s *grouse.RunSpec) {
			for i := range s.Stages {
				s.Stages[i].Trainer.OffloadMoments, s.Stages[i].Trainer.Ranks = true, 2
			}
			s.Stages[2].Trainer.BF16Moments = true // sft needs more of the host than rl, which needs most of the GPU
		}, strings.Replace(strings.Replace(rl, "30.2", "25.8", 1), "moments 4.4", "passage of moments 0.1", 1) + "; moments in the host's memory 4.4 GiB of all ranks"},
		{"lag", everything, func(s *grouse.RunSpec) { s.Stages[2].Rollout.MaxStaleness = 1 }, strings.Replace(strings.Replace(rl, "30.2", "36.9", 1), "reference 3.3", "reference 3.3, versions for sampling 6.7", 1)},
	} {
		s := onCUDA()
		c.change(&s)
		m, err := planGPU(cfg, &s, c.roles)
		if err != nil || m.String() != c.want {
			t.Errorf("%s: %v, %v; want %s", c.name, m, err, c.want)
		}
	}
	s := onCUDA()
	if m, err := planGPU(cfg, &s, []string{RoleReward}); m != nil || err != nil {
		t.Errorf("rewards alone: %v, %v", m, err)
	}
	m, err := planGPU(cfg, &s, everything)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := m.check(139<<30, 140<<30, 0); err != nil || !strings.HasPrefix(line, "GPU: needs 30.2 of 139.0 GiB: weights 3.3, ") || !strings.HasSuffix(line, " GiB, in stage rl") {
		t.Errorf("%q, %v", line, err)
	}
	_, err = m.check(24<<30, 80<<30, 1<<30)
	if grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "stage rl: ") || !strings.Contains(err.Error(), "it would fit with trainer.recompute: true") || !strings.Contains(grouse.FixOf(err), "56.0 GiB of the GPU's 80.0 GiB are taken") {
		t.Errorf("24 GiB: %v; %s", err, grouse.FixOf(err))
	}
	s.Stages[0].Trainer.OffloadMoments = true
	if m, err = planGPU(cfg, &s, everything); err != nil {
		t.Fatal(err)
	}
	if line, err := m.check(139<<30, 140<<30, 5<<30); err != nil || !strings.HasSuffix(line, "GiB, in stage rl; moments in the host's memory 4.4 GiB") {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := m.check(139<<30, 140<<30, 4<<30); grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "the moments need 4.4 GiB of the host's memory, this machine has 4.0 GiB") || grouse.FixOf(err) == "" {
		t.Errorf("a small machine: %v; %s", err, grouse.FixOf(err))
	}
}

// Latent attention on its compressed cache keeps 576 numbers of a token and 128 of
// its indexer; the indexers alone are trained in a warm-up.
func TestPlanOfLatentAttention(t *testing.T) {
	cfg := model.Published("deepseek-ai/DeepSeek-V3.2")
	s := grouse.RunSpec{Stages: []grouse.Stage{{Kind: grouse.StageSFT, Trainer: grouse.TrainerSpec{MicroBatchTokens: 1024, TrainIndexer: grouse.IndexerWarmup}}}}
	m, err := planGPU(cfg, &s, everything)
	if err != nil {
		t.Fatal(err)
	}
	bytes := func(m *GPUMemory, name string) int64 {
		for _, p := range m.plan() {
			if p.Name == name {
				return p.Bytes
			}
		}
		return 0
	}
	indexers := int64(61 * (1536*64*128 + 7168*128 + 2*128 + 7168*64))
	if got := bytes(m, "moments"); got != 8*indexers {
		t.Errorf("moments of the indexers: %d bytes, want %d", got, 8*indexers)
	}
	s.Stages[0] = grouse.Stage{Kind: grouse.StageRejectionSampling, Rollout: grouse.RolloutSpec{MaxKVTokens: 1000}}
	if m, err = planGPU(cfg, &s, everything); err != nil {
		t.Fatal(err)
	}
	if got, want := bytes(m, "KV cache"), int64(1000*61*(576+128)*2); got != want {
		t.Errorf("compressed: %d bytes, want %d", got, want)
	}
	if got, want := bytes(m, "weights of the compressed cache"), int64(6*61*128*256*512); got != want {
		t.Errorf("derived weights: %d bytes, want %d", got, want)
	}
	chunk := bytes(m, "activations")
	s.Stages[0].Rollout.MaxPromptLength = 4096
	if m, err = planGPU(cfg, &s, everything); err != nil || bytes(m, "activations") != 4*chunk {
		t.Errorf("a prompt of 4096 tokens in one pass: %d bytes of activations, %d of 1024; %v", bytes(m, "activations"), chunk, err)
	}
	s.Stages[0].Rollout.KeepExact = true
	if m, err = planGPU(cfg, &s, everything); err != nil {
		t.Fatal(err)
	}
	if got, want := bytes(m, "KV cache"), int64(1000*61*(128*(192+128)+128)*2); got != want {
		t.Errorf("exact: %d bytes, want %d", got, want)
	}
}

// A process that computes on the processor has no plan, one whose model is not here none yet.
func TestNoPlan(t *testing.T) {
	home := t.TempDir()
	r, err := config.Load("quickstart", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if line, err := CheckGPU(r, home, everything, devices.CUDA); line != "" || err != nil {
		t.Errorf("the processor: %q, %v", line, err)
	}
	if m, err := PlanGPU(r, home, everything); m == nil || err != nil {
		t.Errorf("quickstart would need %v, %v", m, err)
	}
	away := &config.Resolved{Spec: onCUDA()}
	away.Spec.Model.Path = filepath.Join(home, "away")
	if line, err := CheckGPU(away, home, everything, ""); line != "" || err != nil {
		t.Errorf("no config.json: %q, %v", line, err)
	}
}

// recipeOf is onCUDA with a model of Qwen3-0.6B's sizes.
func recipeOf(t *testing.T) *config.Resolved {
	t.Helper()
	r := &config.Resolved{Spec: onCUDA()}
	r.Spec.Model.Path = t.TempDir()
	if err := os.WriteFile(filepath.Join(r.Spec.Model.Path, "config.json"), []byte(qwen06), 0o644); err != nil {
		t.Fatal(err)
	}
	return r
}

// Without a GPU the error is that of the device.
func TestAPlanNeedsTheDevice(t *testing.T) {
	want := devices.Check(devices.CUDA)
	if want == nil {
		return // TestTheGPUsMemoryDecides
	}
	r := recipeOf(t)
	if _, err := CheckGPU(r, "", everything, ""); err == nil || err.Error() != "trainer.backend: cuda: "+want.Error() || grouse.FixOf(err) != grouse.FixOf(want) {
		t.Errorf("%v", err)
	}
	if _, err := CheckGPU(r, "", []string{RoleRollout}, devices.CUDA); err == nil || err.Error() != "--device: cuda: "+want.Error() {
		t.Errorf("%v", err)
	}
	if _, err := CheckGPU(r, "", []string{RoleRollout}, devices.CPU); err != nil {
		t.Errorf("rollouts on the processor: %v", err)
	}
}
