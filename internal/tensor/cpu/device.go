package cpu

import (
	"math"
	"slices"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// Vec is the device's memory.
type Vec []float32

// Len returns the number of elements.
func (v Vec) Len() int { return len(v) }

// Slice returns the first n elements, which must fit the capacity.
func (v Vec) Slice(n int) tensor.Buffer { return v[:n] }

// Cap returns the capacity in elements.
func (v Vec) Cap() int { return cap(v) }

// Device computes in float32 on the processor's cores. One operation runs at a
// time; it uses all threads.
type Device struct {
	pool       *pool
	perThread  [][]float32
	forOneCall []float32
	logits     rowLogits
	cached     []cachedThread
	attention  []attnThread
}

var _ tensor.Device = (*Device)(nil)

// New returns a device that uses so many threads, 0 for all cores.
func New(threads int) *Device {
	p := newPool(threads)
	return &Device{pool: p, perThread: make([][]float32, p.threads), cached: make([]cachedThread, p.threads), attention: make([]attnThread, p.threads)}
}

// Name says which kernels run. All kinds give the same bits.
func (d *Device) Name() string {
	switch {
	case avx512:
		return "cpu/avx512"
	case avx2:
		return "cpu/avx2"
	}
	return "cpu/go"
}

// Threads returns the number of threads.
func (d *Device) Threads() int { return d.pool.threads }

// scratch returns n floats that belong to the thread until its task ends.
func (d *Device) scratch(thread, n int) []float32 {
	if len(d.perThread[thread]) < n {
		d.perThread[thread] = make([]float32, n)
	}
	return d.perThread[thread][:n]
}

// shared returns n floats for one operation.
func (d *Device) shared(n int) []float32 {
	if len(d.forOneCall) < n {
		d.forOneCall = make([]float32, n)
	}
	return d.forOneCall[:n]
}

func vec(b tensor.Buffer) []float32 {
	if b == nil {
		return nil
	}
	return b.(Vec)
}

// New returns zeroed memory.
func (d *Device) New(n int) tensor.Buffer { return make(Vec, n) }

// NewMatrix returns a zeroed packed matrix.
func (d *Device) NewMatrix(out, in int) tensor.Buffer { return make(Vec, packedLen(out, in)) }

// Free leaves the memory to the garbage collector.
func (d *Device) Free(tensor.Buffer) {}

// Zero clears b.
func (d *Device) Zero(b tensor.Buffer) {
	v := vec(b)
	d.flat(len(v), func(lo, hi int) { clear(v[lo:hi]) })
}

// View shares b's memory.
func (d *Device) View(b tensor.Buffer, from, n int) tensor.Buffer {
	if h, ok := b.(BF16); ok {
		return h[from : from+n : from+n]
	}
	return b.(Vec)[from : from+n : from+n]
}

// Read copies to the host.
func (d *Device) Read(dst []float32, b tensor.Buffer) { copy(dst, vec(b)) }

// Write copies from the host.
func (d *Device) Write(b tensor.Buffer, src []float32) { copy(vec(b), src) }

// ReadMatrix unpacks b.
func (d *Device) ReadMatrix(dst []float32, b tensor.Buffer, out, in int) {
	unpack(dst, vec(b), out, in)
}

// WriteMatrix packs src.
func (d *Device) WriteMatrix(b tensor.Buffer, src []float32, out, in int) { pack(vec(b), src, out, in) }

// rowGrain is how many rows of n elements make a task worth handing out.
func rowGrain(n int) int { return max(1, 8192/max(n, 1)) }

// Embed looks rows up in a packed matrix.
func (d *Device) Embed(y, w tensor.Buffer, ids []int32, dim int) {
	yv, wv := vec(y), vec(w)
	d.pool.split(len(ids), rowGrain(4*dim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			column(yv[i*dim:(i+1)*dim], wv, int(ids[i]), dim)
		}
	})
}

// column copies output id's weights out of its panel.
func column(dst, w []float32, id, dim int) {
	src := w[id/panel*panel*dim+id%panel:]
	for k := range dst {
		dst[k] = src[k*panel]
	}
}

// EmbedGrad adds to the looked-up rows, in the order of ids.
func (d *Device) EmbedGrad(dw, dy tensor.Buffer, ids []int32, dim int) {
	dwv, dyv := vec(dw), vec(dy)
	d.pool.split(dim, 64, func(_, lo, hi int) {
		for i, id := range ids {
			dst := dwv[int(id)/panel*panel*dim+int(id)%panel:]
			src := dyv[i*dim : (i+1)*dim]
			for k := lo; k < hi; k++ {
				dst[k*panel] += src[k]
			}
		}
	})
}

// Linear is a product with a packed matrix.
func (d *Device) Linear(y, x, w, bias tensor.Buffer, rows, out, in int) {
	d.Linears([]tensor.Buffer{y}, x, []tensor.Buffer{w}, []tensor.Buffer{bias}, rows, []int{out}, in)
}

