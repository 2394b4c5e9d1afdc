package cpu

import "github.com/grouse-rl/grouse/internal/tensor"

// Grouped products are the products of gemm.go, an expert at a time: the same
// chains along the reduction, so an expert's rows come out as they would alone.

// GroupedLinear hands out stretches of panels of all experts at once.
func (d *Device) GroupedLinear(y, x tensor.Buffer, w []tensor.Buffer, offsets []int, out, in int) {
	yv, xv := vec(y), vec(x)
	np := panels(out)
	type task struct{ e, lo, hi int }
	var tasks []task
	for e := range w {
		rows := offsets[e+1] - offsets[e]
		if rows == 0 {
			continue
		}
		grain := max(1, 1<<16/max(1, rows*in*panel/64))
		for lo := 0; lo < np; lo += grain {
			tasks = append(tasks, task{e, lo, min(np, lo+grain)})
		}
	}
	d.pool.run(len(tasks), func(_, i int) {
		t := tasks[i]
		at := offsets[t.e]
		mulPanels(yv[at*out:], out, xv[at*in:], in, vec(w[t.e]), offsets[t.e+1]-at, out, in, t.lo, t.hi, false)
	})
}

// GroupedLinearGradInput adds dy w of each expert.
func (d *Device) GroupedLinearGradInput(dx, dy tensor.Buffer, w []tensor.Buffer, offsets []int, out, in int) {
	dxv, dyv := vec(dx), vec(dy)
	for e := range w {
		if at, rows := offsets[e], offsets[e+1]-offsets[e]; rows > 0 {
			d.mulPackedT(dxv[at*in:], in, dyv[at*out:], out, vec(w[e]), rows, out, in)
		}
	}
}

// GroupedLinearGradWeight adds dyᵀ x of each expert: a chain over its rows.
func (d *Device) GroupedLinearGradWeight(dw []tensor.Buffer, dy, x tensor.Buffer, offsets []int, out, in int) {
	dyv, xv := vec(dy), vec(x)
	for e := range dw {
		if at, rows := offsets[e], offsets[e+1]-offsets[e]; rows > 0 {
			d.mulGrad(vec(dw[e]), dyv[at*out:], out, xv[at*in:], in, rows, out, in)
		}
	}
}

// addScaled sets y += a*x by way of t, both roundings apart.
func addScaled(y, x, t []float32, a float32) {
	rowScale(t, x, a)
	rowAdd(y, y, t)
}

// Combine adds up a row's slots in order.
func (d *Device) Combine(y, x, gates tensor.Buffer, slots []int32, rows, k, dim int) {
	yv, xv, gv := vec(y), vec(x), vec(gates)
	d.pool.split(rows, rowGrain(2*k*dim), func(thread, lo, hi int) {
		t := d.scratch(thread, dim)
		for i := lo; i < hi; i++ {
			row := yv[i*dim : (i+1)*dim]
			for j := range k {
				src := xv[int(slots[i*k+j])*dim:][:dim]
				if j == 0 {
					rowScale(row, src, gv[i*k])
					continue
				}
				addScaled(row, src, t, gv[i*k+j])
			}
		}
	})
}

// CombineGrad: a slot belongs to one row, so rows do not meet.
func (d *Device) CombineGrad(dx, dgates, dy, x, gates tensor.Buffer, slots []int32, rows, k, dim int) {
	dxv, dgv, dyv, xv, gv := vec(dx), vec(dgates), vec(dy), vec(x), vec(gates)
	d.pool.split(rows, rowGrain(3*k*dim), func(thread, lo, hi int) {
		t := d.scratch(thread, dim)
		for i := lo; i < hi; i++ {
			row := dyv[i*dim : (i+1)*dim]
			for j := range k {
				at := int(slots[i*k+j]) * dim
				dgv[i*k+j] += rowDot(row, xv[at:at+dim])
				addScaled(dxv[at:at+dim], row, t, gv[i*k+j])
			}
		}
	})
}

// DispatchGrad adds a row's slots up in order.
func (d *Device) DispatchGrad(dx, dy tensor.Buffer, slots []int32, rows, k, dim int) {
	dxv, dyv := vec(dx), vec(dy)
	d.pool.split(rows, rowGrain(k*dim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			row := dxv[i*dim : (i+1)*dim]
			for j := range k {
				rowAdd(row, row, dyv[int(slots[i*k+j])*dim:][:dim])
			}
		}
	})
}
