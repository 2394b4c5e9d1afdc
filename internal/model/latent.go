package model

import (
	"math"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// latent is multi-head latent attention (DeepSeek-V2 and V3; spec section 10.3):
//
//	c_q           = RMSNorm(q_a n),  q = q_b c_q      (or q = q_proj n)
//	(c_kv | k_pe) = kv_a n,          c_kv = RMSNorm(c_kv)
//	(k_nope | v)  = kv_b c_kv        of each head
//	score = (q_nope . k_nope + RoPE(q_pe) . RoPE(k_pe)) * scale
//
// k_pe is one head that all share. Keys are handed to attention in the expanded
// form, (k_nope | k_pe) of each head.
type latent struct {
	m            *Model
	q            *tensor.Param // nil if queries are compressed
	qA, qNorm    *tensor.Param
	qABias       *tensor.Param
	qB           *tensor.Param
	kvA, kvNorm  *tensor.Param
	kvABias      *tensor.Param
	kvB          *tensor.Param
	o, oBias     *tensor.Param
	indexer      *indexer          // nil: dense attention
	qRope, kRope *tensor.RopeTable // of the last dimensions of a query head; of k_pe
}

// latentEps is the epsilon of the norms of c_q and c_kv, whatever rms_norm_eps is.
const latentEps = 1e-6

func (m *Model) latent(inv []float64, factor float64) func(prefix string) mixer {
	cfg := m.Config
	d, H, qk := cfg.HiddenSize, cfg.Heads, cfg.NopeDim+cfg.RopeDim
	scale := 1 / math.Sqrt(float64(qk))
	if r := &cfg.Rope; r.Type != "" && r.Type != "default" && r.MScaleAllDim != 0 {
		s := mscale(r.Factor, r.MScaleAllDim)
		scale *= s * s
	}
	m.shape = tensor.AttentionShape{Heads: H, KVHeads: H, KeyDim: qk, ValueDim: cfg.ValueDim, Scale: float32(scale)}
	interleaved := cfg.RopeInterleave == nil || *cfg.RopeInterleave
	qRope, kRope := tensor.NewRopeTable(inv, factor), tensor.NewRopeTable(inv, factor)
	qRope.Offset, qRope.Interleaved, kRope.Interleaved = cfg.NopeDim, interleaved, interleaved
	indexRope := tensor.NewRopeTable(inv, factor)
	bias := cfg.AttentionBias != nil && *cfg.AttentionBias
	return func(prefix string) mixer {
		a := &latent{m: m, qRope: qRope, kRope: kRope}
		if cfg.QRank > 0 {
			a.qA = m.matrix(prefix+"q_a_proj.weight", cfg.QRank, d)
			a.qABias = m.bias(bias, prefix+"q_a_proj.bias", cfg.QRank)
			a.qNorm = m.vector(prefix+"q_a_layernorm.weight", cfg.QRank)
			a.qB = m.matrix(prefix+"q_b_proj.weight", H*qk, cfg.QRank)
		} else {
			a.q = m.matrix(prefix+"q_proj.weight", H*qk, d)
		}
		a.kvA = m.matrix(prefix+"kv_a_proj_with_mqa.weight", cfg.KVRank+cfg.RopeDim, d)
		a.kvABias = m.bias(bias, prefix+"kv_a_proj_with_mqa.bias", cfg.KVRank+cfg.RopeDim)
		a.kvNorm = m.vector(prefix+"kv_a_layernorm.weight", cfg.KVRank)
		a.kvB = m.matrix(prefix+"kv_b_proj.weight", H*(cfg.NopeDim+cfg.ValueDim), cfg.KVRank)
		a.o = m.matrix(prefix+"o_proj.weight", d, H*cfg.ValueDim)
		a.oBias = m.bias(bias, prefix+"o_proj.bias", d)
		if m.family.dsa {
			a.indexer = m.newIndexer(prefix+"indexer.", indexRope)
		}
		return a
	}
}

func (a *latent) forward(g *tensor.Graph, l int, n *tensor.Tensor, in *Input) *tensor.Tensor {
	cfg := a.m.Config
	H, nope, rope, v, rank := cfg.Heads, cfg.NopeDim, cfg.RopeDim, cfg.ValueDim, cfg.KVRank
	q, cq := a.queries(g, n)
	q = g.Rope(q, a.qRope, in.Pos, H)
	sparse, train := a.indexer.choose(g, l, n, cq, in)
	kv := g.Linear(n, a.kvA, a.kvABias)
	c := g.RMSNorm(g.Columns(kv, 1, 0, rank), a.kvNorm, latentEps)
	kPE := g.Rope(g.Columns(kv, 1, rank, rope), a.kRope, in.Pos, 1)
	if in.Absorbed != nil {
		return g.Linear(in.Absorbed.layers[l].attend(g, l, a, q, c, kPE, sparse, in), a.o, a.oBias)
	}
	expanded := g.Linear(c, a.kvB, nil)
	heads := Heads{Q: q, K: g.JoinShared(g.Columns(expanded, H, 0, nope), kPE, H), V: g.Columns(expanded, H, nope, v), Sparse: sparse, Train: train}
	if in.Compressed {
		heads.Latent = g.JoinShared(c, kPE, 1)
	}
	return g.Linear(in.Attend.Attend(l, heads), a.o, a.oBias)
}

// queries returns q before RoPE, and c_q if queries are compressed.
func (a *latent) queries(g *tensor.Graph, n *tensor.Tensor) (q, c *tensor.Tensor) {
	if a.q != nil {
		return g.Linear(n, a.q, nil), nil
	}
	c = g.RMSNorm(g.Linear(n, a.qA, a.qABias), a.qNorm, latentEps)
	return g.Linear(c, a.qB, nil), c
}
