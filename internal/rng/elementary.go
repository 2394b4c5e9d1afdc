package rng

import "math"

// Elementary functions in float64 with the same bits on every machine. math.Exp
// takes another path where the processor has fused multiply-adds; here every
// product that is added to something is rounded on its own, and only operations
// that IEEE 754 rounds exactly are used. The error is at most one unit in
// the last place for Log, two for Exp, four for Expm1.

// ln(2)/32 in two parts: n*ln2By32Hi is exact for |n| < 2^27.
const (
	ln2By32Hi  = 0x1.62e42f8000000p-6
	ln2By32Lo  = 0x1.be8e7bcd5e4f2p-32
	inv32ByLn2 = 32 / math.Ln2
)

// exp2By32[j] is 2^(j/32), rounded to nearest.
var exp2By32 = [32]float64{
	0x1.0000000000000p+0, 0x1.059b0d3158574p+0, 0x1.0b5586cf9890fp+0, 0x1.11301d0125b51p+0,
	0x1.172b83c7d517bp+0, 0x1.1d4873168b9aap+0, 0x1.2387a6e756238p+0, 0x1.29e9df51fdee1p+0,
	0x1.306fe0a31b715p+0, 0x1.371a7373aa9cbp+0, 0x1.3dea64c123422p+0, 0x1.44e086061892dp+0,
	0x1.4bfdad5362a27p+0, 0x1.5342b569d4f82p+0, 0x1.5ab07dd485429p+0, 0x1.6247eb03a5585p+0,
	0x1.6a09e667f3bcdp+0, 0x1.71f75e8ec5f74p+0, 0x1.7a11473eb0187p+0, 0x1.82589994cce13p+0,
	0x1.8ace5422aa0dbp+0, 0x1.93737b0cdc5e5p+0, 0x1.9c49182a3f090p+0, 0x1.a5503b23e255dp+0,
	0x1.ae89f995ad3adp+0, 0x1.b7f76f2fb5e47p+0, 0x1.c199bdd85529cp+0, 0x1.cb720dcef9069p+0,
	0x1.d5818dcfba487p+0, 0x1.dfc97337b9b5fp+0, 0x1.ea4afa2a490dap+0, 0x1.f50765b6e4540p+0,
}

// Exp returns e^x.
//
//	x = n ln(2)/32 + r,  |r| <= ln(2)/64
//	e^x = 2^(n div 32) * 2^((n mod 32)/32) * e^r
//
// Taylor's series of e^r to r^7 leaves less than 2^-66.
func Exp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 709.782712893384: // log(MaxFloat64)
		return math.Inf(1)
	case x < -745.1332191019412: // log(SmallestNonzeroFloat64/2)
		return 0
	}
	n := math.RoundToEven(x * inv32ByLn2)
	r := (x - float64(n*ln2By32Hi)) - float64(n*ln2By32Lo)
	p := expm1Small(r)
	i := int(n)
	t := exp2By32[i&31]
	return scale(t+float64(t*p), i>>5)
}

// expm1Small returns e^r - 1 for |r| <= ln(2)/64.
func expm1Small(r float64) float64 {
	p := float64(r*(1.0/5040)) + 1.0/720
	p = float64(r*p) + 1.0/120
	p = float64(r*p) + 1.0/24
	p = float64(r*p) + 1.0/6
	p = float64(r*p) + 0.5
	return r + float64(float64(r*r)*p)
}

// scale returns v * 2^e for v in [1, 2], also where the result is subnormal.
func scale(v float64, e int) float64 {
	if e >= -1022 && e < 1023 {
		return v * math.Float64frombits(uint64(e+1023)<<52)
	}
	return math.Ldexp(v, e)
}

// Expm1 returns e^x - 1 without losing digits near 0.
func Expm1(x float64) float64 {
	if x > 0.25 || x < -0.25 || x != x {
		return Exp(x) - 1
	}
	// x + x^2/2! (1 + x/3 (1 + x/4 (...))): what is left out is below x^16/16! < 1e-22.
	s := 0.0
	for k := 15; k >= 3; k-- {
		s = float64(x / float64(k) * (1 + s))
	}
	return x + float64(float64(0.5*x*x)*(1+s))
}

// Log returns the natural logarithm of x.
//
//	x = 2^e m,  m in [sqrt(1/2), sqrt(2))
//	log m = 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ...),  s = (m-1)/(m+1), |s| <= 0.1716
//
// Terms to s^23 leave less than 1e-19.
func Log(x float64) float64 {
	switch {
	case x != x || x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	case math.IsInf(x, 1):
		return x
	}
	m, e := math.Frexp(x) // exact; m in [1/2, 1)
	if m < math.Sqrt2/2 {
		m *= 2
		e--
	}
	f := m - 1 // exact
	s := f / (2 + f)
	s2 := s * s
	sum := 0.0
	for k := 23; k >= 3; k -= 2 {
		sum = float64(s2 * (1/float64(k) + sum))
	}
	// 2s is f - s f (exactly, in real numbers), which keeps the leading term f unrounded.
	tail := float64(s * (f - float64(2*sum)))
	const ln2hi, ln2lo = 32 * ln2By32Hi, 32 * ln2By32Lo
	return float64(float64(e)*ln2hi) + (f - (tail - float64(float64(e)*ln2lo)))
}
