package model_test

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

// Matrices, indexers, layers with experts and shapes from the config alone are those
// of the model.
func TestSizes(t *testing.T) {
	for _, family := range families {
		m := open(t, cpu.New(1), family)
		got, err := m.Config.Sizes()
		if err != nil {
			t.Fatal(err)
		}
		want := model.Sizes{Parameters: int64(m.Size()), ExpertLayers: m.MoELayers(), Attention: m.Caches(false).KeyValue, Latent: got.Latent}
		want.Attention.Scale = 0
		for _, p := range m.Params() {
			if p.In > 0 {
				want.Matrices += int64(p.Size())
			}
			if model.IndexerWeight(p) {
				want.Indexers += int64(p.Size())
			}
			want.HeadNorms = want.HeadNorms || strings.HasSuffix(p.Name, ".q_norm.weight")
			if strings.HasSuffix(p.Name, ".kv_b_proj.weight") {
				want.Absorbed += int64(p.Size())
			}
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", family, got, want)
		}
		if (got.Latent > 0) != m.Config.Latent() {
			t.Errorf("%s: %d numbers of latent attention", family, got.Latent)
		}
		for _, compressed := range []bool{false, true} {
			shapes, err := m.Config.Caches(compressed)
			want := m.Caches(compressed)
			want.KeyValue.Scale = 0
			if err != nil || shapes != want {
				t.Errorf("%s, compressed %v: %+v, %v; want %+v", family, compressed, shapes, err, want)
			}
		}
	}
}

// What the sizes give is what the weights are, and DeepSeek's published number.
func TestParameters(t *testing.T) {
	for _, family := range families {
		m := open(t, cpu.New(1), family)
		want := int64(0)
		for _, p := range m.Params() {
			n := int64(1)
			for _, d := range p.Shape() {
				n *= int64(d)
			}
			want += n
		}
		if got, err := m.Config.Parameters(); err != nil || got != want {
			t.Errorf("%s: %d parameters, %v; the model has %d", family, got, err, want)
		}
	}
	for name, want := range map[string]int64{"deepseek-ai/DeepSeek-V3-Base": 671_026_419_200, "deepseek-ai/DeepSeek-V3.2-Exp-Base@main": 671_026_419_200 + 61*(1536*64*128+7168*128+2*128+7168*64)} {
		if got, err := model.Published(name).Parameters(); err != nil || got != want {
			t.Errorf("%s: %d parameters, %v; want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"deepseek-ai/DeepSeek-V2", "deepseek-ai/deepseek-llm-7b-base", "Qwen/Qwen3-8B", ""} {
		if model.Published(name) != nil {
			t.Errorf("%s has published sizes", name)
		}
	}
}
