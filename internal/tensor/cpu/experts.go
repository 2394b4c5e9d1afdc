package cpu

import "github.com/grouse-rl/grouse/internal/tensor"

// Grouped products are the products of gemm.go for many small matrices at once:
// the same chains along the reduction, so an expert's rows come out as they would
// alone, but handed out to threads together.

// eachPanel runs fn for every panel of n numbers of every expert that has rows.
func (d *Device) eachPanel(offsets []int, n int, fn func(thread, e, at, rows, p int)) {
	type task struct{ e, p int }
	var tasks []task
	for e := range len(offsets) - 1 {
		for p := range panels(n) {
			if offsets[e+1] > offsets[e] {
				tasks = append(tasks, task{e, p})
			}
		}
	}
	d.pool.run(len(tasks), func(thread, i int) {
		t := tasks[i]
		fn(thread, t.e, offsets[t.e], offsets[t.e+1]-offsets[t.e], t.p)
	})
}

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

// GroupedLinearGradInput adds dy w of each expert, as mulPackedT does.
func (d *Device) GroupedLinearGradInput(dx, dy tensor.Buffer, w []tensor.Buffer, offsets []int, out, in int) {
	dxv, dyv := vec(dx), vec(dy)
	d.eachPanel(offsets, in, func(thread, e, at, rows, p int) {
		buf, we := d.scratch(thread, blockK*panel), vec(w[e])
		kn := min(panel, in-p*panel)
		for n0 := 0; n0 < out; n0 += blockK {
			nn := min(blockK, out-n0)
			for q := 0; q < nn; q += panel {
				transpose16(buf[q*panel:], we[(n0+q)*in+p*panel*panel:], kn)
			}
			rowTiles(at, at+rows, func(i, m int) {
				tile(m, kn, nn, dyv[i*out+n0:], out, 1, buf, panel, dxv[i*in+p*panel:], in, true)
			})
		}
	})
}

// GroupedLinearGradWeight adds dyᵀ x of each expert, a chain over its rows, as
// mulGrad does.
func (d *Device) GroupedLinearGradWeight(dw []tensor.Buffer, dy, x tensor.Buffer, offsets []int, out, in int) {
	dyv, xv := vec(dy), vec(x)
	all, tiles := offsets[len(offsets)-1], (in+tileM-1)/tileM
	xt := d.shared(all * tiles * tileM) // x transposed into tiles of tileM columns: [in/12][rows][12]
	d.pool.split(tiles, 8, func(_, lo, hi int) { packColumns(xt, xv, in, all, in, lo, hi) })
	d.eachPanel(offsets, out, func(thread, e, at, rows, p int) {
		buf, de := d.scratch(thread, blockK*panel), vec(dw[e])
		for r0 := at; r0 < at+rows; r0 += blockK {
			rn := min(blockK, at+rows-r0)
			packRows(buf, dyv[r0*out+p*panel:], out, rn, min(panel, out-p*panel))
			for t := range tiles {
				m := min(tileM, in-t*tileM)
				tile(m, panel, rn, xt[(t*all+r0)*tileM:], 1, tileM, buf, panel, de[(p*in+t*tileM)*panel:], panel, true)
			}
		}
	})
}

// Combine adds up a row's slots in order.
func (d *Device) Combine(y, x, gates tensor.Buffer, slots []int32, rows, k, dim int) {
	yv, xv, gv := vec(y), vec(x), vec(gates)
	d.pool.split(rows, rowGrain(2*k*dim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			row := yv[i*dim : (i+1)*dim]
			for j := range k {
				src := xv[int(slots[i*k+j])*dim:][:dim]
				if j == 0 {
					rowScale(row, src, gv[i*k])
					continue
				}
				rowAxpy(row, src, gv[i*k+j])
			}
		}
	})
}

// CombineGrad: a slot belongs to one row, so rows do not meet.
func (d *Device) CombineGrad(dx, dgates, dy, x, gates tensor.Buffer, slots []int32, rows, k, dim int) {
	dxv, dgv, dyv, xv, gv := vec(dx), vec(dgates), vec(dy), vec(x), vec(gates)
	d.pool.split(rows, rowGrain(3*k*dim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			row := dyv[i*dim : (i+1)*dim]
			for j := range k {
				at := int(slots[i*k+j]) * dim
				dgv[i*k+j] += rowDot(row, xv[at:at+dim])
				rowAxpy(dxv[at:at+dim], row, gv[i*k+j])
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
