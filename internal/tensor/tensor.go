package tensor

import "fmt"

// Tensor is a matrix of activations.
type Tensor struct {
	Rows, Cols int
	Data       Buffer
	grad       Buffer // made when first needed
	remake     func() // computes Data again; nil: Data is kept
}

func (t *Tensor) String() string { return fmt.Sprintf("[%d %d]", t.Rows, t.Cols) }

// As views t as a matrix of another shape, for inference: no gradient flows
// through it, and it lives as long as t.
func (t *Tensor) As(rows, cols int) *Tensor {
	if rows*cols != t.Rows*t.Cols {
		panic(fmt.Sprintf("tensor: %v as [%d %d]", t, rows, cols))
	}
	return &Tensor{Rows: rows, Cols: cols, Data: t.Data}
}

// Param is a weight: a matrix [Out, In] in the device's layout, or a vector of
// Out elements if In is 0.
type Param struct {
	Name    string
	Out, In int
	Data    Buffer
	Grad    Buffer // nil: frozen, or not being trained
	// LookupGrad, if not nil, takes the gradients of Embed. A tied embedding has
	// one: the sums over tokens as input and as output stay apart until the whole
	// update has been seen, so that splitting it changes no order of addition.
	LookupGrad Buffer
	Decay      bool // weight decay applies: matrices, not norms and biases
	Frozen     bool // not being trained: it has no gradient
	BF16       bool // Data is bfloat16: there is no float32 master (see Rounder)
}

// Size returns the number of elements.
func (p *Param) Size() int { return p.Out * max(p.In, 1) }

// Shape returns the shape as files give it.
func (p *Param) Shape() []int {
	if p.In == 0 {
		return []int{p.Out}
	}
	return []int{p.Out, p.In}
}

// NewParam makes a zeroed weight on dev; in is 0 for a vector.
func NewParam(dev Device, name string, out, in int) *Param {
	p := &Param{Name: name, Out: out, In: in, Decay: in > 0}
	p.Data = p.alloc(dev)
	return p
}

func (p *Param) alloc(dev Device) Buffer {
	if p.In == 0 {
		return dev.New(p.Out)
	}
	return dev.NewMatrix(p.Out, p.In)
}

// SetBF16 moves the weight into bfloat16 memory, rounded to the nearest, or back
// into float32. The old memory is left to those who still read it.
func (p *Param) SetBF16(dev Device, on bool) {
	if p.BF16 == on {
		return
	}
	var to Buffer
	if on {
		to = dev.NewBF16(p.Data.Len())
	} else {
		to = p.alloc(dev)
	}
	dev.Copy(to, p.Data)
	p.Data, p.BF16 = to, on
}

// Like returns a zeroed buffer of the parameter's layout: a gradient, a moment.
// It is written at once: fresh memory that is read first costs two page faults.
func (p *Param) Like(dev Device) Buffer {
	b := p.alloc(dev)
	dev.Zero(b)
	return b
}

// Read copies the weight to the host, row-major.
func (p *Param) Read(dev Device) []float32 { return p.ReadBuffer(dev, p.Data) }

// ReadBuffer copies a buffer of the parameter's layout to the host.
func (p *Param) ReadBuffer(dev Device, b Buffer) []float32 {
	dst := make([]float32, p.Size())
	if p.In == 0 {
		dev.Read(dst, b)
	} else {
		dev.ReadMatrix(dst, b, p.Out, p.In)
	}
	return dst
}

// Write sets the weight from row-major numbers.
func (p *Param) Write(dev Device, src []float32) { p.WriteBuffer(dev, p.Data, src) }

// WriteBuffer sets a buffer of the parameter's layout.
func (p *Param) WriteBuffer(dev Device, b Buffer, src []float32) {
	if len(src) != p.Size() {
		panic(fmt.Sprintf("tensor: %s: %d numbers for %v", p.Name, len(src), p.Shape()))
	}
	if p.In == 0 {
		dev.Write(b, src)
	} else {
		dev.WriteMatrix(b, src, p.Out, p.In)
	}
}
