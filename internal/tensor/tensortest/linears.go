package tensortest

import (
	"slices"
	"testing"
)

// linears gives each product what Linear gives, for few and for many rows.
func linears(t *testing.T, d device) [][]float32 {
	const in = 40
	outs := []int{33, 16, 70}
	var all [][]float32
	for _, rows := range []int{1, 16, 50} {
		x := upload(d, Ramp(rows*in, 1))
		var w, y []buf
		bias := []buf{upload(d, Ramp(outs[0], 9)), nil, upload(d, Ramp(outs[2], 8))}
		for i, n := range outs {
			w, y = append(w, d.NewMatrix(n, in)), append(y, d.New(rows*n))
			d.WriteMatrix(w[i], Ramp(n*in, uint32(i+2)), n, in)
		}
		d.Linears(y, x, w, bias, rows, outs, in)
		for i, n := range outs {
			alone := d.New(rows * n)
			d.Linear(alone, x, w[i], bias[i], rows, n, in)
			got := download(d, y[i])
			if !slices.Equal(got, download(d, alone)) {
				t.Errorf("%d rows: product %d is another than alone", rows, i)
			}
			all = append(all, got)
		}
	}
	return all
}

// linearsGrad gives what one weight after the other gives, the last one first; a weight
// without a gradient has none.
func linearsGrad(t *testing.T, d device) [][]float32 {
	outs := []int{33, 16, 70}
	var all [][]float32
	for _, c := range [][2]int{{1, 40}, {50, 40}, {300, 40}, {300, 400}} {
		rows, in := c[0], c[1]
		x := upload(d, Ramp(rows*in, 1))
		var w, dy []buf
		for i, n := range outs {
			w, dy = append(w, d.NewMatrix(n, in)), append(dy, upload(d, Ramp(rows*n, uint32(20+i))))
			d.WriteMatrix(w[i], Ramp(n*in, uint32(i+2)), n, in)
		}
		grads := func() (dx buf, dw, db []buf) {
			for _, n := range outs {
				dw, db = append(dw, d.NewMatrix(n, in)), append(db, upload(d, Ramp(n, 5)))
			}
			dw[1], db[2] = nil, nil
			return upload(d, Ramp(rows*in, 6)), dw, db
		}
		for _, add := range []bool{false, true} {
			dx, dw, db := grads()
			d.LinearsGrad(dx, dw, db, dy, x, w, rows, outs, in, add)
			oneX, oneW, oneB := grads()
			for i := len(outs) - 1; i >= 0; i-- {
				d.LinearsGrad(oneX, oneW[i:i+1], oneB[i:i+1], dy[i:i+1], x, w[i:i+1], rows, outs[i:i+1], in, add || i < len(outs)-1)
			}
			all = append(all, download(d, dx))
			if !slices.Equal(all[len(all)-1], download(d, oneX)) {
				t.Errorf("%d rows of %d, add %v: the input's gradient is another than one by one", rows, in, add)
			}
			for i, n := range outs {
				if dw[i] != nil {
					got, want := make([]float32, n*in), make([]float32, n*in)
					d.ReadMatrix(got, dw[i], n, in)
					d.ReadMatrix(want, oneW[i], n, in)
					if all = append(all, got); !slices.Equal(got, want) {
						t.Errorf("%d rows of %d: weight %d has another gradient than alone", rows, in, i)
					}
				}
				if db[i] != nil {
					got := download(d, db[i])
					if all = append(all, got); !slices.Equal(got, download(d, oneB[i])) {
						t.Errorf("%d rows of %d: bias %d has another gradient than alone", rows, in, i)
					}
				}
			}
		}
	}
	return all
}

// setGradients: what an operation sets is what it adds to zeros.
func setGradients(t *testing.T, d device) [][]float32 {
	const rows, outs, in = 30, 20, 24
	w := d.NewMatrix(outs, in)
	d.WriteMatrix(w, Ramp(outs*in, 1), outs, in)
	x, dy := upload(d, Ramp(rows*in, 2)), upload(d, Ramp(rows*outs, 3))
	junk := func() buf { return upload(d, Ramp(rows*in, 4)) }
	set, added := junk(), d.New(rows*in)
	none := []buf{nil}
	d.LinearsGrad(set, none, none, []buf{dy}, nil, []buf{w}, rows, []int{outs}, in, false)
	d.LinearsGrad(added, none, none, []buf{dy}, nil, []buf{w}, rows, []int{outs}, in, true)
	all := [][]float32{download(d, set)}
	if !slices.Equal(all[0], download(d, added)) {
		t.Error("LinearsGrad sets another gradient than it adds")
	}
	set, added = junk(), d.New(rows*in)
	up, upAdded := junk(), d.New(rows*in)
	d.SwiGLUGrad(set, up, x, x, x, false)
	d.SwiGLUGrad(added, upAdded, x, x, x, true)
	all = append(all, download(d, set), download(d, up))
	if !slices.Equal(all[1], download(d, added)) || !slices.Equal(all[2], download(d, upAdded)) {
		t.Error("SwiGLUGrad sets other gradients than it adds")
	}
	return all
}
