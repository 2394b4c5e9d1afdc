package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"github.com/grouse-rl/grouse"
)

// Config is what a Hugging Face config.json says of an architecture. Raw is the
// file as it was read, for checkpoints, without what their weights are not:
// quantized, or with modules for multi-token prediction.
type Config struct {
	Raw []byte `json:"-"`

	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`

	VocabSize        int     `json:"vocab_size"`
	HiddenSize       int     `json:"hidden_size"`
	IntermediateSize int     `json:"intermediate_size"`
	Layers           int     `json:"num_hidden_layers"`
	Heads            int     `json:"num_attention_heads"`
	KVHeads          int     `json:"num_key_value_heads"`
	HeadDim          int     `json:"head_dim"`
	MaxPositions     int     `json:"max_position_embeddings"`
	RMSEps           float64 `json:"rms_norm_eps"`
	TieEmbeddings    bool    `json:"tie_word_embeddings"`
	AttentionBias    *bool   `json:"attention_bias"`
	MLPBias          bool    `json:"mlp_bias"`
	HiddenAct        string  `json:"hidden_act"`
	InitRange        float64 `json:"initializer_range"`
	SlidingWindow    *int    `json:"sliding_window"`
	UseSlidingWindow *bool   `json:"use_sliding_window"`

	// Mixture of experts. Qwen's names, then DeepSeek's.
	Experts          int     `json:"num_experts"`
	LocalExperts     int     `json:"num_local_experts"` // transformers' other name of it
	ExpertsPerToken  int     `json:"num_experts_per_tok"`
	ExpertSize       int     `json:"moe_intermediate_size"`
	NormTopK         *bool   `json:"norm_topk_prob"` // Qwen: false unless given; DeepSeek: true
	SparseStep       int     `json:"decoder_sparse_step"`
	DenseLayers      []int   `json:"mlp_only_layers"`
	RoutedExperts    int     `json:"n_routed_experts"`
	SharedExperts    int     `json:"n_shared_experts"`
	Groups           int     `json:"n_group"`
	TopGroups        int     `json:"topk_group"`
	RoutedScale      float64 `json:"routed_scaling_factor"`
	FirstDenseLayers int     `json:"first_k_dense_replace"`
	MoEFrequency     int     `json:"moe_layer_freq"`
	ScoringFunc      string  `json:"scoring_func"`
	MTPLayers        int     `json:"num_nextn_predict_layers"` // their weights are read over

	// Multi-head latent attention.
	QRank          int   `json:"q_lora_rank"` // 0: queries are not compressed
	KVRank         int   `json:"kv_lora_rank"`
	NopeDim        int   `json:"qk_nope_head_dim"`
	RopeDim        int   `json:"qk_rope_head_dim"`
	ValueDim       int   `json:"v_head_dim"`
	RopeInterleave *bool `json:"rope_interleave"` // nil: true

	// DeepSeek sparse attention.
	IndexHeads int `json:"index_n_heads"`
	IndexDim   int `json:"index_head_dim"`
	IndexTopK  int `json:"index_topk"`

	Quantization *Quantization `json:"quantization_config"`

	RopeTheta      float64         `json:"rope_theta"`
	RopeScaling    json.RawMessage `json:"rope_scaling"`
	RopeParameters json.RawMessage `json:"rope_parameters"` // transformers 5 puts both into one object
	Rope           RopeConfig      `json:"-"`

	BOS json.RawMessage `json:"bos_token_id"`
	EOS json.RawMessage `json:"eos_token_id"` // an id or a list of ids
	PAD json.RawMessage `json:"pad_token_id"`
}

// Quantization says how the files' weights are stored. Only FP8 in blocks is read.
type Quantization struct {
	Method string `json:"quant_method"`
	Block  []int  `json:"weight_block_size"` // rows and columns that share a scale
}

// RopeConfig is rope_scaling / rope_parameters, whichever the file has.
type RopeConfig struct {
	Theta           float64 `json:"rope_theta"`
	Type            string  `json:"rope_type"`
	LegacyType      string  `json:"type"`
	Factor          float64 `json:"factor"`
	LowFreqFactor   float64 `json:"low_freq_factor"`
	HighFreqFactor  float64 `json:"high_freq_factor"`
	OriginalMax     int     `json:"original_max_position_embeddings"`
	BetaFast        float64 `json:"beta_fast"`
	BetaSlow        float64 `json:"beta_slow"`
	MScale          float64 `json:"mscale"`
	MScaleAllDim    float64 `json:"mscale_all_dim"`
	AttentionFactor float64 `json:"attention_factor"`
	Truncate        *bool   `json:"truncate"`
}

// maxConfig bounds config.json and every size in it: no allocation follows from
// an unchecked number.
const (
	maxConfig = 1 << 20
	maxDim    = 1 << 20
	maxLayers = 1 << 10
	maxVocab  = 1 << 24
)

// ParseConfig reads config.json.
func ParseConfig(raw []byte) (*Config, error) {
	if len(raw) > maxConfig {
		return nil, grouse.Errorf(grouse.Invalid, "config.json: %d bytes, at most %d are read", len(raw), maxConfig)
	}
	c := &Config{Raw: bytes.Clone(raw), RMSEps: 1e-6, InitRange: 0.02, HiddenAct: "silu"}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "config.json: %w", err)
	}
	f, err := c.family()
	if err != nil {
		return nil, err
	}
	if err := c.parseRope(); err != nil {
		return nil, err
	}
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.HeadDim == 0 && c.Heads > 0 {
		c.HeadDim = c.HiddenSize / c.Heads
	}
	if c.Experts == 0 {
		c.Experts = max(c.LocalExperts, c.RoutedExperts)
	}
	if f.mla {
		c.HeadDim = c.RopeDim
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := f.check(c); err != nil {
		return nil, err
	}
	if q := c.Quantization; q != nil && (q.Method != "fp8" || len(q.Block) != 2 || q.Block[0] < 1 || q.Block[1] < 1) {
		return nil, grouse.Errorf(grouse.Invalid, "config.json: quantization %q in blocks of %v is not supported, supported: fp8 in blocks of rows and columns", q.Method, q.Block)
	}
	if c.Quantization != nil || c.MTPLayers > 0 {
		return c, c.cleanRaw()
	}
	return c, nil
}

func (c *Config) cleanRaw() error {
	var raw map[string]any
	d := json.NewDecoder(bytes.NewReader(c.Raw))
	d.UseNumber()
	if err := d.Decode(&raw); err != nil {
		return grouse.Errorf(grouse.Invalid, "config.json: %w", err)
	}
	delete(raw, "quantization_config")
	raw["num_nextn_predict_layers"] = 0
	out, err := json.MarshalIndent(raw, "", "  ")
	c.Raw = append(out, '\n')
	return err
}

func (c *Config) parseRope() error {
	c.Rope = RopeConfig{Theta: c.RopeTheta}
	for key, raw := range map[string]json.RawMessage{"rope_scaling": c.RopeScaling, "rope_parameters": c.RopeParameters} {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		if err := json.Unmarshal(raw, &c.Rope); err != nil {
			return grouse.Errorf(grouse.Invalid, "config.json: %s: %w", key, err)
		}
	}
	if c.Rope.Type == "" {
		c.Rope.Type = c.Rope.LegacyType
	}
	if c.Rope.Theta == 0 {
		c.Rope.Theta = 10000
	}
	return nil
}

func (c *Config) check() error {
	for _, f := range []struct {
		key       string
		v, lo, hi int
	}{
		{"vocab_size", c.VocabSize, 1, maxVocab},
		{"hidden_size", c.HiddenSize, 1, maxDim},
		{"intermediate_size", c.IntermediateSize, 1, maxDim},
		{"num_hidden_layers", c.Layers, 1, maxLayers},
		{"num_attention_heads", c.Heads, 1, 1 << 12},
		{"num_key_value_heads", c.KVHeads, 1, 1 << 12},
		{"head_dim", c.HeadDim, 2, 1 << 12},
	} {
		if f.v < f.lo || f.v > f.hi {
			return grouse.Errorf(grouse.Invalid, "config.json: %s is %d, want %d to %d", f.key, f.v, f.lo, f.hi)
		}
	}
	switch {
	case c.Heads%c.KVHeads != 0:
		return grouse.Errorf(grouse.Invalid, "config.json: num_attention_heads %d is not a multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	case c.HeadDim%2 != 0:
		return grouse.Errorf(grouse.Invalid, "config.json: head_dim %d is odd: rotary embeddings need pairs", c.HeadDim)
	case c.HiddenAct != "silu":
		return grouse.Errorf(grouse.Invalid, "config.json: hidden_act %q, supported: silu", c.HiddenAct)
	case c.MLPBias:
		return grouse.Errorf(grouse.Invalid, "config.json: mlp_bias is not supported")
	case c.SlidingWindow != nil && (c.UseSlidingWindow == nil || *c.UseSlidingWindow) && *c.SlidingWindow < c.MaxPositions:
		return grouse.Errorf(grouse.Invalid, "config.json: sliding-window attention (%d of %d positions) is not supported", *c.SlidingWindow, c.MaxPositions)
	case !(c.RMSEps > 0) || math.IsInf(c.RMSEps, 0):
		return grouse.Errorf(grouse.Invalid, "config.json: rms_norm_eps is %v", c.RMSEps)
	}
	_, _, err := c.invFreq(c.HeadDim)
	return err
}

// EndIDs returns eos_token_id, which may be one id or several.
func (c *Config) EndIDs() []int32 { return ids(c.EOS) }

// ids reads an id or a list of ids; null and anything else give none.
func ids(raw json.RawMessage) []int32 {
	var one int32
	var many []int32
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, &one) == nil {
		return []int32{one}
	}
	if json.Unmarshal(raw, &many) == nil {
		return many
	}
	return nil
}

func (c *Config) String() string {
	return fmt.Sprintf("%s, %d layers of width %d", c.ModelType, c.Layers, c.HiddenSize)
}
