package tensor

// Sparse attention (DeepSeek-V3.2, arXiv:2512.02556, eq. 1 and 2): a small
// indexer scores the positions before a query and attention runs over the best
// of them only.

// IndexShape is a lightning indexer's:
//
//	I_ts = sum over heads j of w_tj Scale relu(q_tj . k_s),   s <= t
//
// with the TopK largest selected, ties to the lower position. All heads share
// one key.
type IndexShape struct {
	Heads, Dim int
	TopK       int
	Scale      float32 // 1/sqrt(Heads*Dim)
}

// Selection is what rows attend to. It lies where its device wants it.
type Selection interface {
	// Row returns the positions of row i, ascending; nil: every one up to its own.
	Row(i int) []int32
}

// Select runs an indexer over the sequences of a batch: q [rows, Heads*Dim], k
// [rows, Dim], w [rows, Heads]. Nothing flows back through the choice.
func (g *Graph) Select(q, k, w *Tensor, shape IndexShape, seqs *Seqs) Selection {
	return g.dev.Select(q.Data, k.Data, w.Data, shape, seqs)
}

// SparseAttention is Attention over the selected positions. Where all are
// selected it is Attention, bit for bit.
func (g *Graph) SparseAttention(q, k, v *Tensor, shape AttentionShape, seqs *Seqs, sel Selection) *Tensor {
	o := g.New(q.Rows, shape.Heads*shape.ValueDim)
	if !g.training() {
		g.dev.SparseAttention(o.Data, nil, q.Data, k.Data, v.Data, shape, seqs, sel)
		return o
	}
	lse := g.New(q.Rows, shape.Heads)
	g.dev.SparseAttention(o.Data, lse.Data, q.Data, k.Data, v.Data, shape, seqs, sel)
	g.record(o, func(do Buffer) {
		g.dev.SparseAttentionGrad(g.Grad(q), g.Grad(k), g.Grad(v), do, o.Data, lse.Data, g.data(q), g.data(k), g.data(v), shape, seqs, sel)
		g.release(lse)
	})
	return o
}

// NoGrad runs f without recording it and frees what it made.
func (g *Graph) NoGrad(f func()) {
	mode, from := g.mode, len(g.owned)
	g.mode = Infer
	f()
	for _, t := range g.owned[from:] {
		g.release(t)
	}
	g.owned, g.mode = g.owned[:from], mode
}

// LayerNorm returns (x - mean) / sqrt(variance + eps) * w + b of each row.
func (g *Graph) LayerNorm(x *Tensor, w, b *Param, eps float32) *Tensor {
	y := g.New(x.Rows, x.Cols)
	g.dev.LayerNorm(y.Data, x.Data, w.Data, b.Data, eps, x.Rows, x.Cols)
	g.record(y, func(dy Buffer) {
		g.dev.LayerNormGrad(g.Grad(x), w.Grad, b.Grad, dy, g.data(x), w.Data, eps, x.Rows, x.Cols)
	})
	return y
}
