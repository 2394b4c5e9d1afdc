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
	attention           mixer
	feedForward         feedForward
}

// A mixer is layer l's attention, from normalized rows n; feedForward likewise.
type mixer interface {
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
	IDs     []int32
	Pos     []int32 // position of each token
	Attend  Attention
	Rows    []int32  // rows whose final hidden states are wanted; nil: all
	Routing *Routing // of a mixture of experts; nil: every row routes freely
	// Absorbed makes latent attention work on compressed keys and values: faster
	// where they are cached, not the same bits. Inference only; nil: expanded.
	Absorbed *Absorbed
	// Compressed hands the compressed keys and values to attention beside the
	// expanded ones, for a cache that keeps only those. Inference only.
	Compressed bool

	// Indexer trains lightning indexers; nil: they are frozen.
	Indexer *IndexerLoss

	selected []tensor.Selection // of each layer, once computed: recomputation repeats them
}

// Attention is where a layer's keys and values are: among the rows of a batch, or
// in an engine's cache.
type Attention interface {
	Attend(layer int, h Heads) *tensor.Tensor
	// Select runs a layer's lightning indexer.
	Select(layer int, q Index) tensor.Selection
}

// Heads is what attention sees of a layer, after norms and RoPE.
type Heads struct {
	Q, K, V *tensor.Tensor   // [rows, heads*dim]; V is nil where it is part of K
	Latent  *tensor.Tensor   // [rows, rank+rope], with Input.Compressed; nil
	Sparse  tensor.Selection // nil: dense
	Train   *tensor.IndexTraining
}

// Index is what a lightning indexer makes of a layer's rows.
type Index struct {
	Q, K, W *tensor.Tensor // [rows, heads*dim], [rows, dim], [rows, heads]
	Shape   tensor.IndexShape
}

// Forward returns the final hidden states, normalized: [rows wanted, d]. Times
// the Head they are logits.
func (m *Model) Forward(g *tensor.Graph, in Input) *tensor.Tensor {
	if m.MoELayers() > 0 {
		in.Routing = in.Routing.begin(m, len(in.IDs))
	}
	in.selected = make([]tensor.Selection, len(m.layers))
	if in.Indexer != nil {
		in.Indexer.rows = make([][]float64, len(m.layers))
		for l := range in.Indexer.rows {
			in.Indexer.rows[l] = make([]float64, len(in.IDs))
		}
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
func (m *Model) InBatch(g *tensor.Graph, seqs *tensor.Seqs) Attention { return &inBatch{m, g, seqs} }

type inBatch struct {
	m    *Model
	g    *tensor.Graph
	seqs *tensor.Seqs
}

func (b *inBatch) Attend(_ int, h Heads) *tensor.Tensor {
	if h.Train != nil {
		return b.g.TrainedAttention(h.Q, h.K, h.V, b.m.shape, b.seqs, h.Sparse, h.Train)
	}
	if h.Sparse != nil {
		return b.g.SparseAttention(h.Q, h.K, h.V, b.m.shape, b.seqs, h.Sparse)
	}
	return b.g.Attention(h.Q, h.K, h.V, b.m.shape, b.seqs)
}

func (b *inBatch) Select(_ int, i Index) tensor.Selection {
	return b.g.Select(i.Q, i.K, i.W, i.Shape, b.seqs)
}

// Params returns the weights in a fixed order.
func (m *Model) Params() []*tensor.Param { return m.params }

// Head returns the unembedding matrix [vocab, d].
func (m *Model) Head() *tensor.Param { return m.head }

// Device returns the device that the weights lie on.
func (m *Model) Device() tensor.Device { return m.dev }

// Caches are the shapes of what an engine keeps of a token in each layer.
type Caches struct {
	KeyValue tensor.AttentionShape
	Index    tensor.AttentionShape // keys of the lightning indexer; zero: none
}

// Caches returns the shapes for passes with or without Input.Absorbed.
func (m *Model) Caches(absorbed bool) Caches { return m.family.caches(m.Config, m.shape, absorbed) }

// Layers returns the number of layers.
func (m *Model) Layers() int { return len(m.layers) }

// Repeats reports whether decoding asks for the same operations for every token: without
// experts, whose rows the host deals out, and without an indexer, whose scores are as many
// as there are positions.
func (m *Model) Repeats() bool { return len(m.sparse) == 0 && !m.family.dsa }

// Size returns the number of weights.
func (m *Model) Size() int {
	n := 0
	for _, p := range m.params {
		n += p.Size()
	}
	return n
}
