package tensor

import "fmt"

// Embed looks up rows of the matrix w [vocab, dim].
func (g *Graph) Embed(ids []int32, w *Param) *Tensor {
	y := g.New(len(ids), w.In)
	g.dev.Embed(y.Data, w.Data, ids, w.In)
	g.record(y, func(dy Buffer) {
		if w.LookupGrad != nil {
			g.dev.EmbedGrad(w.LookupGrad, dy, ids, w.In)
		} else if w.Grad != nil {
			g.dev.EmbedGrad(w.Grad, dy, ids, w.In)
		}
	})
	return y
}

// Linear returns x wᵀ, plus bias if it is not nil.
func (g *Graph) Linear(x *Tensor, w, bias *Param) *Tensor {
	return g.Linears(x, []*Param{w}, []*Param{bias})[0]
}

// Linears is Linear for several weights of one x, in one operation of the device.
func (g *Graph) Linears(x *Tensor, w, bias []*Param) []*Tensor {
	n := len(w)
	y, ys, ws, bs, outs := make([]*Tensor, n), make([]Buffer, n), make([]Buffer, n), make([]Buffer, n), make([]int, n)
	for i, p := range w {
		if x.Cols != p.In {
			panic(fmt.Sprintf("tensor: %s %v times %v", p.Name, p.Shape(), x))
		}
		y[i] = g.New(x.Rows, p.Out)
		ys[i], ws[i], outs[i] = y[i].Data, p.Data, p.Out
		if bias[i] != nil {
			bs[i] = bias[i].Data
		}
	}
	g.dev.Linears(ys, x.Data, ws, bs, x.Rows, outs, x.Cols)
	g.recordAll(y, func() { g.linearsGrad(x, y, w, bias) })
	return y
}

// linearsGrad adds the gradients of those products that something depends on.
func (g *Graph) linearsGrad(x *Tensor, y []*Tensor, w, bias []*Param) {
	var dy, ws, dw, dbias []Buffer
	var outs []int
	var data Buffer
	for i, p := range w {
		if y[i].grad == nil {
			continue
		}
		var db Buffer
		if bias[i] != nil {
			db = bias[i].Grad
		}
		if p.Grad != nil || db != nil {
			data = g.data(x)
		}
		dy, ws, outs = append(dy, y[i].grad), append(ws, p.Data), append(outs, p.Out)
		dw, dbias = append(dw, p.Grad), append(dbias, db)
	}
	if len(dy) > 0 {
		dx, add := g.firstGrad(x)
		g.dev.LinearsGrad(dx, dw, dbias, dy, data, ws, x.Rows, outs, x.Cols, add)
	}
}

// RMSNorm normalizes each stretch of len(w) numbers of x: whole rows, or the
// heads of a row (Qwen3's query and key norms).
func (g *Graph) RMSNorm(x *Tensor, w *Param, eps float32) *Tensor {
	n := x.Rows * x.Cols / w.Out
	if n*w.Out != x.Rows*x.Cols {
		panic(fmt.Sprintf("tensor: %s %v norms %v", w.Name, w.Shape(), x))
	}
	y := g.New(x.Rows, x.Cols)
	g.made(y, func() { g.dev.RMSNorm(y.Data, g.data(x), w.Data, eps, n, w.Out) })
	g.record(y, func(dy Buffer) {
		g.dev.RMSNormGrad(g.Grad(x), w.Grad, dy, g.data(x), w.Data, eps, n, w.Out)
	})
	return y
}

// Rope rotates the heads of x by each row's position, in place: x is not to be
// used in another way.
func (g *Graph) Rope(x *Tensor, t *RopeTable, pos []int32, heads int) *Tensor {
	d := x.Cols / heads
	g.dev.Rope(x.Data, t, pos, x.Rows, heads, d, false)
	x.remake = nil
	if g.training() {
		g.tape = append(g.tape, func() {
			if x.grad != nil {
				g.dev.Rope(x.grad, t, pos, x.Rows, heads, d, true)
			}
		})
	}
	return x
}

