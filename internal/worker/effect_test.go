package worker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
)

// transformers refuses a config whose float is written as a whole number.
func TestFloatsOfATinyConfigStayFloats(t *testing.T) {
	cfg, _, _, err := tinyConfig(grouse.ModelSpec{Tiny: map[string]any{"architectures": []any{"LlamaForCausalLM"}, "hidden_size": 16, "intermediate_size": 16,
		"num_hidden_layers": 1, "num_attention_heads": 1, "rope_theta": float64(10000), "tokenizer": map[string]any{"characters": "01"}}})
	if err != nil || !strings.Contains(string(cfg.Raw), `"rope_theta": 10000.0`) {
		t.Errorf("%v: %s", err, cfg.Raw)
	}
}

func TestSettingsThatTheModelHasNoUseFor(t *testing.T) {
	const dense = `architectures: [LlamaForCausalLM], hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 1`
	const sparse = `architectures: [Qwen3MoeForCausalLM], hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 1, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 16`
	for _, c := range []struct {
		model, more string
		refused     bool
	}{
		{dense, "", false}, {dense, "preset: v32", false}, {dense, "rollout: {keep_exact: false}", true}, {dense, "rollout: {keep_exact: true}", false}, {dense, "algorithm: {keep_routing: false}", false},
		{dense, "algorithm: {keep_routing: true}", true}, {dense, "algorithm: {reference_routing: true}", true},
		{sparse, "algorithm: {keep_routing: true, reference_routing: true}", false},
	} {
		recipe := fmt.Sprintf("name: x\nmodel: {tiny: {%s, tokenizer: {characters: \"01\", special: [\"<x>\"]}}}\ndomains: {a: {data: x.jsonl, rewards: [math]}}\n%s\n", c.model, c.more)
		r, err := config.Parse([]byte(recipe), "x.yaml", config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = CheckEffect(r, t.TempDir())
		if (err != nil) != c.refused || (err != nil && (grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "")) {
			t.Errorf("%s with %q: %v", c.model[:30], c.more, err)
		}
		saved, err := r.Save()
		if err != nil {
			t.Fatal(err)
		}
		if r, err = config.Parse(saved, "recipe.yaml", config.Options{}); err != nil {
			t.Fatal(err)
		}
		if err := CheckEffect(r, t.TempDir()); err != nil {
			t.Errorf("the resolved recipe of %q: %v", c.more, err)
		}
	}
}
