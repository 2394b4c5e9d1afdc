package cpu

import "github.com/grouse-rl/grouse/internal/tensor"

// AdamW updates p, m and v. Moments in bfloat16 are widened, updated in float32
// and rounded back; the weight is updated with the moments before they are rounded.
func (d *Device) AdamW(p, grad, m, v tensor.Buffer, s tensor.AdamWStep) {
	c := [9]float32{s.Scale, s.Beta1, s.OneSubBeta1, s.Beta2, s.OneSubBeta2, s.InvRootBias2, s.Eps, s.Rate, s.Shrink}
	pv, gv := vec(p), vec(grad)
	if mv, ok := m.(BF16); ok {
		vv := v.(BF16)
		d.flat(len(pv), func(lo, hi int) { rowAdamWBF16(pv[lo:hi], gv[lo:hi], mv[lo:hi], vv[lo:hi], &c) })
		return
	}
	mv, vv := vec(m), vec(v)
	d.flat(len(pv), func(lo, hi int) { rowAdamW(pv[lo:hi], gv[lo:hi], mv[lo:hi], vv[lo:hi], &c) })
}

// rowAdamWBF16 is rowAdamW over bfloat16 moments, a block at a time.
func rowAdamWBF16(p, g []float32, m, v BF16, c *[9]float32) {
	const block = 512
	var mf, vf [block]float32
	for lo := 0; lo < len(p); lo += block {
		n := min(block, len(p)-lo)
		m[lo : lo+n].widen(mf[:n])
		v[lo : lo+n].widen(vf[:n])
		rowAdamW(p[lo:lo+n], g[lo:lo+n], mf[:n], vf[:n], c)
		m[lo : lo+n].round(mf[:n])
		v[lo : lo+n].round(vf[:n])
	}
}
