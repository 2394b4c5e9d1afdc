package cuda

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// operand is a buffer's numbers rounded to bfloat16.
type operand struct {
	id, wrote uint64 // of the memory
	n         int    // numbers
	at        driver.Ptr
	room      int
}

// operand returns activations x [rows, cols] as a product wants them. The last two
// that were rounded are kept: queries, keys and values are made from one x, and
// both gradients of a layer from one dy.
func (d *Device) operand(x tensor.Buffer, rows, cols int) driver.Matrix {
	b, n := x.(*buffer).whole(), rows*cols
	if d.opts.Float32 {
		return f32(b.at, cols)
	}
	for _, o := range d.rounded {
		if o.id == b.id && o.wrote == b.wrote && o.n == n {
			return driver.Matrix{Data: o.at, Type: driver.BF16, Stride: cols}
		}
	}
	o := &d.rounded[d.next]
	if d.recording != nil {
		o.at = d.recording.room(d.next, 2*int64(n))
	} else if o.room < n {
		if o.room > 0 {
			d.arena.free(o.at)
		}
		*o = operand{}
		o.at, o.room = d.take(d.arena, 2*int64(n)), n
	}
	d.next = (d.next + 1) % len(d.rounded)
	o.id, o.wrote, o.n = b.id, b.wrote, n
	return d.round(o.at, b.at, rows, cols)
}

// forget makes the next product round its operand again: memory was written without the
// device's knowing.
func (d *Device) forget() {
	for i := range d.rounded {
		d.rounded[i].id = 0 // no memory has it
	}
	d.next = 0
}

// temporary is operand for memory of this operation.
func (d *Device) temporary(x driver.Ptr, rows, cols int) driver.Matrix {
	if d.opts.Float32 {
		return f32(x, cols)
	}
	return d.round(d.halves(rows*cols), x, rows, cols)
}

func (d *Device) round(half, x driver.Ptr, rows, cols int) driver.Matrix {
	n := rows * cols
	d.each("cast_to_bf16", n, half, x, int64(n))
	return driver.Matrix{Data: half, Type: driver.BF16, Stride: cols}
}

// weight returns w as a product wants it: its bfloat16 copy, made again if w was
// written, or w itself if it is bfloat16.
func (d *Device) weight(w tensor.Buffer, cols int) driver.Matrix {
	b := w.(*buffer).whole()
	if b.bf16 && d.opts.Float32 {
		return f32(d.widened(b), cols)
	}
	if b.bf16 {
		return driver.Matrix{Data: b.at, Type: driver.BF16, Stride: cols}
	}
	if d.opts.Float32 {
		return driver.Matrix{Data: b.at, Stride: cols}
	}
	if b.half == 0 {
		p, cleanup := takeFor(d, d.arena, b.memory, 2*int64(b.cap))
		b.half, b.fresh, b.owned = p, false, append(b.owned, cleanup)
	}
	if !b.fresh {
		d.each("cast_to_bf16", b.n, b.half, b.at, int64(b.n))
		b.fresh = true
	}
	return driver.Matrix{Data: b.half, Type: driver.BF16, Stride: cols}
}

// widened returns a bfloat16 buffer as float32, for this operation.
func (d *Device) widened(b *buffer) driver.Ptr {
	p := d.floats(b.n)
	d.each("cast_from_bf16", b.n, p, b.address(), int64(b.n))
	return p
}

func f32(p driver.Ptr, cols int) driver.Matrix { return driver.Matrix{Data: p, Stride: cols} }

// row returns m from a row on.
func row(m driver.Matrix, i int) driver.Matrix {
	size := driver.Ptr(4)
	if m.Type == driver.BF16 {
		size = 2
	}
	m.Data += driver.Ptr(i*m.Stride) * size
	return m
}

// The three products of a linear layer; x, dy, w are operands.

func (d *Device) mulForward(y driver.Ptr, x, w driver.Matrix, rows, out, in int) {
	if rows > 0 {
		d.drv.MatMul(driver.MatMul{M: rows, N: out, K: in, A: x, B: w, TransB: true, C: f32(y, out), Alpha: 1})
	}
}

func (d *Device) mulGradInput(dx driver.Ptr, dy, w driver.Matrix, rows, out, in int, add bool) {
	beta := float32(0)
	if add {
		beta = 1
	}
	if rows > 0 {
		d.drv.MatMul(driver.MatMul{M: rows, N: in, K: out, A: dy, B: w, C: f32(dx, in), Alpha: 1, Beta: beta})
	}
}

func (d *Device) mulGradWeight(dw driver.Ptr, dy, x driver.Matrix, rows, out, in int) {
	if rows > 0 {
		d.drv.MatMul(driver.MatMul{M: out, N: in, K: rows, A: dy, TransA: true, B: x, C: f32(dw, in), Alpha: 1, Beta: 1})
	}
}

// Linear is a product with a weight.
func (d *Device) Linear(y, x, w, bias tensor.Buffer, rows, outs, ins int) {
	defer d.begin()()
	d.mulForward(out(y), d.operand(x, rows, ins), d.weight(w, ins), rows, outs, ins)
	if bias != nil {
		d.each("add_bias", rows*outs, out(y), in(bias), int64(rows*outs), i32(outs))
	}
}

// Linears is one product after the other.
func (d *Device) Linears(y []tensor.Buffer, x tensor.Buffer, w, bias []tensor.Buffer, rows int, outs []int, ins int) {
	for i, n := range outs {
		d.Linear(y[i], x, w[i], bias[i], rows, n, ins)
	}
}

// LinearsGrad is one product after the other, the last weight's first.
func (d *Device) LinearsGrad(dx tensor.Buffer, dw, dbias, dy []tensor.Buffer, x tensor.Buffer, w []tensor.Buffer, rows int, outs []int, ins int, add bool) {
	defer d.begin()()
	for i := len(dy) - 1; i >= 0; i-- {
		y, n := d.operand(dy[i], rows, outs[i]), outs[i]
		d.mulGradInput(out(dx), y, d.weight(w[i], ins), rows, n, ins, add || i < len(dy)-1)
		if dw[i] != nil {
			d.mulGradWeight(out(dw[i]), y, d.operand(x, rows, ins), rows, n, ins)
		}
		if dbias[i] != nil {
			d.sumColumns(out(dbias[i]), in(dy[i]), rows, n)
		}
	}
}
