package model_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

var families = []string{"llama", "llama3", "qwen2", "qwen3", "qwen3moe", "qwen3moe-nonorm", "qwen3moe-one", "deepseek", "deepseek-plain", "deepseek-one", "deepseek-fp8", "deepseek-sparse"}

type golden struct {
	t *testing.T
	f *safetensors.File
}

func openGolden(t *testing.T, family string) golden {
	t.Helper()
	f, err := safetensors.Open(filepath.Join("testdata", family, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return golden{t, f}
}

func (g golden) floats(name string) []float32 {
	g.t.Helper()
	info, ok := g.f.Info(name)
	if !ok {
		g.t.Fatalf("golden file has no %q", name)
	}
	dst := make([]float32, info.Elems())
	if err := g.f.Float32(name, dst); err != nil {
		g.t.Fatal(err)
	}
	return dst
}

func (g golden) ids(name string) []int32 {
	var out []int32
	for _, v := range g.floats(name) {
		out = append(out, int32(v))
	}
	return out
}

func open(t *testing.T, dev tensor.Device, family string) *model.Model {
	t.Helper()
	m, err := model.Open(dev, filepath.Join("testdata", family))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// closeTo demands |got - want| <= tol * max|want|; a maximum under 0.1 counts as
// 0.1, for gradients that are 0 but for the other side's rounding.
func closeTo(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	top := 0.1
	for _, w := range want {
		top = max(top, math.Abs(float64(w)))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= tol*top) {
			t.Fatalf("%s: element %d: got %v want %v (largest %v)", what, i, got[i], w, top)
		}
	}
}

const B, T = 3, 40 // of the golden files

func batch(ids []int32) (*tensor.Seqs, []int32) {
	seqs := &tensor.Seqs{}
	for range B {
		seqs.Add(T, -1)
	}
	return seqs, seqs.Positions()
}

func TestLogitsAndGradientsAgreeWithTransformers(t *testing.T) {
	for _, family := range families {
		for _, mode := range []tensor.Mode{tensor.Train, tensor.Recompute} {
			t.Run(family, func(t *testing.T) {
				gold, dev := openGolden(t, family), cpu.New(2)
				m := open(t, dev, family)
				m.Trainable()
				ids, coef := gold.ids("ids"), gold.floats("coef")
				seqs, pos := batch(ids)
				g := tensor.NewGraph(dev, mode)
				h := m.Forward(g, model.Input{IDs: ids, Pos: pos, Attend: m.InBatch(g, seqs)})

				logits := make([]float32, len(ids)*m.Config.VocabSize)
				hv := make([]float32, h.Rows*h.Cols)
				dev.Read(hv, h.Data)
				w := m.Head().Read(dev)
				for i := range ids {
					for v := range m.Config.VocabSize {
						s := 0.0
						for k := range h.Cols {
							s += float64(hv[i*h.Cols+k]) * float64(w[v*h.Cols+k])
						}
						logits[i*m.Config.VocabSize+v] = float32(s)
					}
				}
				closeTo(t, "logits", logits, gold.floats("logits"), 2e-6)

				var targets []int32
				var coefs, lps []float32
				for b := range B {
					for i := range T {
						next, c := int32(0), float32(0)
						if i < T-1 {
							next, c = ids[b*T+i+1], coef[b*(T-1)+i]
						}
						targets, coefs = append(targets, next), append(coefs, c)
					}
				}
				lp := g.Logprob(h, m.Head(), &tensor.Targets{IDs: targets, Temperature: 1})
				for b := range B {
					lps = append(lps, lp.Values[b*T:b*T+T-1]...)
				}
				closeTo(t, "logprobs", lps, gold.floats("logprobs"), 1e-6)
				lp.Backward(coefs)
				m.FoldGrads()
				for _, p := range m.Params() {
					if p.Frozen {
						continue
					}
					closeTo(t, "gradient of "+p.Name, p.ReadBuffer(dev, p.Grad), gold.floats("grad."+p.Name), 1e-5)
				}
				g.Reset()
			})
		}
	}
}

func TestUnknownArchitectureIsNamed(t *testing.T) {
	raw, err := os.ReadFile("testdata/llama/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := model.ParseConfig(raw); err != nil {
		t.Fatal(err)
	}
	_, err = model.ParseConfig([]byte(`{"architectures":["GPT2LMHeadModel"]}`))
	if err == nil || err.Error() != `config.json: architecture "GPT2LMHeadModel" is not supported` {
		t.Fatal(err)
	}
}
