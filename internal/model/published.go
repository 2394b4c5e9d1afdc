package model

import "strings"

// The sizes of published models that are too big to fetch before one knows whether they
// fit: DeepSeek-V3 and what was trained from it (arXiv:2412.19437, section 4.2), V3.2
// with its indexers (arXiv:2512.02556, section 2.1).
const (
	deepseekV3 = `"vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61, "num_attention_heads": 128,
		"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "first_k_dense_replace": 3,
		"n_routed_experts": 256, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "n_shared_experts": 1, "moe_intermediate_size": 2048,
		"max_position_embeddings": 163840`
	deepseekV3Config  = `{"architectures": ["DeepseekV3ForCausalLM"], ` + deepseekV3 + `}`
	deepseekV32Config = `{"architectures": ["DeepseekV32ForCausalLM"], ` + deepseekV3 + `, "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048}`
)

// Published returns the config of a model of the hub whose sizes are known without its
// files, nil for others. It knows sizes only: whoever has the files reads those.
func Published(repo string) *Config {
	name, ok := strings.CutPrefix(repo, "deepseek-ai/DeepSeek-")
	if !ok {
		return nil
	}
	name, _, _ = strings.Cut(name, "@")
	raw := ""
	switch name {
	case "V3", "V3-Base", "V3-0324", "R1", "R1-Zero", "R1-0528", "V3.1", "V3.1-Base", "V3.1-Terminus":
		raw = deepseekV3Config
	case "V3.2-Exp", "V3.2-Exp-Base", "V3.2", "V3.2-Speciale":
		raw = deepseekV32Config
	default:
		return nil
	}
	c, err := ParseConfig([]byte(raw))
	if err != nil {
		panic(err) // the table is wrong
	}
	return c
}
