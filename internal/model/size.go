package model

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Parameters returns how many weights a model of this config has, from its sizes alone:
// what ParseConfig accepts, counted without allocating. Modules for multi-token
// prediction, which are read over, are not counted.
func (c *Config) Parameters() (int64, error) {
	f, err := c.family()
	if err != nil {
		return 0, err
	}
	if c.Layers < 1 || c.HiddenSize < 1 {
		return 0, grouse.Errorf(grouse.Invalid, "config.json: no sizes")
	}
	width := int64(c.HiddenSize)
	n := int64(c.VocabSize)*width + width // embeddings, final norm
	if !c.TieEmbeddings {
		n += int64(c.VocabSize) * width
	}
	for l := range c.Layers {
		n += f.attentionSize(c) + 2*width // and its two norms
		if !f.sparse(c, l) {
			n += 3 * width * int64(c.IntermediateSize)
			continue
		}
		n += int64(c.Experts) * width // router
		if f.mla {
			n += int64(c.Experts) // its correction bias
		}
		n += 3 * width * int64(c.ExpertSize) * int64(c.Experts+c.SharedExperts)
	}
	return n, nil
}

// attentionSize counts one layer's attention, its indexer included.
func (f family) attentionSize(c *Config) int64 {
	width, heads := int64(c.HiddenSize), int64(c.Heads)
	if !f.mla {
		q, kv := heads*int64(c.HeadDim), int64(c.KVHeads)*int64(c.HeadDim)
		n := width*q*2 + width*kv*2
		bias, oBias := f.biases(c)
		if bias {
			n += q + 2*kv
		}
		if oBias {
			n += width
		}
		if f.qkNorm {
			n += 2 * int64(c.HeadDim)
		}
		return n
	}
	rope, nope, value, rank := int64(c.RopeDim), int64(c.NopeDim), int64(c.ValueDim), int64(c.KVRank)
	n := width*(rank+rope) + rank + rank*heads*(nope+value) + heads*value*width
	bias := c.AttentionBias != nil && *c.AttentionBias
	if bias {
		n += rank + rope + width
	}
	if q := int64(c.QRank); q > 0 {
		n += width*q + q + q*heads*(nope+rope)
		if bias {
			n += q
		}
	} else {
		n += width * heads * (nope + rope)
	}
	if f.dsa {
		n += f.indexerSize(c)
	}
	return n
}

// indexerSize counts one layer's lightning indexer.
func (f family) indexerSize(c *Config) int64 {
	width, index, dim := int64(c.HiddenSize), int64(c.IndexHeads), int64(c.IndexDim)
	return int64(c.QRank)*index*dim + width*dim + 2*dim + width*index
}

// Sizes is what a model's memory depends on, from its config alone.
type Sizes struct {
	Parameters   int64
	Matrices     int64                 // of those: what is multiplied with, and the embedding
	Indexers     int64                 // of those: lightning indexers
	ExpertLayers int                   //
	Attention    tensor.AttentionShape // as training computes it, without its scale
	HeadNorms    bool                  // of queries and keys
	// Latent is how many numbers of a token latent attention makes in a layer on the
	// way to queries, keys and values: compressed forms, and the parts that are joined.
	Latent   int
	Absorbed int64 // weights that decoding on the compressed cache derives (see Absorb)
}

// Sizes counts without allocating.
func (c *Config) Sizes() (Sizes, error) {
	n, err := c.Parameters()
	if err != nil {
		return Sizes{}, err
	}
	f, err := c.family()
	if err != nil {
		return Sizes{}, err
	}
	s := Sizes{Parameters: n, HeadNorms: f.qkNorm && !f.mla}
	s.Attention = tensor.AttentionShape{Heads: c.Heads, KVHeads: c.KVHeads, KeyDim: c.HeadDim, ValueDim: c.HeadDim}
	layers := int64(c.Layers)
	vectors := int64(c.HiddenSize) + layers*(2*int64(c.HiddenSize)+f.attentionVectors(c))
	for l := range c.Layers {
		if f.sparse(c, l) {
			s.ExpertLayers++
		}
	}
	if f.mla {
		vectors += int64(s.ExpertLayers) * int64(c.Experts) // correction biases
		nope, rope, value, rank := c.NopeDim, c.RopeDim, c.ValueDim, c.KVRank
		s.Attention.KVHeads, s.Attention.KeyDim, s.Attention.ValueDim = c.Heads, nope+rope, value
		s.Latent = c.QRank + 2*(rank+rope) + c.Heads*(2*nope+value)
		s.Absorbed = layers * int64(c.Heads) * int64(nope+value) * int64(rank)
	}
	if f.dsa {
		s.Latent += (c.IndexHeads+2)*c.IndexDim + c.IndexHeads
		s.Indexers = layers * f.indexerSize(c)
	}
	s.Matrices = n - vectors
	return s, nil
}

// Caches returns the shapes of what an engine keeps of a token in each layer, on the
// compressed cache of latent attention or not; their scale is not set.
func (c *Config) Caches(compressed bool) (Caches, error) {
	s, err := c.Sizes()
	if err != nil {
		return Caches{}, err
	}
	f, err := c.family()
	return f.caches(c, s.Attention, compressed), err
}

func (f family) caches(c *Config, attention tensor.AttentionShape, compressed bool) Caches {
	out := Caches{KeyValue: attention}
	if compressed && f.mla {
		out.KeyValue = tensor.AttentionShape{Heads: c.Heads, KVHeads: 1, KeyDim: c.KVRank + c.RopeDim, ValueDim: c.KVRank, Scale: attention.Scale, ValuesInKeys: true}
	}
	if f.dsa {
		out.Index = tensor.AttentionShape{Heads: c.IndexHeads, KVHeads: 1, KeyDim: c.IndexDim}
	}
	return out
}

// attentionVectors counts one layer's biases and norms in attention, its indexer's included.
func (f family) attentionVectors(c *Config) int64 {
	n := 0
	if !f.mla {
		bias, oBias := f.biases(c)
		if bias {
			n += (c.Heads + 2*c.KVHeads) * c.HeadDim
		}
		if oBias {
			n += c.HiddenSize
		}
		if f.qkNorm {
			n += 2 * c.HeadDim
		}
		return int64(n)
	}
	n = c.KVRank + c.QRank // norms
	if c.AttentionBias != nil && *c.AttentionBias {
		n += c.KVRank + c.RopeDim + c.HiddenSize + c.QRank
	}
	if f.dsa {
		n += 2 * c.IndexDim
	}
	return int64(n)
}
