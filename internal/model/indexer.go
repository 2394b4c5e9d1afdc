package model

import (
	"math"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// indexer is DeepSeek sparse attention's lightning indexer (DeepSeek-V3.2,
// arXiv:2512.02556, eq. 1; spec section 10.6):
//
//	q = wq_b c_q, k = LayerNorm(wk n), w = weights_proj n
//
// with half-split RoPE on the first dimensions of q and k. It is frozen: no
// gradient flows through the choice.
type indexer struct {
	wqB, wk, weights *tensor.Param
	normW, normB     *tensor.Param
	rope             *tensor.RopeTable
	shape            tensor.IndexShape
}

const indexEps = 1e-6 // of the LayerNorm

func (m *Model) newIndexer(prefix string, rope *tensor.RopeTable) *indexer {
	cfg := m.Config
	x := &indexer{
		wqB:     m.matrix(prefix+"wq_b.weight", cfg.IndexHeads*cfg.IndexDim, cfg.QRank),
		wk:      m.matrix(prefix+"wk.weight", cfg.IndexDim, cfg.HiddenSize),
		normW:   m.vector(prefix+"k_norm.weight", cfg.IndexDim),
		normB:   m.vector(prefix+"k_norm.bias", cfg.IndexDim),
		weights: m.matrix(prefix+"weights_proj.weight", cfg.IndexHeads, cfg.HiddenSize),
		rope:    rope,
		shape: tensor.IndexShape{Heads: cfg.IndexHeads, Dim: cfg.IndexDim, TopK: cfg.IndexTopK,
			Scale: float32(1 / math.Sqrt(float64(cfg.IndexHeads*cfg.IndexDim)))},
	}
	for _, p := range []*tensor.Param{x.wqB, x.wk, x.normW, x.normB, x.weights} {
		p.Frozen = true
	}
	return x
}

// choose returns what the rows attend to; nil without an indexer.
func (x *indexer) choose(g *tensor.Graph, l int, n, cq *tensor.Tensor, in *Input) tensor.Selection {
	if x == nil {
		return nil
	}
	if in.selected[l] == nil {
		g.NoGrad(func() {
			q := g.Rope(g.Linear(cq, x.wqB, nil), x.rope, in.Pos, x.shape.Heads)
			k := g.Rope(g.LayerNorm(g.Linear(n, x.wk, nil), x.normW, x.normB, indexEps), x.rope, in.Pos, 1)
			in.selected[l] = in.Attend.Select(l, Index{Q: q, K: k, W: g.Linear(n, x.weights, nil), Shape: x.shape})
		})
	}
	return in.selected[l]
}
