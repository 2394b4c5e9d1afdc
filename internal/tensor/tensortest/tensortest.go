// Package tensortest is the suite that every tensor.Device passes: each
// operation and its gradient, at odd sizes too, against the CPU device. The CPU
// device's own gradients are judged by differences of its operations.
//
//	tensortest.Run(t, dev, 1e-5)
//
// Choices (experts, selected positions) must be the CPU device's exactly.
package tensortest

import (
	"fmt"
	"math"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

// Run runs the suite. A result may differ from the CPU device's by tolerance
// times the largest number of the tensor (at least 0.1): a few units of the type
// that the device computes in, as sums go in another order. A tolerance of 0 is
// the CPU device's own: there gradients are compared with central differences.
func Run(t *testing.T, dev tensor.Device, tolerance float64) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.check(t, dev, tolerance) })
	}
	for _, c := range wholes() {
		t.Run(c.name, func(t *testing.T) {
			want, got := c.run(t, cpu.New(1)), c.run(t, dev)
			for i, w := range want {
				near(t, fmt.Sprintf("result %d", i), got[i], w, tolerance)
			}
		})
	}
	if o, ok := dev.(tensor.Offloader); ok {
		for _, bf16 := range []bool{false, true} {
			t.Run(fmt.Sprintf("Offloaded/bf16=%v", bf16), func(t *testing.T) { offloaded(t, o, bf16) })
		}
	}
}

// Ramp returns n numbers in [-1, 1) that look random, the same for a seed.
func Ramp(n int, seed uint32) []float32 {
	x := make([]float32, n)
	s := seed*2654435761 + 12345
	for i := range x {
		s = s*1664525 + 1013904223
		x[i] = float32(int32(s)>>8) / (1 << 23)
	}
	return x
}

// near demands |got - want| <= tolerance * max|want|, the maximum at least 0.1.
func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	top := 0.1
	for _, w := range want {
		top = max(top, math.Abs(float64(w)))
	}
	worst, at := 0.0, -1
	for i, w := range want {
		if got[i] == w { // infinities
			continue
		}
		d := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(d) {
			t.Fatalf("%s: element %d of %d: got %v, want %v", what, i, len(want), got[i], w)
		}
		if d > worst {
			worst, at = d, i
		}
	}
	if at >= 0 && !(worst <= tolerance*top) {
		t.Fatalf("%s: element %d of %d: got %v, want %v; the largest is %v", what, at, len(want), got[at], want[at], top)
	}
}

// input is an argument of an operation: a matrix [out, in] of weights, or
// activations if in is 0.
type input struct {
	data    []float32
	out, in int
}

func vector(n int, seed uint32) input    { return input{data: Ramp(n, seed)} }
func matrix(o, i int, seed uint32) input { return input{data: Ramp(o*i, seed), out: o, in: i} }
func (in input) scaled(by float32) input {
	for i := range in.data {
		in.data[i] *= by
	}
	return in
}

func (in input) buffer(dev tensor.Device, data []float32) tensor.Buffer {
	if in.in == 0 {
		b := dev.New(len(data))
		dev.Write(b, data)
		return b
	}
	b := dev.NewMatrix(in.out, in.in)
	dev.WriteMatrix(b, data, in.out, in.in)
	return b
}

func (in input) read(dev tensor.Device, b tensor.Buffer) []float32 {
	dst := make([]float32, len(in.data))
	if in.in == 0 {
		dev.Read(dst, b)
	} else {
		dev.ReadMatrix(dst, b, in.out, in.in)
	}
	return dst
}

// operation is one operation: forward fills out from in; backward, if not nil,
// adds to grads (one for each input) the gradient of sum(dout * out).
type operation struct {
	name     string
	in       []input
	out      int // numbers of the result
	forward  func(dev tensor.Device, out tensor.Buffer, in []tensor.Buffer)
	backward func(dev tensor.Device, grads []tensor.Buffer, dout, out tensor.Buffer, in []tensor.Buffer)
	constant []bool  // inputs without a gradient
	step     float64 // of the differences; 0: none are taken
}

