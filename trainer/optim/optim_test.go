package optim_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/trainer/optim"
)

// golden is testdata/optim.json, written by scripts/golden/optim.py.
type golden struct {
	AdamW []struct {
		WeightDecay float64 `json:"weight_decay"`
		MaxGradNorm float64 `json:"max_grad_norm"`
		Beta1       float64
		Beta2       float64
		Eps, LR     float64
		Matrix      []float32
		Bias        []float32
		Steps       []struct {
			MatrixGrad []float32 `json:"matrix_grad"`
			BiasGrad   []float32 `json:"bias_grad"`
			Norm       float64
			Matrix     []float64
			Bias       []float64
		}
	}
	Schedules []struct {
		Kind          string
		Warmup, Total int
		LR            float64
		Rates         []float64
	}
}

func load(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/optim.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.AdamW) == 0 || len(g.Schedules) == 0 {
		t.Fatal("testdata/optim.json holds no cases")
	}
	return g
}

func TestAdamWAgainstTorch(t *testing.T) {
	for ci, c := range load(t).AdamW {
		spec := &grouse.TrainerSpec{LearningRate: c.LR, Schedule: "constant", Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps, WeightDecay: c.WeightDecay, MaxGradNorm: c.MaxGradNorm}
		var s optim.State
		mm, mv := make([]float32, len(c.Matrix)), make([]float32, len(c.Matrix))
		bm, bv := make([]float32, len(c.Bias)), make([]float32, len(c.Bias))
		for si, st := range c.Steps {
			norm := math.Sqrt(optim.SumSquares(st.MatrixGrad) + optim.SumSquares(st.BiasGrad))
			if math.Abs(norm-st.Norm) > 1e-6*st.Norm {
				t.Errorf("case %d step %d: norm %v, torch %v", ci, si, norm, st.Norm)
			}
			step, ok := s.Next(spec, 100, norm)
			if !ok {
				t.Fatalf("case %d step %d: skipped", ci, si)
			}
			optim.Update(step.Coefficients(optim.Decays("w.weight", []int{3, 4})), c.Matrix, st.MatrixGrad, mm, mv)
			optim.Update(step.Coefficients(optim.Decays("w.bias", []int{5})), c.Bias, st.BiasGrad, bm, bv)
			for i, want := range append(st.Matrix, st.Bias...) {
				got := append(append([]float32(nil), c.Matrix...), c.Bias...)[i]
				if math.Abs(float64(got)-want) > 2e-6*math.Abs(want)+2e-7 { // float32 against float64 over a few steps
					t.Errorf("case %d step %d parameter %d: %v, torch %v", ci, si, i, got, want)
				}
			}
		}
	}
}

// The decay is transformers'; the warm-up is theirs one update earlier.
func TestSchedulesAgainstTransformers(t *testing.T) {
	for _, c := range load(t).Schedules {
		spec := &grouse.TrainerSpec{LearningRate: c.LR, Schedule: c.Kind, WarmupSteps: c.Warmup}
		for u := range c.Total {
			want := c.Rates[u]
			if u < c.Warmup {
				want = c.Rates[u+1]
			}
			if got := optim.LearningRate(spec, int64(u), int64(c.Total)); math.Abs(got-want) > 1e-15*c.LR {
				t.Errorf("%s, warm-up %d of %d, update %d: %v, want %v", c.Kind, c.Warmup, c.Total, u, got, want)
			}
		}
	}
}

func TestScheduleEnds(t *testing.T) {
	for _, c := range []struct {
		kind          string
		update, total int64
		want          float64
	}{{"constant", 0, 10, 1}, {"constant", 99, 10, 1}, {"linear", 10, 10, 0.1}, {"cosine", 99, 10, 0.1}, {"cosine", 5, 10, 0.55}, {"linear", 0, 10, 1}} {
		spec := &grouse.TrainerSpec{LearningRate: 1, Schedule: c.kind, MinLRRatio: 0.1}
		if got := optim.LearningRate(spec, c.update, c.total); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s, update %d of %d: %v, want %v", c.kind, c.update, c.total, got, c.want)
		}
	}
	if got := optim.LearningRate(&grouse.TrainerSpec{LearningRate: 1, Schedule: "linear", WarmupSteps: 20}, 19, 10); got != 1 {
		t.Errorf("warm-up longer than the run: rate %v at its end, want 1", got)
	}
}

func TestDecays(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape []int
		want  bool
	}{
		{"model.layers.0.mlp.up_proj.weight", []int{8, 4}, true}, {"model.embed_tokens.weight", []int{100, 4}, true}, {"lm_head.weight", []int{100, 4}, true},
		{"model.layers.0.input_layernorm.weight", []int{4}, false}, {"model.norm.weight", []int{4}, false}, {"model.layers.0.self_attn.q_norm.weight", []int{4}, false},
		{"model.layers.0.self_attn.q_proj.bias", []int{4}, false}, {"model.layers.3.mlp.gate.e_score_correction_bias", []int{256}, false},
		{"odd.layernorm.weight", []int{4, 1}, false},
	} {
		if got := optim.Decays(c.name, c.shape); got != c.want {
			t.Errorf("Decays(%s, %v) = %v, want %v", c.name, c.shape, got, c.want)
		}
	}
}

func TestNonFiniteGradientsAreSkipped(t *testing.T) {
	spec := &grouse.TrainerSpec{LearningRate: 1, Schedule: "linear", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxSkipped: 2}
	var s optim.State
	if step, ok := s.Next(spec, 10, 1); !ok || step.T != 1 || step.LearningRate != 1 {
		t.Errorf("first update: %+v, %v", step, ok)
	}
	for i, norm := range []float64{math.NaN(), math.Inf(1)} {
		if s.TooManySkipped(spec) {
			t.Errorf("paused after %d", i)
		}
		if _, ok := s.Next(spec, 10, norm); ok {
			t.Errorf("a norm of %v was applied", norm)
		}
	}
	if !s.TooManySkipped(spec) {
		t.Error("two in a row did not pause the run")
	}
	step, ok := s.Next(spec, 10, 1)
	if !ok || step.T != 2 || math.Abs(step.LearningRate-0.7) > 1e-15 || s.TooManySkipped(spec) {
		t.Errorf("after the skips: %+v, state %+v: t counts applied updates, the schedule all of them", step, s)
	}
	if s != (optim.State{Updates: 4, Applied: 2, Skipped: 2}) {
		t.Errorf("state %+v", s)
	}
}

func TestClipScale(t *testing.T) {
	for _, c := range []struct{ norm, max, want float64 }{{0.5, 1, 1}, {4, 1, 1 / (4 + 1e-6)}, {4, 0, 1}, {0, 1, 1}} {
		if got := optim.ClipScale(c.norm, c.max); got != c.want {
			t.Errorf("ClipScale(%v, %v) = %v, want %v", c.norm, c.max, got, c.want)
		}
	}
}
