package model

import (
	"fmt"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// Model is a decoder-only transformer. A block is
//
//	h = x + Attention(RMSNorm(x)),  y = h + FeedForward(RMSNorm(h))
type Model struct {
	Config *Config
	dev    tensor.Device
	family family
	embed  *tensor.Param // [vocab, d]
	norm   *tensor.Param
	head   *tensor.Param // [vocab, d]; embed if they are tied
	layers []layer
	sparse []int // those with experts
	shape  tensor.AttentionShape
	params []*tensor.Param // in the order of the files' names
}

type layer struct {
	inputNorm, postNorm *tensor.Param
	attention           attention
	feedForward         feedForward
}

// attention is layer l's, from normalized rows n; feedForward likewise.
type attention interface {
	forward(g *tensor.Graph, l int, n *tensor.Tensor, in *Input) *tensor.Tensor
}

type feedForward interface {
	forward(g *tensor.Graph, n *tensor.Tensor, in *Input) *tensor.Tensor
}

// New makes the model that cfg describes, its weights zero.
func New(dev tensor.Device, cfg *Config) (*Model, error) {
	f, err := cfg.family()
	if err != nil {
		return nil, err
	}
	m := &Model{Config: cfg, dev: dev, family: f}
	inv, factor, err := cfg.invFreq(cfg.HeadDim)
	if err != nil {
		return nil, err
	}
	newAttention := m.groupedQuery(inv, factor)
	if f.mla {
		newAttention = m.latent(inv, factor)
	}
	d := cfg.HiddenSize
	m.embed = m.matrix("model.embed_tokens.weight", cfg.VocabSize, d)
	for l := range cfg.Layers {
		prefix := fmt.Sprintf("model.layers.%d.", l)
		var layer layer
		layer.inputNorm = m.vector(prefix+"input_layernorm.weight", d)
		layer.attention = newAttention(prefix + "self_attn.")
		layer.postNorm = m.vector(prefix+"post_attention_layernorm.weight", d)
		if f.sparse(cfg, l) {
			layer.feedForward = m.newExperts(prefix+"mlp.", len(m.sparse))
			m.sparse = append(m.sparse, l)
		} else {
			layer.feedForward = m.newMLP(prefix+"mlp.", cfg.IntermediateSize)
		}
		m.layers = append(m.layers, layer)
	}
	m.norm = m.vector("model.norm.weight", d)
	m.head = m.embed
	if !cfg.TieEmbeddings {
		m.head = m.matrix("lm_head.weight", cfg.VocabSize, d)
	}
	return m, nil
}

func (m *Model) matrix(name string, out, in int) *tensor.Param {
	p := tensor.NewParam(m.dev, name, out, in)
	m.params = append(m.params, p)
	return p
}

func (m *Model) vector(name string, n int) *tensor.Param { return m.matrix(name, n, 0) }

// bias is a vector, nil unless on.
func (m *Model) bias(on bool, name string, n int) *tensor.Param {
	if !on {
		return nil
	}
	return m.vector(name, n)
}

// Input is one forward pass.
type Input struct {
	IDs []int32
	Pos []int32 // position of each token
	// Attend computes attention of layer l.
	Attend  func(layer int, h Heads) *tensor.Tensor
	Rows    []int32  // rows whose final hidden states are wanted; nil: all
	Routing *Routing // of a mixture of experts; nil: every row routes freely
}

// Heads is what attention sees of a layer, after norms and RoPE.
type Heads struct {
	Q, K, V *tensor.Tensor // [rows, heads*dim]
}

// Forward returns the final hidden states, normalized: [rows wanted, d]. Times
// the Head they are logits.
func (m *Model) Forward(g *tensor.Graph, in Input) *tensor.Tensor {
	if m.MoELayers() > 0 {
		in.Routing = in.Routing.begin(m, len(in.IDs))
	}
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
	h := g.Add(x, p.attention.forward(g, l, g.RMSNorm(x, p.inputNorm, eps), in))
	return g.Add(h, p.feedForward.forward(g, g.RMSNorm(h, p.postNorm, eps), in))
}

// InBatch is attention among the sequences of the batch itself, as training
// computes it.
func (m *Model) InBatch(g *tensor.Graph, seqs *tensor.Seqs) func(int, Heads) *tensor.Tensor {
	return func(_ int, h Heads) *tensor.Tensor {
		return g.Attention(h.Q, h.K, h.V, m.shape, seqs)
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
