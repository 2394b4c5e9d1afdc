package cpu

import (
	"math"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// rowMoments returns the mean of x and 1/sqrt(variance + eps), in float64.
func rowMoments(x []float32, eps float32) (mean, inv float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	variance := 0.0
	for _, v := range x {
		d := float64(v) - mean
		variance += float64(d * d)
	}
	return mean, 1 / math.Sqrt(variance/float64(len(x))+float64(eps))
}

// LayerNorm normalizes rows.
func (d *Device) LayerNorm(y, x, w, b tensor.Buffer, eps float32, n, dim int) {
	yv, xv, wv, bv := vec(y), vec(x), vec(w), vec(b)
	d.pool.split(n, rowGrain(4*dim), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			row := xv[i*dim : (i+1)*dim]
			mean, inv := rowMoments(row, eps)
			for j, v := range row {
				yv[i*dim+j] = float32(float64((float64(v)-mean)*inv)*float64(wv[j])) + bv[j]
			}
		}
	})
}

// LayerNormGrad: with h = (x - mean) inv and g = w dy, dx = inv (g - mean(g) - h
// mean(g h)); dw and db are summed over rows in order.
func (d *Device) LayerNormGrad(dx, dw, db, dy, x, w tensor.Buffer, eps float32, n, dim int) {
	dxv, dwv, dbv, dyv, xv, wv := vec(dx), vec(dw), vec(db), vec(dy), vec(x), vec(w)
	for i := range n {
		row, g := xv[i*dim:(i+1)*dim], dyv[i*dim:(i+1)*dim]
		mean, inv := rowMoments(row, eps)
		sum, dot := 0.0, 0.0
		for j, v := range row {
			p := float64(wv[j]) * float64(g[j])
			sum += p
			dot += float64(p * ((float64(v) - mean) * inv))
		}
		sum, dot = sum/float64(dim), dot/float64(dim)
		for j, v := range row {
			h := (float64(v) - mean) * inv
			dxv[i*dim+j] += float32(inv * (float64(float64(wv[j])*float64(g[j])) - sum - float64(h*dot)))
			dwv[j] += float32(float64(g[j]) * h)
			dbv[j] += g[j]
		}
	}
}
