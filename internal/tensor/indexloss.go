package tensor

// IndexTraining lets a lightning indexer learn what attention looks at
// (DeepSeek-V3.2, arXiv:2512.02556, eq. 3 and 4). With p_t the mean over heads of
// attention's probabilities on S_t, a constant, and I_t the index scores,
//
//	L = Coef sum_t KL( p_t || softmax(I_t on S_t) )
//
// S_t is the selection, or every position up to t.
type IndexTraining struct {
	Q, K, W *Tensor // the indexer's, see Graph.Select
	Shape   IndexShape
	Coef    float32
	Loss    []float64 // [rows], receives the KL of each row in the backward pass
}

// TrainedAttention is SparseAttention, or Attention if sel is nil, that gives the
// indexer its gradient.
func (g *Graph) TrainedAttention(q, k, v *Tensor, shape AttentionShape, seqs *Seqs, sel Selection, x *IndexTraining) *Tensor {
	if !g.training() {
		if sel == nil {
			return g.Attention(q, k, v, shape, seqs)
		}
		return g.SparseAttention(q, k, v, shape, seqs, sel)
	}
	o, lse := g.New(q.Rows, shape.Heads*shape.ValueDim), g.New(q.Rows, shape.Heads)
	if sel == nil {
		g.dev.Attention(o.Data, lse.Data, q.Data, k.Data, v.Data, shape, seqs)
	} else {
		g.dev.SparseAttention(o.Data, lse.Data, q.Data, k.Data, v.Data, shape, seqs, sel)
	}
	g.tape = append(g.tape, func() {
		if do := o.grad; do != nil {
			if sel == nil {
				g.dev.AttentionGrad(g.Grad(q), g.Grad(k), g.Grad(v), do, o.Data, lse.Data, g.data(q), g.data(k), g.data(v), shape, seqs)
			} else {
				g.dev.SparseAttentionGrad(g.Grad(q), g.Grad(k), g.Grad(v), do, o.Data, lse.Data, g.data(q), g.data(k), g.data(v), shape, seqs, sel)
			}
		}
		g.dev.IndexLossGrad(x.Loss, g.Grad(x.Q), g.Grad(x.K), g.Grad(x.W), g.data(x.Q), g.data(x.K), g.data(x.W), x.Shape, x.Coef, g.data(q), g.data(k), lse.Data, shape, seqs, sel)
		g.release(o)
		g.release(lse)
	})
	return o
}

// Detach returns a copy of x that no gradient flows through.
func (g *Graph) Detach(x *Tensor) *Tensor {
	y := g.New(x.Rows, x.Cols)
	g.dev.Copy(y.Data, x.Data)
	return y
}
