package cuda

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Add sets y = a + b; y may be a.
func (d *Device) Add(y, a, b tensor.Buffer) {
	defer d.begin()()
	n := y.Len()
	d.each("add_vectors", n, out(y), in(a), in(b), int64(n))
}

// SwiGLU sets y = silu(gate) * up.
func (d *Device) SwiGLU(y, gate, up tensor.Buffer) {
	defer d.begin()()
	n := y.Len()
	d.each("swiglu", n, out(y), in(gate), in(up), int64(n))
}

// SwiGLUGrad adds to both gradients, cleared before if they are to be set.
func (d *Device) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer, add bool) {
	if !add {
		d.Zero(dgate)
		d.Zero(dup)
	}
	defer d.begin()()
	n := dy.Len()
	d.each("swiglu_grad", n, out(dgate), out(dup), in(dy), in(gate), in(up), int64(n))
}

// AdamW updates p, m and v, and p's bfloat16 copy if it has one.
func (d *Device) AdamW(p, grad, m, v tensor.Buffer, s tensor.AdamWStep) {
	defer d.begin()()
	w, kernel := p.(*buffer), "adamw"
	if m.(*buffer).bf16 {
		kernel = "adamw_bf16"
	}
	had := w.half != 0 && (w.fresh || p.Len() == w.cap) // of a view: the copy of the rest is up to date
	at, half := out(p), w.half
	if half != 0 {
		half += driver.Ptr(2 * w.from)
	}
	d.withMoments(m, v, func(m, v driver.Ptr, from, n int) {
		skip, copied := driver.Ptr(from), half
		if half != 0 {
			copied += 2 * skip
		}
		d.each(kernel, n, at+4*skip, copied, in(grad)+4*skip, m, v, int64(n), s.Scale, s.Beta1, s.OneSubBeta1, s.Beta2, s.OneSubBeta2, s.Shrink, s.Rate, s.InvRootBias2, s.Eps)
	})
	w.fresh = had
}

// AdamWRounded updates p, which is bfloat16, and m and v.
func (d *Device) AdamWRounded(p, grad, m, v tensor.Buffer, s tensor.AdamWStep, noise tensor.Noise) {
	defer d.begin()()
	if !p.(*buffer).bf16 {
		panic("cuda: AdamWRounded of float32 weights")
	}
	at, short := out(p), truth(m.(*buffer).bf16)
	d.withMoments(m, v, func(m, v driver.Ptr, from, n int) {
		skip := driver.Ptr(from)
		d.each("adamw_rounded", (n+3)/4, at+2*skip, in(grad)+4*skip, m, v, short, int64(n), s.Scale, s.Beta1, s.OneSubBeta1, s.Beta2, s.OneSubBeta2, s.Shrink, s.Rate, s.InvRootBias2, s.Eps,
			int32(noise.Key[0]), int32(noise.Key[1]), int32(noise.Param), noise.Update, noise.First+int64(from))
	})
}

// BlockSquares adds the squares of each block on the device, in order, in float64.
func (d *Device) BlockSquares(dst []float64, b tensor.Buffer, block int) {
	defer d.begin()()
	if len(dst) == 0 {
		return
	}
	p := d.doubles(len(dst))
	d.each("block_squares", len(dst), p, in(b), int64(b.Len()), i32(block))
	check(d.drv.Download(bytes(dst), p))
}

// SumSquares adds the squares in blocks of 4096, the blocks in float64 in order.
func (d *Device) SumSquares(b tensor.Buffer) float64 {
	defer d.begin()()
	n := b.Len()
	parts := make([]float32, (n+4095)/4096)
	if len(parts) == 0 {
		return 0
	}
	p := d.floats(len(parts))
	d.drv.Launch("square_partial", driver.Dims{Grid: [3]int{len(parts)}, Block: [3]int{256}}, p, in(b), int64(n))
	check(d.drv.Download(bytes(parts), p))
	sum := 0.0
	for _, v := range parts {
		sum += float64(v)
	}
	return sum
}

// rowChunk is how many rows a partial sum over rows takes: at most 256 partial
// sums, of 64 rows at least. It depends on the number of rows only.
func rowChunk(rows int) int { return max(64, (rows+255)/256) }

// columnSums adds up partial sums over the rows of [rows, cols]: launch fills
// partial [chunks, cols], a column a thread, and the sums are added to y.
func (d *Device) columnSums(y driver.Ptr, rows, cols int, launch func(partial driver.Ptr, dims driver.Dims, chunk int32)) {
	if rows == 0 {
		return
	}
	chunk := rowChunk(rows)
	chunks, block := (rows+chunk-1)/chunk, threads(cols)
	partial := d.floats(chunks * cols)
	grid := (cols + block - 1) / block
	launch(partial, driver.Dims{Grid: [3]int{grid, chunks}, Block: [3]int{block}}, i32(chunk))
	d.drv.Launch("column_finish", driver.Dims{Grid: [3]int{grid}, Block: [3]int{block}}, y, partial, i32(chunks), i32(cols))
}

// sumColumns adds the sum of x's rows to y.
func (d *Device) sumColumns(y, x driver.Ptr, rows, cols int) {
	d.columnSums(y, rows, cols, func(partial driver.Ptr, dims driver.Dims, chunk int32) {
		d.drv.Launch("column_partial", dims, partial, x, i32(rows), i32(cols), chunk)
	})
}
