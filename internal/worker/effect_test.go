package worker

import (
	"fmt"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
)

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