// addBias adds to each row, if there is a bias.
func (d *Device) addBias(y, bias []float32, rows, out int) {
	if bias == nil {
		return
	}
	d.pool.split(rows, rowGrain(out), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			rowAdd(y[i*out:(i+1)*out], y[i*out:(i+1)*out], bias)
		}
	})
}

// Linears hands the panels of all weights out together.
func (d *Device) Linears(y []tensor.Buffer, x tensor.Buffer, w, bias []tensor.Buffer, rows int, out []int, in int) {
	pairs := pairsOf(out)
	d.spaced(vec(x), in, rows, in, func(r, m int, x []float32, ldx int) {
		d.pool.split(pairs.total(), pairGrain(m, in), func(_, lo, hi int) {
			pairs.each(lo, hi, func(i, a, b int) {
				mulPanels(vec(y[i])[r*out[i]:], out[i], x, ldx, vec(w[i]), m, out[i], in, a, b, false)
			})
		})
	})
	for i, n := range out {
		d.addBias(vec(y[i]), vec(bias[i]), rows, n)
	}
}

// LinearsGrad hands the panels of all weights' gradients out together.
func (d *Device) LinearsGrad(dx tensor.Buffer, dw, dbias, dy []tensor.Buffer, x tensor.Buffer, w []tensor.Buffer, rows int, out []int, in int, add bool) {
	for i := len(dy) - 1; i >= 0; i-- {
		d.mulPackedT(vec(dx), in, vec(dy[i]), out[i], vec(w[i]), rows, out[i], in, add || i < len(dy)-1)
	}
	learned := slices.Clone(out) // outputs of weights that have a gradient
	for i := range dw {
		if dw[i] == nil {
			learned[i] = 0
		}
	}
	if pairs := pairsOf(learned); pairs.total() > 0 {
		d.eachColumns(vec(x), in, rows, in, pairs.total(), func(thread, lo, hi int, c columns) {
			pairs.each(lo, hi, func(i, a, b int) { d.gradPanels(thread, vec(dw[i]), vec(dy[i]), out[i], c, out[i], in, a, b) })
		})
	}
	for i, n := range out {
		if dbias[i] == nil {
			continue
		}
		db, dyv := vec(dbias[i]), vec(dy[i])
		d.pool.split(n, 256, func(_, lo, hi int) {
			for r := range rows {
				rowAdd(db[lo:hi], db[lo:hi], dyv[r*n+lo:r*n+hi])
			}
		})
	}
}

// pairCounts numbers the pairs of panels of several weights: those of weight i are from[i]
// to from[i+1]-1.
type pairCounts struct {
	out  []int // outputs of each
	from []int
}

func pairsOf(out []int) pairCounts {
	p := pairCounts{out: out, from: make([]int, 1, len(out)+1)}
	for i, n := range out {
		p.from = append(p.from, p.from[i]+(panels(n)+1)/2)
	}
	return p
}

func (p *pairCounts) total() int { return p.from[len(p.out)] }

// each calls fn for the panels a..b-1 of each weight among the pairs lo..hi-1.
func (p *pairCounts) each(lo, hi int, fn func(i, a, b int)) {
	for i, n := range p.out {
		if a, b := max(lo, p.from[i])-p.from[i], min(hi, p.from[i+1])-p.from[i]; a < b {
			fn(i, 2*a, min(2*b, panels(n)))
		}
	}
}

// invRMS is 1/sqrt(mean(x²)+eps).
func invRMS(x []float32, eps float32) float32 {
	return float32(1 / math.Sqrt(float64(rowDot(x, x))/float64(len(x))+float64(eps)))
}

// RMSNorm normalizes rows.
func (d *Device) RMSNorm(y, x, w tensor.Buffer, eps float32, n, dim int) {
	yv, xv, wv := vec(y), vec(x), vec(w)
	d.pool.split(n, rowGrain(dim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			row := xv[i*dim : (i+1)*dim]
			rowNorm(yv[i*dim:(i+1)*dim], row, wv, invRMS(row, eps))
		}
	})
}

// RMSNormGrad: dx = inv (w dy) - x inv³/dim sum(w dy x), dw = sum over rows of
// dy x inv, in the order of rows.
func (d *Device) RMSNormGrad(dx, dw, dy, x, w tensor.Buffer, eps float32, n, dim int) {
	dxv, dwv, dyv, xv, wv := vec(dx), vec(dw), vec(dy), vec(x), vec(w)
	if dwv == nil {
		dwv = make([]float32, dim)
	}
	stats := d.shared(2 * n)
	d.pool.split(n, rowGrain(dim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			row := xv[i*dim : (i+1)*dim]
			inv := invRMS(row, eps)
			s := rowDot3(wv, dyv[i*dim:(i+1)*dim], row)
			stats[2*i] = inv
			stats[2*i+1] = float32(float64(s) * float64(inv) * float64(inv) * float64(inv) / float64(dim))
		}
	})
	d.pool.split(dim, 64, func(_, lo, hi int) {
		for i := range n {
			a, b := i*dim+lo, i*dim+hi
			rowNormBack(dxv[a:b], dwv[lo:hi], dyv[a:b], xv[a:b], wv[lo:hi], stats[2*i], stats[2*i+1])
		}
	})
}

