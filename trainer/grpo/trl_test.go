package grpo_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

// testdata/trl.json is written by scripts/golden/grpo_trl.py: TRL's own
// GRPOTrainer._compute_loss with its gradient. The definitions coincide but for:
//   - sequence level: TRL weighs an unbiased KL by the sequence's ratio, we by the
//     token's (spec 1.6; no such case), and counts clips by sequences, we by tokens;
//   - clamps: TRL has none; no case reaches ours.
func TestLossAgainstTRL(t *testing.T) {
	data, err := os.ReadFile("testdata/trl.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Config struct {
				LossType   string `json:"loss_type"`
				Beta       float64
				Delta      *float64
				Level      string
				OPSM       *float64
				Bias       bool
				Correction bool
				EpsHigh    float64 `json:"eps_high"`
				ISCap      float64 `json:"is_cap"`
				MaxTokens  float64 `json:"max_tokens"`
			}
			Input struct {
				LP, Old, Roll, Ref, Mask [][]float64
				Advantages               []float64
			}
			Expected struct {
				Loss    float64
				Grad    [][]float64
				Metrics map[string]float64
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 50 {
		t.Fatalf("only %d cases", len(file.Cases))
	}
	dropped := 0
	for ci, c := range file.Cases {
		cfg := c.Config
		o := objective(t, func(a *grouse.Algorithm) {
			a.LossAggregation = map[string]string{"grpo": grouse.SeqMeanTokenMean, "dapo": grouse.TokenMean, "dr_grpo": grouse.SeqMeanTokenSumNorm}[cfg.LossType]
			a.LossNormTokens, a.EpsilonHigh, a.ImportanceSamplingLevel, a.OffPolicyMaskThreshold, a.PiOld = cfg.MaxTokens, cfg.EpsHigh, cfg.Level, cfg.OPSM, grouse.PiOldRecomputed
			if cfg.Delta != nil {
				a.Delta = *cfg.Delta
			}
			if a.KLEstimator = "k3"; cfg.Bias {
				a.KLEstimator = "k3_is"
			}
			if cfg.Correction {
				a.EngineCorrection = grouse.EngineCorrection{Mode: "token_truncate", Cap: cfg.ISCap}
			}
		})
		seqs := make([]grpo.Sequence[float64], len(c.Input.LP))
		for i := range seqs {
			s := &seqs[i]
			s.Advantage, s.Beta = c.Input.Advantages[i], cfg.Beta
			s.Logprobs, s.OldLogprobs, s.RolloutLogprobs, s.RefLogprobs = c.Input.LP[i], c.Input.Old[i], c.Input.Roll[i], c.Input.Ref[i]
			for _, m := range c.Input.Mask[i] {
				s.Mask = append(s.Mask, uint8(m))
			}
		}
		loss, grads, stats := evaluate(o, normalizers(seqs), seqs)
		if !closeTo(loss, c.Expected.Loss, 1e-9, 1e-12) {
			t.Errorf("case %d %+v: loss %v, TRL %v", ci, cfg, loss, c.Expected.Loss)
		}
		for i := range grads {
			for tok := range grads[i] {
				if !closeTo(grads[i][tok], c.Expected.Grad[i][tok], 1e-9, 1e-12) {
					t.Errorf("case %d %+v: gradient [%d][%d] %v, TRL %v", ci, cfg, i, tok, grads[i][tok], c.Expected.Grad[i][tok])
				}
			}
			if stats[i].Dropped {
				dropped++
			}
		}
		m := grpo.LossMetrics(stats)
		for key, want := range c.Expected.Metrics {
			if cfg.Level == grouse.LevelSequence && key != "kl" {
				continue
			}
			if got, ok := m[key]; !ok || !closeTo(got, want, 1e-9, 1e-12) {
				t.Errorf("case %d %+v: %s %v, TRL %v", ci, cfg, key, got, want)
			}
		}
	}
	if dropped == 0 {
		t.Error("no case masks a sequence")
	}
}