// Add returns a + b. b is freed at once: no gradient needs its values.
func (g *Graph) Add(a, b *Tensor) *Tensor {
	y := g.New(a.Rows, a.Cols)
	g.dev.Add(y.Data, a.Data, b.Data)
	g.put(b.Data)
	b.Data = nil
	g.record(y, func(dy Buffer) {
		if db, add := g.firstGrad(b); add {
			g.dev.Add(db, db, dy)
		} else {
			g.dev.Copy(db, dy)
		}
		if a.grad == nil { // a takes the gradient itself
			a.grad, y.grad = dy, nil
			return
		}
		g.dev.Add(a.grad, a.grad, dy)
	})
	return y
}

// SwiGLU returns silu(gate) * up.
func (g *Graph) SwiGLU(gate, up *Tensor) *Tensor {
	y := g.New(gate.Rows, gate.Cols)
	g.made(y, func() { g.dev.SwiGLU(y.Data, g.data(gate), g.data(up)) })
	g.record(y, func(dy Buffer) {
		if gate.grad == nil && up.grad == nil {
			dgate, _ := g.firstGrad(gate)
			dup, _ := g.firstGrad(up)
			g.dev.SwiGLUGrad(dgate, dup, dy, g.data(gate), g.data(up), false)
			return
		}
		g.dev.SwiGLUGrad(g.Grad(gate), g.Grad(up), dy, g.data(gate), g.data(up), true)
	})
	return y
}

// Gather returns the given rows of x.
func (g *Graph) Gather(x *Tensor, rows []int32) *Tensor {
	y := g.New(len(rows), x.Cols)
	g.dev.Gather(y.Data, x.Data, rows, x.Cols)
	g.record(y, func(dy Buffer) { g.dev.GatherGrad(g.Grad(x), dy, rows, x.Cols) })
	return y
}

// Attention is causal attention of queries q [rows, Heads*KeyDim] over keys k
// [rows, KVHeads*KeyDim] and values v [rows, KVHeads*ValueDim] of the same
// sequences and their prefixes.
func (g *Graph) Attention(q, k, v *Tensor, shape AttentionShape, seqs *Seqs) *Tensor {
	o := g.New(q.Rows, shape.Heads*shape.ValueDim)
	if !g.training() {
		g.dev.Attention(o.Data, nil, q.Data, k.Data, v.Data, shape, seqs)
		return o
	}
	lse := g.New(q.Rows, shape.Heads)
	g.dev.Attention(o.Data, lse.Data, q.Data, k.Data, v.Data, shape, seqs)
	g.record(o, func(do Buffer) {
		g.dev.AttentionGrad(g.Grad(q), g.Grad(k), g.Grad(v), do, o.Data, lse.Data, g.data(q), g.data(k), g.data(v), shape, seqs)
		g.release(lse)
	})
	return o
}

// Logprobs are the log-probabilities that a graph ends in.
type Logprobs struct {
	Values []float32 // natural logs
	g      *Graph
	lse    []float64
	h      *Tensor
	w      *Param
	t      *Targets
}

// Logprob returns the log-probability of each row's target under softmax(h wᵀ /
// temperature) over its kept set. No [rows, vocab] matrix is stored.
func (g *Graph) Logprob(h *Tensor, w *Param, t *Targets) *Logprobs {
	l := &Logprobs{Values: make([]float32, h.Rows), g: g, lse: make([]float64, h.Rows), h: h, w: w, t: t}
	g.dev.Logprob(l.Values, l.lse, h.Data, w.Data, t, h.Rows, w.In, w.Out)
	return l
}

// Backward adds the gradients of sum_i coef[i]*Values[i] to every parameter
// that the log-probabilities depend on.
func (l *Logprobs) Backward(coef []float32) {
	g := l.g
	if g.mode == Infer {
		panic("tensor: Backward in Infer mode")
	}
	g.dev.LogprobGrad(g.Grad(l.h), l.w.Grad, coef, l.lse, l.h.Data, l.w.Data, l.t, l.h.Rows, l.w.In, l.w.Out)
	g.Backward()
}