func (o *operation) run(dev tensor.Device) (result []float32, grads [][]float32) {
	in := make([]tensor.Buffer, len(o.in))
	for i, x := range o.in {
		in[i] = x.buffer(dev, x.data)
	}
	result = make([]float32, o.out)
	out := dev.New(o.out)
	o.forward(dev, out, in)
	dev.Read(result, out)
	if o.backward == nil {
		return result, nil
	}
	dout := dev.New(o.out)
	dev.Write(dout, Ramp(o.out, 77))
	gb := make([]tensor.Buffer, len(o.in))
	for i, x := range o.in {
		if !o.isConstant(i) {
			gb[i] = x.buffer(dev, Ramp(len(x.data), uint32(90+i))) // gradients add to what is there
		}
	}
	o.backward(dev, gb, dout, out, in)
	grads = make([][]float32, len(o.in))
	for i, x := range o.in {
		if gb[i] != nil {
			grads[i] = x.read(dev, gb[i])
			dev.Free(gb[i])
		}
	}
	for _, b := range append(in, out, dout) {
		dev.Free(b)
	}
	return result, grads
}

func (o *operation) isConstant(i int) bool { return o.constant != nil && o.constant[i] }

func (o *operation) check(t *testing.T, dev tensor.Device, tolerance float64) {
	want, wantGrads := o.run(cpu.New(1))
	got, grads := o.run(dev)
	near(t, "result", got, want, tolerance)
	for i := range wantGrads {
		near(t, fmt.Sprintf("gradient of input %d", i), grads[i], wantGrads[i], tolerance)
	}
	again, _ := o.run(dev)
	for i := range got {
		if math.Float32bits(again[i]) != math.Float32bits(got[i]) {
			t.Fatalf("the second run gives other bits: element %d is %v, was %v", i, again[i], got[i])
		}
	}
	if o.step > 0 && tolerance == 0 {
		o.differences(t, dev, grads)
	}
}

// differences compares a few elements of each gradient with central differences.
func (o *operation) differences(t *testing.T, dev tensor.Device, grads [][]float32) {
	dout := Ramp(o.out, 77)
	loss := func() float64 {
		y, _ := (&operation{in: o.in, out: o.out, forward: o.forward}).run(dev)
		sum := 0.0
		for i, v := range y {
			sum += float64(v) * float64(dout[i])
		}
		return sum
	}
	for i, x := range o.in {
		if o.isConstant(i) {
			continue
		}
		top, before := 1.0, Ramp(len(x.data), uint32(90+i))
		for j := range x.data {
			top = max(top, math.Abs(float64(grads[i][j])-float64(before[j])))
		}
		for n := range 5 {
			j := (n*2654435761 + 3*n + i) % len(x.data)
			was := x.data[j]
			x.data[j] = was + float32(o.step)
			up := loss()
			x.data[j] = was - float32(o.step)
			down := loss()
			x.data[j] = was
			want := (up - down) / (2 * o.step)
			if d := math.Abs(float64(grads[i][j]) - float64(before[j]) - want); !(d <= 1e-2*top) {
				t.Fatalf("gradient of input %d, element %d: %v, differences say %v", i, j, grads[i][j]-before[j], want)
			}
		}
	}
}

// whole is a check that is more than one operation; it returns what is compared.
type whole struct {
	name string
	run  func(t *testing.T, dev tensor.Device) [][]float32
}

// tree lays sequences out: prompts, some with continuations.
func tree() *tensor.Seqs {
	s := &tensor.Seqs{}
	a := s.Add(9, -1)
	s.Add(30, a)
	b := s.Add(7, a)
	s.Add(5, b)
	s.Add(35, -1)
	s.Add(1, -1)
	return s
}
