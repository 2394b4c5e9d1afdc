package model

import (
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
)

// family is how an architecture differs from Llama.
type family struct {
	architecture, modelType string
	qkvBias                 bool // biases on q, k and v (unless attention_bias says otherwise)
	qkNorm                  bool // RMSNorm over each head of q and k before RoPE
	experts                 bool // mixture-of-experts layers
	mla                     bool // latent attention, and DeepSeek's router
	dsa                     bool // sparse attention by a lightning indexer
}

var families = []family{
	{architecture: "LlamaForCausalLM", modelType: "llama"},
	{architecture: "MistralForCausalLM", modelType: "mistral"},
	{architecture: "Qwen2ForCausalLM", modelType: "qwen2", qkvBias: true},
	{architecture: "Qwen3ForCausalLM", modelType: "qwen3", qkNorm: true},
	{architecture: "Qwen3MoeForCausalLM", modelType: "qwen3_moe", qkNorm: true, experts: true},
	{architecture: "DeepseekV3ForCausalLM", modelType: "deepseek_v3", experts: true, mla: true},
	{architecture: "DeepseekV32ForCausalLM", modelType: "deepseek_v32", experts: true, mla: true, dsa: true},
}

// ModelType returns the model_type that transformers goes by for an architecture,
// "" if it is not known.
func ModelType(architecture string) string {
	for _, f := range families {
		if f.architecture == architecture {
			return f.modelType
		}
	}
	return ""
}

// family finds the architecture.
func (c *Config) family() (family, error) {
	name := c.ModelType
	if len(c.Architectures) > 0 {
		name = c.Architectures[0]
	}
	for _, f := range families {
		if name == f.architecture || (len(c.Architectures) == 0 && name == f.modelType) {
			return f, nil
		}
	}
	var known []string
	for _, f := range families {
		known = append(known, f.architecture)
	}
	return family{}, grouse.Errorf(grouse.Invalid, "config.json: architecture %q is not supported", name).
		WithFix("supported: %s", strings.Join(known, ", "))
}

// check checks the sizes that only this family has, and fills in defaults.
func (f family) check(c *Config) error {
	type size struct {
		key       string
		v, lo, hi int
	}
	var sizes []size
	if f.experts {
		sizes = append(sizes, size{"num_experts", c.Experts, 1, 1 << 15}, size{"num_experts_per_tok", c.ExpertsPerToken, 1, c.Experts},
			size{"moe_intermediate_size", c.ExpertSize, 1, maxDim}, size{"n_shared_experts", c.SharedExperts, 0, 1 << 8})
	}
	if f.mla {
		sizes = append(sizes, size{"q_lora_rank", c.QRank, 0, maxDim}, size{"kv_lora_rank", c.KVRank, 1, maxDim}, size{"qk_nope_head_dim", c.NopeDim, 1, 1 << 12},
			size{"qk_rope_head_dim", c.RopeDim, 2, 1 << 12}, size{"v_head_dim", c.ValueDim, 1, 1 << 12}, size{"first_k_dense_replace", c.FirstDenseLayers, 0, maxLayers})
	}
	if f.dsa {
		sizes = append(sizes, size{"q_lora_rank", c.QRank, 1, maxDim}, size{"index_n_heads", c.IndexHeads, 1, 1 << 12},
			size{"index_head_dim", c.IndexDim, c.RopeDim, 1 << 12}, size{"index_topk", c.IndexTopK, 1, 1 << 24})
	}
	for _, s := range sizes {
		if s.v < s.lo || s.v > s.hi {
			return grouse.Errorf(grouse.Invalid, "config.json: %s is %d, want %d to %d", s.key, s.v, s.lo, s.hi)
		}
	}
	switch {
	case c.ScoringFunc != "" && c.ScoringFunc != "sigmoid":
		return grouse.Errorf(grouse.Invalid, "config.json: scoring_func %q is not supported, supported: sigmoid", c.ScoringFunc)
	case f.mla && c.MoEFrequency > 1:
		return grouse.Errorf(grouse.Invalid, "config.json: moe_layer_freq %d is not supported, supported: 1", c.MoEFrequency)
	case f.mla && c.Groups > 1 && (c.Experts%c.Groups != 0 || c.TopGroups < 1 || c.TopGroups > c.Groups || c.TopGroups*(c.Experts/c.Groups) < c.ExpertsPerToken):
		return grouse.Errorf(grouse.Invalid, "config.json: %d experts in %d groups, %d of them from %d groups", c.Experts, c.Groups, c.ExpertsPerToken, c.TopGroups)
	}
	return nil
}

// biases reports whether q, k and v of dense attention have biases, and its output.
func (f family) biases(c *Config) (qkv, out bool) {
	if c.AttentionBias != nil && (f.modelType == "llama" || f.modelType == "qwen3_moe") {
		return *c.AttentionBias, *c.AttentionBias
	}
	return f.qkvBias, false
}

// sparse reports whether layer l has experts.
func (f family) sparse(c *Config, l int) bool {
	switch {
	case !f.experts:
		return false
	case f.mla:
		return l >= c.FirstDenseLayers
	}
	return !slices.Contains(c.DenseLayers, l) && (l+1)%max(c.SparseStep, 1) == 0
}

// Sparse reports whether the architecture has layers with experts.
func (c *Config) Sparse() bool {
	f, err := c.family()
	return err == nil && f.experts
}

// Latent reports whether the architecture has latent attention, whose keys and
// values may be cached in compressed form.
func (c *Config) Latent() bool {
	f, err := c.family()
	return err == nil && f.mla
}

// Indexed reports whether the architecture has lightning indexers.
func (c *Config) Indexed() bool {
	f, err := c.family()
	return err == nil && f.dsa
}
