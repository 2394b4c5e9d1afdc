package config_test

import (
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
