package trainer_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/trainer"
)

// torchFile is what scripts/golden/grpo_model.py writes.
type torchFile struct {
	Temperature float32
	Beta        map[string]float64
	Groups      []struct {
		Domain      string
		Prompt      []int32
		Completions []struct {
			IDs    []int32 `json:"ids"`
			Mask   []int
			Kept   [][]int32
			Reward float64
			Roll   []float32
		}
	}
	Cases map[string]struct {
		Config struct {
			PiOld      string `json:"pi_old"`
			Level      string
			Epsilon    float64
			High       float64 `json:"epsilon_high"`
			Delta      *float64
			Correction float64
			KL         string `json:"kl"`
			Agg        string
			Advantage  string
		}
		Loss    float64
		Dropped int
		Grads   map[string][5]float64
	}
}

// groups returns the batch as the trainer gets it.
func (f *torchFile) groups() []grouse.ScoredGroup {
	var out []grouse.ScoredGroup
	for c, g := range f.Groups {
		sg := grouse.ScoredGroup{Group: grouse.Group{Candidate: uint32(c), Prompt: grouse.Prompt{Domain: g.Domain, TokenIDs: g.Prompt},
			Sampling: grouse.Sampling{Temperature: f.Temperature, TopK: 7}}}
		for i, s := range g.Completions {
			r := grouse.Rollout{Sample: uint16(i), ResponseIDs: s.IDs, Logprobs: s.Roll, Finish: grouse.FinishStop}
			r.Kept.Offsets = []int32{0}
			for t, row := range s.Kept {
				r.Mask = append(r.Mask, uint8(s.Mask[t]))
				r.Kept.IDs = append(r.Kept.IDs, row...)
				r.Kept.Offsets = append(r.Kept.Offsets, int32(len(r.Kept.IDs)))
			}
			sg.Group.Rollouts = append(sg.Group.Rollouts, r)
			sg.Scores = append(sg.Scores, grouse.Score{Sample: uint16(i), Reward: &g.Completions[i].Reward, Outcome: grouse.Scored})
		}
		out = append(out, sg)
	}
	return out
}

// The gradient of the whole loss with respect to every parameter, through kept
// sets, masks, domains' KL and the model, is torch autograd's.
func TestLossGradientAgainstTorch(t *testing.T) {
	lossGradients(t, "testdata/grpo_model.json", 6) // scripts/golden/grpo_model.py
}

// So is, without kept sets, that of TRL's own loss.
func TestLossGradientAgainstTRL(t *testing.T) {
	lossGradients(t, "testdata/grpo_trl_model.json", 36) // scripts/golden/grpo_trl_model.py
}

func lossGradients(t *testing.T, path string, cases int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file torchFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	dropped := 0
	for name, c := range file.Cases {
		s := stage()
		s.Domains = nil
		for domain, beta := range file.Beta {
			s.Domains = append(s.Domains, grouse.Domain{Name: domain, Weight: 1, Beta: ptr(beta)})
		}
		a := &s.Algorithm
		a.PiOld, a.ImportanceSamplingLevel, a.Epsilon, a.EpsilonHigh, a.OffPolicyMaskThreshold = c.Config.PiOld, c.Config.Level, c.Config.Epsilon, c.Config.High, c.Config.Delta
		if c.Config.KL == "none" { // a strength needs an estimator
			for i := range s.Domains {
				s.Domains[i].Beta = ptr(0.0)
			}
		}
		a.KLEstimator, a.LossAggregation, a.LossNormTokens, a.Advantage, a.MiniBatches = c.Config.KL, c.Config.Agg, 50, c.Config.Advantage, 1
		if c.Config.Correction > 0 {
			a.EngineCorrection = grouse.EngineCorrection{Mode: "token_truncate", Cap: c.Config.Correction}
		}
		s.Trainer.MicroBatchTokens = 40
		policy, reference := open(t, 2, "qwen3"), open(t, 2, "llama3")
		tr, err := trainer.New(policy, s)
		if err != nil {
			t.Fatal(err)
		}
		tr.SetReference(reference)
		res, err := tr.Step(context.Background(), file.groups())
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Metrics["loss"]; !near(got, c.Loss, 1e-5, 1e-6) {
			t.Errorf("%s: loss %v, torch %v", name, got, c.Loss)
		}
		if got, want := res.Metrics["off_policy/masked_frac"], float64(c.Dropped)/12; got != want {
			t.Errorf("%s: masked %v, want %v", name, got, want)
		}
		dropped += c.Dropped
		seen := 0
		for _, p := range policy.Params() {
			want, ok := c.Grads[p.Name]
			if !ok {
				t.Fatalf("%s: torch has no %s", name, p.Name)
			}
			seen++
			got := projections(p.ReadBuffer(policy.Device(), p.Grad))
			for k := range got {
				if !near(got[k], want[k], 0, 1e-4*want[0]) {
					t.Errorf("%s: %s: projection %d of the gradient is %v, torch %v (norm %v)", name, p.Name, k, got[k], want[k], want[0])
				}
			}
		}
		if seen != len(c.Grads) {
			t.Errorf("%s: %d parameters, torch has %d", name, seen, len(c.Grads))
		}
	}
	if dropped == 0 || len(file.Cases) < cases {
		t.Errorf("%d cases mask %d sequences: the file tests too little", len(file.Cases), dropped)
	}
}

// projections are what the golden file keeps of a gradient.
func projections(g []float32) (out [5]float64) {
	for i, v := range g {
		out[0] += float64(v) * float64(v)
		for k := 1; k < 5; k++ {
			out[k] += float64(v) * math.Cos(0.37*float64(i+1)*float64(k))
		}
	}
	out[0] = math.Sqrt(out[0])
	return out
}

func near(got, want, rel, abs float64) bool { return math.Abs(got-want) <= rel*math.Abs(want)+abs }
