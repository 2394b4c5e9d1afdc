package cpu

import "github.com/grouse-rl/grouse/internal/tensor"

// eachHead calls fn with the places of head h of row i in both matrices.
func (d *Device) eachHead(to, from tensor.HeadBlock, n, rows int, fn func(y, x int)) {
	d.pool.split(rows, rowGrain(to.Heads*n), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			for h := range to.Heads {
				fn((i*to.Heads+h)*to.Width+to.Offset, (i*from.Heads+h%from.Heads)*from.Width+from.Offset)
			}
		}
	})
}

// CopyHeads copies columns of heads.
func (d *Device) CopyHeads(y, x tensor.Buffer, to, from tensor.HeadBlock, n, rows int) {
	yv, xv := vec(y), vec(x)
	d.eachHead(to, from, n, rows, func(y, x int) { copy(yv[y:y+n], xv[x:x+n]) })
}

// CopyHeadsGrad adds them back.
func (d *Device) CopyHeadsGrad(dx, dy tensor.Buffer, to, from tensor.HeadBlock, n, rows int) {
	dxv, dyv := vec(dx), vec(dy)
	d.eachHead(to, from, n, rows, func(y, x int) { rowAdd(dxv[x:x+n], dxv[x:x+n], dyv[y:y+n]) })
}
