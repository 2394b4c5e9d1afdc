package tensor

import "fmt"

// Mixture-of-experts layers. Of E experts a row takes K; its choices are sorted
// by expert, so that each expert multiplies its own rows and no others:
//
//	gates := g.Route(z, bias, router, experts) // [rows, K]
//	a := Assign(experts, K, E)
//	h := g.Dispatch(x, a)                      // [rows*K, in], sorted by expert
//	h = g.GroupedLinear(h, weights, a)         // [rows*K, out]
//	y := g.Combine(h, gates, a)                // [rows, out]
//
// A row's result is added up in the order of its choices and a weight's gradient
// in the order of rows, whatever else is in the batch.

// Router is the routing rule of a layer. With router logits z of a row:
//
//	s = softmax(z) over all experts, or sigmoid(z)
//	c = s + bias (sigmoid only);  with Groups, only experts of the TopGroups best
//	    groups count, a group's score being the sum of its two largest c (the
//	    largest without a bias)
//	the choice: the TopK largest c, best first, ties to the lower index
//	gate_e = s_e / (sum of s over the choice, if Normalize) * Scale
//
// A choice may be forced; then bias and groups take no part (spec section 4).
// Gradients reach z through the gates, never through the choice.
// internal/model/moe is the same in plain float64.
type Router struct {
	Sigmoid           bool // DeepSeek-V3; else softmax, Qwen3-MoE
	TopK              int
	Groups, TopGroups int // 0 or 1 groups: no limit
	Scale             float32
	Normalize         bool
}

// Assignment is the choices of a batch sorted by expert.
type Assignment struct {
	K       int
	Offsets []int   // [E+1], the first slot of each expert
	Tokens  []int32 // [rows*K], the row that each slot computes; ascending within an expert
	Slots   []int32 // [rows*K], the slot of each choice
}

// Assign sorts experts [rows, k], all of them in 0..E-1.
func Assign(experts []int32, k, E int) *Assignment {
	a := &Assignment{K: k, Offsets: make([]int, E+1), Tokens: make([]int32, len(experts)), Slots: make([]int32, len(experts))}
	for _, e := range experts {
		a.Offsets[e+1]++
	}
	for e := range E {
		a.Offsets[e+1] += a.Offsets[e]
	}
	next := append([]int(nil), a.Offsets[:E]...)
	for i, e := range experts {
		a.Tokens[next[e]], a.Slots[i] = int32(i/k), int32(next[e])
		next[e]++
	}
	return a
}

// Route returns the gate weights [rows, TopK] of experts [rows, TopK]. A row of
// experts that begins with -1 is chosen here and written back; others are forced.
// bias may be nil.
func (g *Graph) Route(z *Tensor, bias *Param, r *Router, experts []int32) *Tensor {
	if len(experts) != z.Rows*r.TopK {
		panic(fmt.Sprintf("tensor: %d experts for %v, %d a row", len(experts), z, r.TopK))
	}
	gates := g.New(z.Rows, r.TopK)
	g.dev.Route(gates.Data, experts, z.Data, biasData(bias), r, z.Rows, z.Cols)
	g.record(gates, func(dgates Buffer) {
		g.dev.RouteGrad(g.Grad(z), dgates, g.data(z), experts, r, z.Rows, z.Cols)
	})
	return gates
}

// Choose returns the experts that rows would take by themselves.
func (g *Graph) Choose(z *Tensor, bias *Param, r *Router) []int32 {
	experts := make([]int32, z.Rows*r.TopK)
	for i := range experts {
		experts[i] = -1
	}
	g.dev.Route(nil, experts, z.Data, biasData(bias), r, z.Rows, z.Cols)
	return experts
}

func biasData(bias *Param) Buffer {
	if bias == nil {
		return nil
	}
	return bias.Data
}

// Dispatch copies each row to the slots of its choices.
func (g *Graph) Dispatch(x *Tensor, a *Assignment) *Tensor {
	y := g.New(len(a.Tokens), x.Cols)
	g.dev.Gather(y.Data, x.Data, a.Tokens, x.Cols)
	g.record(y, func(dy Buffer) { g.dev.DispatchGrad(g.Grad(x), dy, a.Slots, x.Rows, a.K, x.Cols) })
	return y
}

// GroupedLinear multiplies the rows of each expert e with w[e], matrices of one
// shape.
func (g *Graph) GroupedLinear(x *Tensor, w []*Param, a *Assignment) *Tensor {
	if x.Cols != w[0].In || len(a.Offsets) != len(w)+1 {
		panic(fmt.Sprintf("tensor: %s %v, %d of them, times %v", w[0].Name, w[0].Shape(), len(w), x))
	}
	out, in := w[0].Out, w[0].In
	y := g.New(x.Rows, out)
	data := make([]Buffer, len(w))
	for e, p := range w {
		data[e] = p.Data
	}
	g.dev.GroupedLinear(y.Data, x.Data, data, a.Offsets, out, in)
	g.record(y, func(dy Buffer) {
		g.dev.GroupedLinearGradInput(g.Grad(x), dy, data, a.Offsets, out, in)
		if w[0].Grad == nil {
			return
		}
		grads := make([]Buffer, len(w))
		for e, p := range w {
			grads[e] = p.Grad
		}
		g.dev.GroupedLinearGradWeight(grads, dy, g.data(x), a.Offsets, out, in)
	})
	return y
}

// Combine returns the sum of each row's slots, weighted by its gates [rows, K].
func (g *Graph) Combine(x, gates *Tensor, a *Assignment) *Tensor {
	y := g.New(gates.Rows, x.Cols)
	g.dev.Combine(y.Data, x.Data, gates.Data, a.Slots, gates.Rows, a.K, x.Cols)
	g.record(y, func(dy Buffer) {
		g.dev.CombineGrad(g.Grad(x), g.Grad(gates), dy, g.data(x), g.data(gates), a.Slots, gates.Rows, a.K, x.Cols)
	})
	return y
}
