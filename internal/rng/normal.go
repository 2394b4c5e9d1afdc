package rng

import "math"

// Normal variates by Box and Muller's transform, with a logarithm, sine and
// cosine of our own: math.Log and math.Sincos have assembly on some processors
// and may be fused on others, so their last bit is not the same everywhere.
// Every product that is added to something is rounded on its own (the explicit
// float64 conversions), which forbids fusing.

// Normals fills dst with independent standard normal variates: elements 2i and
// 2i+1 come from Philox(k, {i, b, c, d}). So element i does not depend on
// len(dst), and parts of a tensor may be filled from different offsets by
// NormalAt.
func (k Key) Normals(dst []float64, b, c, d uint32) {
	for i := 0; i < len(dst); i += 2 {
		z0, z1 := k.normalPair(uint32(i/2), b, c, d)
		dst[i] = z0
		if i+1 < len(dst) {
			dst[i+1] = z1
		}
	}
}

// NormalAt returns element i of Normals.
func (k Key) NormalAt(i uint64, b, c, d uint32) float64 {
	z0, z1 := k.normalPair(uint32(i/2), b, c, d)
	if i%2 == 0 {
		return z0
	}
	return z1
}

func (k Key) normalPair(i, b, c, d uint32) (z0, z1 float64) {
	x := Philox(k, Counter{i, b, c, d})
	u := 1 - Uniform53(x[0], x[1]) // in (0, 1]: its logarithm is finite
	r := math.Sqrt(-2 * Log(u))
	sin, cos := SinCosTurn(Uniform53(x[2], x[3]))
	return r * cos, r * sin
}

// SinCosTurn returns the sine and cosine of 2 pi v for v in [0, 1). The turn is
// reduced exactly to within an eighth of a turn, then Taylor's series
// are summed.
func SinCosTurn(v float64) (sin, cos float64) {
	quarter := math.Floor(v*4 + 0.5)             // the nearest; v*4 is exact
	x := float64(2*math.Pi) * (v - quarter*0.25) // |x| <= pi/4; the difference is exact
	x2 := x * x
	s, c := 0.0, 0.0
	for k := 21; k >= 3; k -= 2 { // what is left out is below x^22/22! < 1e-23
		s = float64(-x2 / float64((k-1)*k) * (1 + s))
		c = float64(-x2 / float64((k-2)*(k-1)) * (1 + c))
	}
	sin, cos = x*(1+s), 1+c
	switch int(quarter) % 4 {
	case 1:
		return cos, -sin
	case 2:
		return -sin, -cos
	case 3:
		return -cos, sin
	}
	return sin, cos
}
