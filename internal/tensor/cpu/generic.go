package cpu

import "math"

// The kernels in plain Go. They give the same bits as the assembly: they judge
// it in the tests, and run where there is none.

// fma32 is the fused multiply-add x*y + z in float32: one rounding. The product
// of two float32 is exact in float64; the sum is rounded to odd there, which
// makes the second rounding to float32 the only one that counts.
func fma32(x, y, z float32) float32 {
	p := float64(x) * float64(y)
	c := float64(z)
	s := p + c
	t := s - p // TwoSum: s + err is p + c exactly
	err := (p - (s - t)) + (c - t)
	if err != 0 {
		if b := math.Float64bits(s); b&1 == 0 && !math.IsInf(s, 0) {
			if (err > 0) == (s > 0) {
				b++
			} else {
				b--
			}
			s = math.Float64frombits(b)
		}
	}
	return float32(s)
}

func gemmGeneric(m, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, load bool) {
	for i := range m {
		row := c[i*ldc : i*ldc+panel]
		if !load {
			clear(row)
		}
		for p := range k {
			x := a[i*rsa+p*csa]
			bp := b[p*ldb : p*ldb+panel]
			for j, y := range bp {
				row[j] = fma32(x, y, row[j])
			}
		}
	}
}

const (
	expLow  = float32(-87.33)
	expHigh = float32(88.37)
	ln2Hi   = float32(0.693359375)
	ln2Lo   = float32(-2.12194440e-4)
)

// exp32 is e^x as the vector kernels compute it (Cephes' expf): at most 2 units
// in the last place off, 0 under -87.33, finite above 88.37.
func exp32(x float32) float32 {
	if x < expLow {
		return 0
	}
	if x > expHigh {
		x = expHigh
	}
	n := float32(math.RoundToEven(float64(float32(x * math.Log2E))))
	x = fma32(-ln2Hi, n, x)
	x = fma32(-ln2Lo, n, x)
	y := float32(1.9875691500e-4)
	for _, p := range [...]float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		y = fma32(y, x, p)
	}
	y = fma32(y, float32(x*x), x) + 1
	if x != x {
		return x
	}
	return y * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// lanes is the running state of a 16-lane reduction.
type lanes [16]float32

func (l *lanes) sum() float32 {
	for w := 8; w > 0; w /= 2 {
		for i := range w {
			l[i] += l[i+w]
		}
	}
	return l[0]
}

func rowMaxGeneric(x []float32) float32 {
	m := x[0]
	for _, v := range x[1:] {
		if v > m || v != v {
			m = v
		}
	}
	return m
}

func rowExpGeneric(dst, x []float32, scale, shift float32) float32 {
	var l lanes
	for i, v := range x {
		e := exp32(fma32(v, scale, -shift))
		l[i%16] += e
		dst[i] = e
	}
	return l.sum()
}

func rowDotGeneric(x, y []float32) float32 {
	var l lanes
	for i, v := range x {
		l[i%16] = fma32(v, y[i], l[i%16])
	}
	return l.sum()
}

func rowDot3Generic(w, x, y []float32) float32 {
	var l lanes
	for i, v := range x {
		l[i%16] = fma32(float32(w[i]*v), y[i], l[i%16])
	}
	return l.sum()
}

func rowAddGeneric(dst, x, y []float32) {
	for i, v := range x {
		dst[i] = v + y[i]
	}
}

func rowScaleGeneric(dst, x []float32, a float32) {
	for i, v := range x {
		dst[i] = a * v
	}
}

func rowAxpyGeneric(dst, x []float32, a float32) {
	for i, v := range x {
		dst[i] = fma32(v, a, dst[i])
	}
}

func rowReluAxpyGeneric(dst, x []float32, a float32) {
	for i, v := range x {
		if 0 > v {
			v = 0
		}
		dst[i] = fma32(v, a, dst[i])
	}
}

func rowNormGeneric(dst, x, w []float32, inv float32) {
	for i, v := range x {
		dst[i] = float32(v*inv) * w[i]
	}
}

func rowNormBackGeneric(dx, dw, dy, x, w []float32, inv, k float32) {
	for i, v := range x {
		t := fma32(float32(w[i]*dy[i]), inv, -float32(k*v))
		dx[i] += t
		dw[i] = fma32(float32(inv*v), dy[i], dw[i])
	}
}

func sigmoid32(g float32) float32 { return 1 / (1 + exp32(-g)) }

func rowSwiGLUGeneric(dst, g, u []float32) {
	for i, v := range g {
		dst[i] = float32(v*sigmoid32(v)) * u[i]
	}
}

func rowSwiGLUBackGeneric(dg, du, dy, g, u []float32) {
	for i, v := range g {
		s, d, uv := sigmoid32(v), dy[i], u[i]
		du[i] = d * float32(v*s)
		t := float32(fma32(float32(1-s), v, 1) * s)
		dg[i] = float32(d*uv) * t
	}
}

func rowRopeGeneric(x1, x2, cos, sin []float32, sign float32) {
	for i, a := range x1 {
		b, s := x2[i], float32(sin[i]*sign)
		x1[i] = fma32(a, cos[i], -float32(b*s))
		x2[i] = fma32(b, cos[i], float32(a*s))
	}
}

func rowSoftmaxBackGeneric(p, dp []float32, delta, scale float32) {
	for i, v := range p {
		dp[i] = float32(float32(dp[i]-delta)*v) * scale
	}
}

func rowAdamWGeneric(p, g, m, v []float32, c *[9]float32) {
	for i := range p {
		gv := g[i] * c[0]
		mv := fma32(gv, c[2], float32(m[i]*c[1]))
		m[i] = mv
		vv := fma32(float32(gv*gv), c[4], float32(v[i]*c[3]))
		v[i] = vv
		den := fma32(float32(math.Sqrt(float64(vv))), c[5], c[6])
		p[i] = float32(p[i]*c[8]) - float32(mv*c[7])/den
	}
}
