package cpu

import (
	"math"
	"slices"

	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// The vocabulary product fused with what follows it. Logits exist for a few
// rows and a stretch of the vocabulary at a time, never as [T, V]. The gradient
// computes them again.

const (
	vocabPanels = logprob.Block / panel
	rowChunk    = 96   // rows of logits that a thread holds: 96 × 1024 × 4 = 384 KiB
	gradRows    = 384  // rows and ids of the gradient's buffer: 384 × 4096 × 4 = 6 MiB
	gradVocab   = 4096 //
)

// blockSum turns logits of one block into exponentials, in place or to exp.
func blockSum(exp, z []float32, scale float32) logprob.BlockSum {
	top := rowMax(z)
	if math.IsInf(float64(top), -1) {
		clear(exp)
		return logprob.BlockSum{Max: top}
	}
	shift := float32(top * scale)
	var raw [logprob.Block]float32
	n := copy(raw[:], z)
	sum := rowExp(exp, z, scale, shift)
	dot := rowDot(exp[:n], raw[:n])
	return logprob.BlockSum{Max: shift, Sum: sum, Dot: min(0, float32(float64(dot)*float64(scale)-float64(shift)*float64(sum)))}
}

// Logprob streams over the vocabulary in blocks.
func (d *Device) Logprob(lp []float32, lse []float64, h, w tensor.Buffer, t *tensor.Targets, rows, dim, vocab int) {
	hv, wv := vec(h), vec(w)
	full := fullRows(t, rows)
	d.keptForward(lp, lse, hv, wv, t, rows, dim)
	if len(full) == 0 {
		return
	}
	hf := d.gatherFull(hv, full, rows, dim)
	n, blocks := len(full), logprob.NumBlocks(vocab)
	sums := make([]logprob.BlockSum, n*blocks)
	target := make([]float32, n) // logit of the target
	chunks := (n + rowChunk - 1) / rowChunk
	scale := 1 / t.Temperature
	d.pool.run(blocks*chunks, func(thread, task int) {
		b, r0 := task/chunks, task%chunks*rowChunk
		rn, v0 := min(rowChunk, n-r0), b*logprob.Block
		vn := min(logprob.Block, vocab-v0)
		z := d.scratch(thread, rowChunk*logprob.Block)
		mulPanels(z, logprob.Block, hf[r0*dim:], dim, wv[b*vocabPanels*panel*dim:], rn, vn, dim, 0, panels(vn), false)
		for i := range rn {
			row := z[i*logprob.Block:][:vn]
			if id := int(t.IDs[full[r0+i]]) - v0; id >= 0 && id < vn {
				target[r0+i] = row[id]
			}
			sums[(r0+i)*blocks+b] = blockSum(row, row, scale)
		}
	})
	for i, r := range full {
		top, logSum, _ := logprob.Combine(sums[i*blocks : (i+1)*blocks])
		lp[r] = logprob.FullFrom(top, logSum, target[i], t.Temperature)
		lse[r] = float64(top) + logSum
	}
}

// fullRows lists the rows whose softmax runs over the whole vocabulary.
func fullRows(t *tensor.Targets, rows int) []int {
	full := make([]int, 0, rows)
	for i := range rows {
		if t.Kept == nil || t.Kept[i] == nil {
			full = append(full, i)
		}
	}
	return full
}

// gatherFull returns the rows of h, a copy unless they are all of them.
func (d *Device) gatherFull(h []float32, which []int, rows, dim int) []float32 {
	if len(which) == rows {
		return h
	}
	out := make([]float32, len(which)*dim)
	for i, r := range which {
		copy(out[i*dim:(i+1)*dim], h[r*dim:])
	}
	return out
}

// LogprobGrad: with p = softmax(z/tau), dz_v = coef (1[v = target] - p_v)/tau.
// Rows of coefficient 0 are left out: they would add exact zeros.
func (d *Device) LogprobGrad(dh, dw tensor.Buffer, coef []float32, lse []float64, h, w tensor.Buffer, t *tensor.Targets, rows, dim, vocab int) {
	dhv, dwv, hv, wv := vec(dh), vec(dw), vec(h), vec(w)
	d.keptGrad(dhv, dwv, coef, hv, wv, t, rows, dim)
	live := slices.DeleteFunc(fullRows(t, rows), func(i int) bool { return coef[i] == 0 })
	if len(live) == 0 {
		return
	}
	hf := d.gatherFull(hv, live, rows, dim)
	dhf := dhv
	if len(live) < rows {
		dhf = d.gatherFull(dhv, live, rows, dim)
	}
	scale := 1 / t.Temperature
	dz := make([]float32, min(gradRows, len(live))*min(gradVocab, pad16(vocab)))
	for v0 := 0; v0 < vocab; v0 += gradVocab {
		vn := min(gradVocab, vocab-v0)
		wb := wv[v0*dim:]
		for r0 := 0; r0 < len(live); r0 += gradRows {
			rn := min(gradRows, len(live)-r0)
			hr := hf[r0*dim:]
			blocks := logprob.NumBlocks(vn)
			chunks := (rn + rowChunk - 1) / rowChunk
			d.pool.run(blocks*chunks, func(_, task int) {
				b, c0 := task/chunks*logprob.Block, task%chunks*rowChunk
				bn, cn := min(logprob.Block, vn-b), min(rowChunk, rn-c0)
				mulPanels(dz[c0*vn+b:], vn, hr[c0*dim:], dim, wb[b*dim:], cn, bn, dim, 0, panels(bn), false)
				for i := range cn {
					r := live[r0+c0+i]
					row := dz[(c0+i)*vn+b:][:bn]
					rowExp(row, row, scale, float32(lse[r]))
					k := float32(coef[r] * scale)
					rowScale(row, row, -k)
					if id := int(t.IDs[r]) - v0 - b; id >= 0 && id < bn {
						row[id] += k
					}
				}
			})
			d.mulPackedT(dhf[r0*dim:], dim, dz, vn, wb, rn, vn, dim, true)
			if dwv != nil {
				d.mulGrad(dwv[v0*dim:], dz, vn, hr, dim, rn, vn, dim)
			}
		}
	}
	if len(live) < rows {
		for i, r := range live {
			copy(dhv[r*dim:(r+1)*dim], dhf[i*dim:])
		}
	}
}

// gathered computes the logits of the kept ids of one row: for each the same
// chain along dim as the full product's.
func gathered(dst, h, w []float32, ids []int32, dim int) {
	var out [panel]float32
	last := -1
	for i, id := range ids {
		if p := int(id) / panel; p != last {
			last = p
			tile(1, panel, dim, h, dim, 1, w[p*panel*dim:], panel, out[:], panel, false)
		}
		dst[i] = out[id%panel]
	}
}

func (d *Device) keptForward(lp []float32, lse []float64, h, w []float32, t *tensor.Targets, rows, dim int) {
	if t.Kept == nil {
		return
	}
	d.pool.split(rows, 4, func(thread, lo, hi int) {
		for i := lo; i < hi; i++ {
			ids := t.Kept[i]
			if ids == nil {
				continue
			}
			z := d.scratch(thread, len(ids))
			gathered(z, h[i*dim:(i+1)*dim], w, ids, dim)
			place, ok := slices.BinarySearch(ids, t.IDs[i])
			if !ok {
				panic("cpu: target is not in its kept set: rollouts are validated where they enter")
			}
			lp[i] = logprob.Kept(z, place, t.Temperature)
		}
	})
}

// keptGrad goes by rows for dh, then by dimensions for dw: both are chains in
// order.
func (d *Device) keptGrad(dh, dw, coef, h, w []float32, t *tensor.Targets, rows, dim int) {
	if t.Kept == nil {
		return
	}
	dzs := make([][]float32, rows)
	d.pool.split(rows, 4, func(thread, lo, hi int) {
		for i := lo; i < hi; i++ {
			ids := t.Kept[i]
			if ids == nil || coef[i] == 0 {
				continue
			}
			z, g := d.scratch(thread, len(ids)), make([]float64, len(ids))
			gathered(z, h[i*dim:(i+1)*dim], w, ids, dim)
			place, _ := slices.BinarySearch(ids, t.IDs[i])
			logprob.KeptGrad(g, z, place, t.Temperature, float64(coef[i]))
			dzs[i] = make([]float32, len(ids))
			row := dh[i*dim : (i+1)*dim]
			for j, id := range ids {
				dz := float32(g[j])
				dzs[i][j] = dz
				src := w[int(id)/panel*panel*dim+int(id)%panel:]
				for k := range row {
					row[k] += float32(dz * src[k*panel])
				}
			}
		}
	})
	if dw == nil {
		return
	}
	d.pool.split(dim, 32, func(_, lo, hi int) {
		for i, dz := range dzs {
			row := h[i*dim : (i+1)*dim]
			for j, g := range dz {
				id := int(t.Kept[i][j])
				dst := dw[id/panel*panel*dim+id%panel:]
				for k := lo; k < hi; k++ {
					dst[k*panel] += float32(g * row[k])
				}
			}
		}
	})
}

// rowLogits is the memory of Logits, kept between calls: an engine asks at
// every token.
type rowLogits struct {
	z      []float32
	masses []logprob.Masses
}

func (l *rowLogits) grow(rows, vocab int) {
	if len(l.z) < rows*vocab {
		l.z = make([]float32, rows*vocab)
	}
	for len(l.masses) < rows {
		l.masses = append(l.masses, logprob.Masses{})
	}
	for i := range l.masses[:rows] {
		m := &l.masses[i]
		if len(m.Exp) != vocab {
			m.Exp, m.Blocks = make([]float32, vocab), make([]logprob.BlockSum, logprob.NumBlocks(vocab))
		}
	}
}

// Logits computes rows of logits with their masses, a chunk of rows at a time.
func (d *Device) Logits(h, w tensor.Buffer, rows, dim, vocab int, temperature float32, row func(i int, logits []float32, m *logprob.Masses)) {
	hv, wv := vec(h), vec(w)
	scale := float32(1)
	if temperature > 0 {
		scale = 1 / temperature
	}
	chunk := max(1, min(rows, 1<<22/vocab)) // 16 MiB of logits
	d.logits.grow(chunk, vocab)
	z, masses := d.logits.z, d.logits.masses
	blocks := logprob.NumBlocks(vocab)
	for r0 := 0; r0 < rows; r0 += chunk {
		rn := min(chunk, rows-r0)
		parts := (rn + rowChunk - 1) / rowChunk
		d.pool.run(blocks*parts, func(_, task int) {
			b, i0 := task/parts, task%parts*rowChunk
			v0, n := b*logprob.Block, min(rowChunk, rn-i0)
			vn := min(logprob.Block, vocab-v0)
			mulPanels(z[i0*vocab+v0:], vocab, hv[(r0+i0)*dim:], dim, wv[v0*dim:], n, vn, dim, 0, panels(vn), false)
			for i := i0; i < i0+n; i++ {
				masses[i].Blocks[b] = blockSum(masses[i].Exp[v0:v0+vn], z[i*vocab+v0:][:vn], scale)
			}
		})
		d.pool.run(rn, func(_, i int) { row(r0+i, z[i*vocab:(i+1)*vocab], &masses[i]) })
	}
}
