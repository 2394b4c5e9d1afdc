package tensor

import "fmt"

// Mode says whether a graph remembers what gradients need.
type Mode int

const (
	Infer     Mode = iota // nothing is kept
	Train                 // activations are kept for Backward, but those that are cheap to compute again
	Recompute             // only the inputs of layers are kept; Backward computes each layer again
)

// Graph runs operations on a device and records them on a tape.
type Graph struct {
	dev   Device
	mode  Mode
	tape  []func()
	rows  int              // Reserve
	owned []*Tensor        // tensors to free: in order of creation
	pool  map[int][]Buffer // free buffers by capacity
	bytes int64            // handed out now
	Peak  int64            // most bytes handed out at once
}

// NewGraph returns an empty graph. It may be used again after Reset.
func NewGraph(dev Device, mode Mode) *Graph {
	return &Graph{dev: dev, mode: mode, pool: map[int][]Buffer{}}
}

// Device returns the graph's device.
func (g *Graph) Device() Device { return g.dev }

// SetMode changes the mode of an empty graph.
func (g *Graph) SetMode(m Mode) { g.mode = m }

func (g *Graph) training() bool { return g.mode != Infer }

// Reserve makes tensors of up to so many rows take the memory of so many: passes
// of different sizes then use the same buffers. It grows only; the graph is empty.
func (g *Graph) Reserve(rows int) {
	if rows > g.rows {
		g.rows = rows
		g.Trim()
	}
}

// New returns an uninitialized tensor that lives until Reset, or until the
// layer that made it ends.
func (g *Graph) New(rows, cols int) *Tensor {
	if rows < 0 || cols <= 0 {
		panic(fmt.Sprintf("tensor: shape [%d %d]", rows, cols))
	}
	t := &Tensor{Rows: rows, Cols: cols, Data: g.get(rows, cols)}
	g.owned = append(g.owned, t)
	return t
}

// class rounds sizes up so that buffers of nearly the same size are shared.
func class(n int) int {
	c := 1 << 10
	for c < n {
		if c+c/4 >= n {
			return c + c/4
		}
		if c+c/2 >= n {
			return c + c/2
		}
		c *= 2
	}
	return c
}

// slicer is a buffer whose memory can be used for less, and for all of it again.
type slicer interface {
	Slice(n int) Buffer
	Cap() int
}

func (g *Graph) get(rows, cols int) Buffer {
	n := rows * cols
	c := class(n)
	if rows <= g.rows {
		c = g.rows * cols
	}
	g.bytes += int64(4 * c)
	g.Peak = max(g.Peak, g.bytes)
	if l := g.pool[c]; len(l) > 0 {
		b := l[len(l)-1]
		g.pool[c] = l[:len(l)-1]
		return b.(slicer).Slice(n)
	}
	return g.dev.New(c).(slicer).Slice(n)
}

func (g *Graph) put(b Buffer) {
	if b == nil {
		return
	}
	c := b.(slicer).Cap()
	g.bytes -= int64(4 * c)
	g.pool[c] = append(g.pool[c], b)
}

func (g *Graph) release(t *Tensor) {
	if t.Data != nil {
		g.put(t.Data)
		t.Data = nil
	}
	if t.grad != nil {
		g.put(t.grad)
		t.grad = nil
	}
}

// Reset frees all tensors and clears the tape.
func (g *Graph) Reset() {
	for _, t := range g.owned {
		g.release(t)
	}
	g.owned, g.tape = g.owned[:0], g.tape[:0]
}

// Trim gives the memory of freed tensors back to the device.
func (g *Graph) Trim() {
	for c, l := range g.pool {
		for _, b := range l {
			g.dev.Free(b)
		}
		delete(g.pool, c)
	}
}

// Grad returns t's gradient, zeroed when first asked for.
func (g *Graph) Grad(t *Tensor) Buffer {
	if t.grad == nil {
		t.grad = g.get(t.Rows, t.Cols)
		g.dev.Zero(t.grad)
	}
	return t.grad
}

// firstGrad is Grad for an operation that sets all of a gradient or adds to all of it:
// add says which, and a gradient to be set is not initialized.
func (g *Graph) firstGrad(t *Tensor) (grad Buffer, add bool) {
	if t.grad != nil {
		return t.grad, true
	}
	t.grad = g.get(t.Rows, t.Cols)
	return t.grad, false
}

// made computes y by f, which is cheap: the backward pass computes it again
// rather than have it kept from one layer to the end.
func (g *Graph) made(y *Tensor, f func()) {
	f()
	if g.training() {
		y.remake = f
	}
}

// data returns t's numbers in the backward pass.
func (g *Graph) data(t *Tensor) Buffer {
	if t.Data == nil && t.remake != nil {
		t.Data = g.get(t.Rows, t.Cols)
		t.remake()
	}
	return t.Data
}

// record puts a gradient on the tape. out is what the operation made: after its
// gradient has been used, nothing needs it any more.
func (g *Graph) record(out *Tensor, back func(dout Buffer)) {
	g.recordAll([]*Tensor{out}, func() {
		if out.grad != nil { // nil: nothing depends on out
			back(out.grad)
		}
	})
}

// recordAll is record for an operation that made several tensors. back looks which have
// gradients.
func (g *Graph) recordAll(out []*Tensor, back func()) {
	if !g.training() {
		return
	}
	g.tape = append(g.tape, func() {
		back()
		for _, t := range out {
			g.release(t)
		}
	})
}

// Backward runs the tape from its end. The gradients of the results must have
// been set (Logprob's Backward does that).
func (g *Graph) Backward() {
	for i := len(g.tape) - 1; i >= 0; i-- {
		g.tape[i]()
	}
	g.tape = g.tape[:0]
}

// Layer computes f(x), one layer of a model. In Infer mode everything that f
// made but its result is freed. In Recompute mode likewise, and Backward runs f
// again: the same operations, hence the same bits.
func (g *Graph) Layer(x *Tensor, f func(x *Tensor) *Tensor) *Tensor {
	if g.mode == Train {
		from := len(g.owned)
		y := f(x)
		for _, t := range g.owned[from:] {
			if t != y && t.remake != nil {
				g.put(t.Data)
				t.Data = nil
			}
		}
		return y
	}
	recompute := g.mode == Recompute
	g.mode = Infer
	y := g.scope(x, f)
	if recompute {
		g.mode = Recompute
		g.tape = append(g.tape, func() {
			g.mode = Train
			outer := g.tape
			g.tape = nil
			from := len(g.owned)
			y2 := f(x)
			y2.grad, y.grad = y.grad, nil
			g.Backward()
			for _, t := range g.owned[from:] {
				g.release(t)
			}
			g.owned, g.tape, g.mode = g.owned[:from], outer, Recompute
			g.release(y)
		})
	}
	return y
}

// scope runs f and frees what it made except its result.
func (g *Graph) scope(x *Tensor, f func(x *Tensor) *Tensor) *Tensor {
	from := len(g.owned)
	y := f(x)
	for _, t := range g.owned[from:] {
		if t != y {
			g.release(t)
		}
	}
	g.owned = append(g.owned[:from], y)
	return y
}