// Rope rotates heads in place.
func (d *Device) Rope(x tensor.Buffer, t *tensor.RopeTable, pos []int32, rows, heads, headDim int, inverse bool) {
	xv, half := vec(x), t.Dim/2
	last := int32(0)
	for _, p := range pos {
		last = max(last, p)
	}
	t.Extend(int(last) + 1)
	sign := float32(1)
	if inverse {
		sign = -1
	}
	d.pool.split(rows, rowGrain(heads*headDim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			c, s := t.Cos[int(pos[i])*half:][:half], t.Sin[int(pos[i])*half:][:half]
			for h := range heads {
				p := xv[(i*heads+h)*headDim+t.Offset:][:t.Dim]
				if t.Interleaved {
					rotatePairs(p, c, s, sign)
				} else {
					rowRope(p[:half], p[half:], c, s, sign)
				}
			}
		}
	})
}

// rotatePairs rotates (x[2i], x[2i+1]).
func rotatePairs(x, cos, sin []float32, sign float32) {
	for i, c := range cos {
		a, b, s := x[2*i], x[2*i+1], float32(sin[i]*sign)
		x[2*i] = float32(a*c) - float32(b*s)
		x[2*i+1] = float32(b*c) + float32(a*s)
	}
}

// flat splits an elementwise operation.
func (d *Device) flat(n int, fn func(lo, hi int)) {
	const block = 1024
	d.pool.split((n+block-1)/block, 16, func(_, lo, hi int) {
		fn(lo*block, min(n, hi*block))
	})
}

// Add sets y = a + b; y may be a.
func (d *Device) Add(y, a, b tensor.Buffer) {
	yv, av, bv := vec(y), vec(a), vec(b)
	d.flat(len(yv), func(lo, hi int) { rowAdd(yv[lo:hi], av[lo:hi], bv[lo:hi]) })
}

// SwiGLU sets y = silu(gate) * up.
func (d *Device) SwiGLU(y, gate, up tensor.Buffer) {
	yv, gv, uv := vec(y), vec(gate), vec(up)
	d.flat(len(yv), func(lo, hi int) { rowSwiGLU(yv[lo:hi], gv[lo:hi], uv[lo:hi]) })
}

// SwiGLUGrad sets both gradients, or adds to them.
func (d *Device) SwiGLUGrad(dgate, dup, dy, gate, up tensor.Buffer, add bool) {
	dg, du, dyv, gv, uv := vec(dgate), vec(dup), vec(dy), vec(gate), vec(up)
	d.flat(len(dyv), func(lo, hi int) {
		if !add {
			rowSwiGLUBack(dg[lo:hi], du[lo:hi], dyv[lo:hi], gv[lo:hi], uv[lo:hi])
			return
		}
		var a, b [512]float32
		for i := lo; i < hi; i += len(a) {
			j := min(hi, i+len(a))
			n := j - i
			rowSwiGLUBack(a[:n], b[:n], dyv[i:j], gv[i:j], uv[i:j])
			rowAdd(dg[i:j], dg[i:j], a[:n])
			rowAdd(du[i:j], du[i:j], b[:n])
		}
	})
}

// Gather copies rows.
func (d *Device) Gather(y, x tensor.Buffer, rows []int32, dim int) {
	yv, xv := vec(y), vec(x)
	d.pool.split(len(rows), rowGrain(dim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(yv[i*dim:(i+1)*dim], xv[int(rows[i])*dim:])
		}
	})
}

// GatherGrad adds rows back, in order.
func (d *Device) GatherGrad(dx, dy tensor.Buffer, rows []int32, dim int) {
	dxv, dyv := vec(dx), vec(dy)
	for i, r := range rows {
		row := dxv[int(r)*dim:][:dim]
		rowAdd(row, row, dyv[i*dim:(i+1)*dim])
	}
}

// BlockSquares adds the squares of each block, in order, in float64.
func (d *Device) BlockSquares(dst []float64, b tensor.Buffer, block int) {
	x := vec(b)
	d.pool.split(len(dst), max(1, 1<<14/block), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			sum := 0.0
			for _, v := range x[i*block : min(len(x), (i+1)*block)] {
				sum += float64(v) * float64(v) // exact: no fusing can change it
			}
			dst[i] = sum
		}
	})
}

// SumSquares adds the squares in blocks of 4096, the blocks in float64 in order.
func (d *Device) SumSquares(b tensor.Buffer) float64 {
	const block = 4096
	x := vec(b)
	parts := d.shared((len(x) + block - 1) / block)
	d.pool.split(len(parts), 16, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			s := x[i*block : min(len(x), (i+1)*block)]
			parts[i] = rowDot(s, s)
		}
	})
	sum := 0.0
	for _, p := range parts {
		sum += float64(p)
	}
	return sum
}
