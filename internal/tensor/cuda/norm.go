package cuda

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// RMSNorm normalizes rows.
func (d *Device) RMSNorm(y, x, w tensor.Buffer, eps float32, n, dim int) {
	defer d.begin()()
	d.blocks("rms_norm", n, dim, 0, out(y), in(x), in(w), eps, i32(dim))
}

// RMSNormGrad adds to dx, and to dw if it is not nil.
func (d *Device) RMSNormGrad(dx, dw, dy, x, w tensor.Buffer, eps float32, n, dim int) {
	defer d.begin()()
	inverses := d.floats(n)
	d.blocks("rms_norm_grad", n, dim, 0, out(dx), inverses, in(dy), in(x), in(w), eps, i32(dim))
	if dw == nil {
		return
	}
	d.columnSums(out(dw), n, dim, func(partial driver.Ptr, dims driver.Dims, chunk int32) {
		d.drv.Launch("rms_norm_weight_partial", dims, partial, in(dy), in(x), inverses, i32(n), i32(dim), chunk)
	})
}

// LayerNorm normalizes rows.
func (d *Device) LayerNorm(y, x, w, b tensor.Buffer, eps float32, n, dim int) {
	defer d.begin()()
	d.blocks("layer_norm", n, dim, 0, out(y), in(x), in(w), in(b), eps, i32(dim))
}

// LayerNormGrad adds to dx, dw and db.
func (d *Device) LayerNormGrad(dx, dw, db, dy, x, w tensor.Buffer, eps float32, n, dim int) {
	defer d.begin()()
	stats := d.floats(2 * n)
	d.blocks("layer_norm_grad", n, dim, 0, out(dx), stats, in(dy), in(x), in(w), eps, i32(dim))
	d.columnSums(out(dw), n, dim, func(partial driver.Ptr, dims driver.Dims, chunk int32) {
		d.drv.Launch("layer_norm_weight_partial", dims, partial, in(dy), in(x), stats, i32(n), i32(dim), chunk)
	})
	d.sumColumns(out(db), in(dy), n, dim)
}
