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
// with half-split RoPE on the first dimensions of q and k. No gradient flows
// through the choice: the indexer is frozen, or learns from IndexerLoss.
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
	return x
}

// IndexerLoss trains the indexers of a pass on what attention looks at (eq. 3 and
// 4): the indexer gets the gradient of Coef times the sum of the rows' KL, from
// inputs that are detached, and nothing else gets any of it.
type IndexerLoss struct {
	Coef  float32
	Dense bool // warm-up: attention sees every position
	rows  [][]float64
}

// AddTo adds each layer's KL over rows to sums [layers], in the order of rows,
// once the backward pass has run.
func (t *IndexerLoss) AddTo(sums []float64) {
	for l, rows := range t.rows {
		for _, v := range rows {
			sums[l] += v
		}
	}
}

// choose returns what the rows attend to, nil for everything, and what trains the
// indexer, nil if nothing does.
func (x *indexer) choose(g *tensor.Graph, l int, n, cq *tensor.Tensor, in *Input) (tensor.Selection, *tensor.IndexTraining) {
	if x == nil {
		return nil, nil
	}
	choose := func(i Index) {
		if in.selected[l] == nil && (in.Indexer == nil || !in.Indexer.Dense) {
			in.selected[l] = in.Attend.Select(l, i)
		}
	}
	if in.Indexer == nil {
		if in.selected[l] == nil {
			g.NoGrad(func() { choose(x.forward(g, n, cq, in)) })
		}
		return in.selected[l], nil
	}
	i := x.forward(g, g.Detach(n), g.Detach(cq), in)
	choose(i)
	return in.selected[l], &tensor.IndexTraining{Q: i.Q, K: i.K, W: i.W, Shape: x.shape, Coef: in.Indexer.Coef, Loss: in.Indexer.rows[l]}
}

func (x *indexer) forward(g *tensor.Graph, n, cq *tensor.Tensor, in *Input) Index {
	q := g.Rope(g.Linear(cq, x.wqB, nil), x.rope, in.Pos, x.shape.Heads)
	k := g.Rope(g.LayerNorm(g.Linear(n, x.wk, nil), x.normW, x.normB, indexEps), x.rope, in.Pos, 1)
	return Index{Q: q, K: k, W: g.Linear(n, x.weights, nil), Shape: x.shape}
}
