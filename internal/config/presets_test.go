package config_test

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
)

// The presets' numbers, each from its paper (docs/algorithms.md names the sources).
func TestPaperPresets(t *testing.T) {
	type row struct {
		g                int
		advantage, agg   string
		low, high, delta float64
		level, pi, kl    string
		beta, mask, lr   float64 // mask -1: none
		updates, sync    int
		correction       string
		cap              float64
		filter           string
	}
	v32 := row{16, "mean_std", "seq_mean_token_mean", 0.2, 0.2, 0, "token", "rollout", "k3_is", 0.001, 0.1, 3e-6, 1, 0, "none", 0, "total"}
	report := v32
	report.advantage = "mean"
	zero := row{16, "mean_std", "seq_mean_token_mean", 10, 10, 0, "token", "rollout", "k3", 0.001, -1, 3e-6, 16, 25, "none", 0, "none"}
	for name, want := range map[string]row{
		"v32": v32, "v32_report": report, "speciale": v32, "r1_zero": zero, "r1_stage2": zero,
		"deepseekmath": {64, "mean_std", "seq_mean_token_mean", 0.2, 0.2, 0, "token", "rollout", "k3", 0.04, -1, 1e-6, 1, 0, "none", 0, "none"},
		"dapo":         {16, "mean_std", "token_mean", 0.2, 0.28, 0, "token", "rollout", "none", 0, -1, 1e-6, 16, 0, "none", 0, "outcome"},
		"dr_grpo":      {8, "mean", "seq_mean_token_sum_norm", 0.2, 0.2, 0, "token", "rollout", "none", 0, -1, 1e-6, 1, 0, "none", 0, "none"},
		"gspo":         {16, "mean_std", "seq_mean_token_mean", 3e-4, 4e-4, 0, "sequence", "rollout", "none", 0, -1, 1e-6, 4, 0, "none", 0, "none"},
		"olmo3":        {8, "mean", "token_mean", 0.2, 0.272, 0, "token", "recomputed", "none", 0, -1, 1e-6, 1, 0, "token_truncate", 2, "total"},
	} {
		r, err := config.Parse([]byte("preset: "+name+"\nsteps: 2\n"+small), "r.yaml", config.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := r.Spec.Stages[0]
		a := s.Algorithm
		got := row{s.Rollout.NumGenerations, a.Advantage, a.LossAggregation, a.Epsilon, a.EpsilonHigh, a.Delta, a.ImportanceSamplingLevel, a.PiOld, a.KLEstimator,
			a.Beta, -1, s.Trainer.LearningRate, a.Updates(), a.RefModelSyncSteps, a.EngineCorrection.Mode, a.EngineCorrection.Cap, a.FilterGroups}
		if a.OffPolicyMaskThreshold != nil {
			got.mask = *a.OffPolicyMaskThreshold
		}
		if (name == "v32" || name == "v32_report" || name == "speciale") && !(a.KeepRouting && a.KeepSamplingMask) {
			t.Errorf("%s: keep_routing %v, keep_sampling_mask %v: V3.2 keeps both", name, a.KeepRouting, a.KeepSamplingMask)
		}
		if got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
		if name == "dr_grpo" && a.LossNormTokens != 3000 {
			t.Errorf("dr_grpo: L is %v, want 3000 tokens", a.LossNormTokens)
		}
		if a.Advantage == grouse.AdvantageMeanStd && (a.AdvantageDDoF != 1 || a.AdvantageEps != 1e-6) {
			t.Errorf("%s: ddof %d, eps %v", name, a.AdvantageDDoF, a.AdvantageEps)
		}
	}
	if n := len(config.Presets()); n != 10 {
		t.Errorf("%d presets, this test knows 10", n)
	}
}

// The two stages that make a dense model a sparse one are sft stages with V3.2-Exp's
// numbers (section 2.2), each of which the recipe may override but one.
func TestSparseAttentionStages(t *testing.T) {
	load := func(recipe string) (*config.Resolved, error) {
		return config.Parse([]byte("model: ./m\nstages:\n"+recipe), "r.yaml", config.Options{})
	}
	r, err := load(`  - {kind: dsa_warmup, domains: {text: {data: x.jsonl}}}
  - {kind: dsa_sparse, name: second, steps: 7, sft: {batch_size: 3}, domains: {text: {data: x.jsonl}}}
`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		name         string
		steps, batch int
		lr           float64
		indexer      string
	}{{"dsa-warmup", 1000, 16, 1e-3, grouse.IndexerWarmup}, {"second", 7, 3, 7.3e-6, grouse.IndexerSparse}} {
		s := r.Spec.Stages[i]
		if s.Name != want.name || s.Kind != grouse.StageSFT || s.Steps != want.steps || s.SFT.BatchSize != want.batch || s.SFT.MaxLength != 131072 ||
			s.Trainer.LearningRate != want.lr || s.Trainer.TrainIndexer != want.indexer {
			t.Errorf("stage %d: %+v, want %+v", i, s, want)
		}
	}
	if _, err := load("  - {kind: dsa_warmup, trainer: {train_indexer: sparse}, domains: {text: {data: x.jsonl}}}\n"); err == nil || grouse.FixOf(err) != "remove it, or set kind: sft" {
		t.Errorf("another mode: %v", err)
	}
	if _, err := load("  - {kind: dsa_warm, domains: {text: {data: x.jsonl}}}\n"); err == nil || !strings.Contains(grouse.FixOf(err), "dsa_warmup") {
		t.Errorf("a misspelt kind: %v (%s)", err, grouse.FixOf(err))
	}
}
