package model

import "github.com/grouse-rl/grouse"

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
		index, dim := int64(c.IndexHeads), int64(c.IndexDim)
		n += int64(c.QRank)*index*dim + width*dim + 2*dim + width*index
	}
	return n
}
