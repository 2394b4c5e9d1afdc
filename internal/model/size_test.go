package model_test

import (
	"testing"

	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

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
