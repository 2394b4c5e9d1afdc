package model

import (
	"fmt"
	"math"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// The dense decoders: Llama and what differs from it by a bias or a norm (spec
// section 10.1). A block is
//
//	h = x + Attn(RMSNorm(x)),  y = h + Down(silu(Gate n) * Up n),  n = RMSNorm(h)

type family struct {
	architecture, modelType string
	qkvBias                 bool // biases on q, k and v (unless attention_bias says otherwise)
	qkNorm                  bool // RMSNorm over each head of q and k before RoPE
}

var families = []family{
	{architecture: "LlamaForCausalLM", modelType: "llama"},
	{architecture: "MistralForCausalLM", modelType: "mistral"},
	{architecture: "Qwen2ForCausalLM", modelType: "qwen2", qkvBias: true},
	{architecture: "Qwen3ForCausalLM", modelType: "qwen3", qkNorm: true},
}

type denseLayer struct {
	inputNorm, postNorm *tensor.Param
	q, k, v, o          *tensor.Param
	qBias, kBias, vBias *tensor.Param // nil without biases
	oBias               *tensor.Param
	qNorm, kNorm        *tensor.Param // nil without norms
	gate, up, down      *tensor.Param
}

// Model is a decoder-only transformer.
type Model struct {
	Config *Config
	dev    tensor.Device
	embed  *tensor.Param // [vocab, d]
	norm   *tensor.Param
	head   *tensor.Param // [vocab, d]; embed if they are tied
	layers []denseLayer
	rope   *tensor.RopeTable
	shape  tensor.AttentionShape
	params []*tensor.Param // in the order of the files' names
}

// New makes the model that cfg describes, its weights zero.
func New(dev tensor.Device, cfg *Config) (*Model, error) {
	f, err := cfg.family()
	if err != nil {
		return nil, err
	}
	inv, err := cfg.invFreq(cfg.HeadDim)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: cfg, dev: dev, rope: tensor.NewRopeTable(inv, 1)}
	m.shape = tensor.AttentionShape{
		Heads: cfg.Heads, KVHeads: cfg.KVHeads, KeyDim: cfg.HeadDim, ValueDim: cfg.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(cfg.HeadDim))),
	}
	param := func(name string, out, in int) *tensor.Param {
		p := tensor.NewParam(dev, name, out, in)
		m.params = append(m.params, p)
		return p
	}
	d, qd, kd := cfg.HiddenSize, cfg.Heads*cfg.HeadDim, cfg.KVHeads*cfg.HeadDim
	m.embed = param("model.embed_tokens.weight", cfg.VocabSize, d)
	bias, oBias := f.qkvBias, false
	if cfg.AttentionBias != nil && f.modelType == "llama" {
		bias, oBias = *cfg.AttentionBias, *cfg.AttentionBias
	}
	for i := range cfg.Layers {
		name := func(s string) string { return fmt.Sprintf("model.layers.%d.%s", i, s) }
		vec := func(on bool, s string, n int) *tensor.Param {
			if !on {
				return nil
			}
			return param(name(s), n, 0)
		}
		m.layers = append(m.layers, denseLayer{
			inputNorm: param(name("input_layernorm.weight"), d, 0),
			q:         param(name("self_attn.q_proj.weight"), qd, d),
			qBias:     vec(bias, "self_attn.q_proj.bias", qd),
			k:         param(name("self_attn.k_proj.weight"), kd, d),
			kBias:     vec(bias, "self_attn.k_proj.bias", kd),
			v:         param(name("self_attn.v_proj.weight"), kd, d),
			vBias:     vec(bias, "self_attn.v_proj.bias", kd),
			qNorm:     vec(f.qkNorm, "self_attn.q_norm.weight", cfg.HeadDim),
			kNorm:     vec(f.qkNorm, "self_attn.k_norm.weight", cfg.HeadDim),
			o:         param(name("self_attn.o_proj.weight"), d, qd),
			oBias:     vec(oBias, "self_attn.o_proj.bias", d),
			postNorm:  param(name("post_attention_layernorm.weight"), d, 0),
			gate:      param(name("mlp.gate_proj.weight"), cfg.IntermediateSize, d),
			up:        param(name("mlp.up_proj.weight"), cfg.IntermediateSize, d),
			down:      param(name("mlp.down_proj.weight"), d, cfg.IntermediateSize),
		})
	}
	m.norm = param("model.norm.weight", d, 0)
	m.head = m.embed
	if !cfg.TieEmbeddings {
		m.head = param("lm_head.weight", cfg.VocabSize, d)
	}
	return m, nil
}

// Input is one forward pass.
type Input struct {
	IDs []int32
	Pos []int32 // position of each token
	// Attend computes attention of layer l. It sees q, k and v after norms and RoPE.
	Attend func(layer int, q, k, v *tensor.Tensor) *tensor.Tensor
	Rows   []int32 // rows whose final hidden states are wanted; nil: all
}

// Forward returns the final hidden states, normalized: [rows wanted, d]. Times
// the Head they are logits.
func (m *Model) Forward(g *tensor.Graph, in Input) *tensor.Tensor {
	x := g.Embed(in.IDs, m.embed)
	for l := range m.layers {
		x = g.Layer(x, func(x *tensor.Tensor) *tensor.Tensor { return m.block(g, l, x, &in) })
	}
	if in.Rows != nil {
		x = g.Gather(x, in.Rows)
	}
	return g.RMSNorm(x, m.norm, float32(m.Config.RMSEps))
}

func (m *Model) block(g *tensor.Graph, l int, x *tensor.Tensor, in *Input) *tensor.Tensor {
	p, eps := &m.layers[l], float32(m.Config.RMSEps)
	n := g.RMSNorm(x, p.inputNorm, eps)
	q, k, v := g.Linear(n, p.q, p.qBias), g.Linear(n, p.k, p.kBias), g.Linear(n, p.v, p.vBias)
	if p.qNorm != nil {
		q, k = g.RMSNorm(q, p.qNorm, eps), g.RMSNorm(k, p.kNorm, eps)
	}
	q = g.Rope(q, m.rope, in.Pos, m.shape.Heads)
	k = g.Rope(k, m.rope, in.Pos, m.shape.KVHeads)
	h := g.Add(x, g.Linear(in.Attend(l, q, k, v), p.o, p.oBias))
	n = g.RMSNorm(h, p.postNorm, eps)
	return g.Add(h, g.Linear(g.SwiGLU(g.Linear(n, p.gate, nil), g.Linear(n, p.up, nil)), p.down, nil))
}

// InBatch is attention among the sequences of the batch itself, as training
// computes it.
func (m *Model) InBatch(g *tensor.Graph, seqs *tensor.Seqs) func(int, *tensor.Tensor, *tensor.Tensor, *tensor.Tensor) *tensor.Tensor {
	return func(_ int, q, k, v *tensor.Tensor) *tensor.Tensor {
		return g.Attention(q, k, v, m.shape, seqs)
	}
}

// Params returns the weights in a fixed order.
func (m *Model) Params() []*tensor.Param { return m.params }

// Head returns the unembedding matrix [vocab, d].
func (m *Model) Head() *tensor.Param { return m.head }

// Device returns the device that the weights lie on.
func (m *Model) Device() tensor.Device { return m.dev }

// Shape returns the shape of attention, for an engine's cache.
func (m *Model) Shape() tensor.AttentionShape { return m.shape }

// Layers returns the number of layers.
func (m *Model) Layers() int { return len(m.layers) }

// Size returns the number of weights.
func (m *Model) Size() int {
	n := 0
	for _, p := range m.params {
		n += p.Size()
	}
	return n
}
