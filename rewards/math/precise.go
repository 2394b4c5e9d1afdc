package math

import (
	"math"
	"math/big"
	"sync"
)

// Bounds of high precision.
const (
	precBits  = 320     // of the mantissas
	trustBits = 200     // of a result that are relied on
	maxPower  = 1 << 19 // of e
	maxScale  = 1 << 20 // of the exponent of a value: beyond, products could overflow
	maxCalls  = 60      // of exp, log and what is made of them, in one evaluation: the cost of each is fixed
	scaleBits = 60      // intermediate values up to 2^60 set the tolerance of their sum
)

// big complex numbers. Values are not changed once they are made.
type wide struct{ re, im *big.Float }

func real320() *big.Float { return new(big.Float).SetPrec(precBits) }

func wideOf(re, im float64) wide {
	return wide{real320().SetFloat64(re), real320().SetFloat64(im)}
}

func wideRat(r *big.Rat) wide { return wide{real320().SetRat(r), real320()} }

func (a wide) add(b wide) wide { return wide{real320().Add(a.re, b.re), real320().Add(a.im, b.im)} }
func (a wide) sub(b wide) wide { return wide{real320().Sub(a.re, b.re), real320().Sub(a.im, b.im)} }
func (a wide) zero() bool      { return a.re.Sign() == 0 && a.im.Sign() == 0 }
func (a wide) isReal() bool    { return a.im.Sign() == 0 }

func (a wide) mul(b wide) wide {
	if a.isReal() && b.isReal() {
		return wide{real320().Mul(a.re, b.re), real320()}
	}
	rr, ii := real320().Mul(a.re, b.re), real320().Mul(a.im, b.im)
	ri, ir := real320().Mul(a.re, b.im), real320().Mul(a.im, b.re)
	return wide{rr.Sub(rr, ii), ri.Add(ri, ir)}
}

func (a wide) norm() *big.Float { // |a|^2
	rr, ii := real320().Mul(a.re, a.re), real320().Mul(a.im, a.im)
	return rr.Add(rr, ii)
}

func (a wide) div(b wide) wide { // b is not 0
	if b.isReal() {
		return wide{real320().Quo(a.re, b.re), real320().Quo(a.im, b.re)}
	}
	n := b.norm()
	q := a.mul(wide{b.re, real320().Neg(b.im)})
	return wide{q.re.Quo(q.re, n), q.im.Quo(q.im, n)}
}

// bits returns the exponent of |a|: |a| is about 2^bits. Of 0 it is the least.
func (a wide) bits() int {
	n := math.MinInt32
	for _, f := range []*big.Float{a.re, a.im} {
		if f.Sign() != 0 {
			n = max(n, f.MantExp(nil))
		}
	}
	return n
}

// Constants, computed once: pi by Machin's formula, ln 2 by the series of artanh(1/3).
var (
	widePi = sync.OnceValue(func() *big.Float {
		sum := inverseSeries(5, -1)
		sum.Mul(sum, real320().SetInt64(16))
		rest := inverseSeries(239, -1)
		return sum.Sub(sum, rest.Mul(rest, real320().SetInt64(4)))
	})
	wideLn2 = sync.OnceValue(func() *big.Float {
		sum := inverseSeries(3, 1)
		return sum.Mul(sum, real320().SetInt64(2))
	})
)

// inverseSeries returns the sum of sign^k / ((2k+1) n^(2k+1)): arctan(1/n) for -1,
// artanh(1/n) for 1.
func inverseSeries(n int64, sign int) *big.Float {
	sum, power := real320(), real320().Quo(real320().SetInt64(1), real320().SetInt64(n))
	square := real320().SetInt64(n * n)
	for k := int64(0); power.MantExp(nil) > -precBits-8; k++ {
		term := real320().Quo(power, real320().SetInt64(2*k+1))
		if sign < 0 && k%2 == 1 {
			sum.Sub(sum, term)
		} else {
			sum.Add(sum, term)
		}
		power.Quo(power, square)
	}
	return sum
}

// halvings before the series of exp, undone by as many squarings.
const halvings = 8

// expWide returns e^a; ok is false if it is too large to say.
func expWide(a wide) (v wide, ok bool) {
	size, _ := a.re.Float64()
	turn, _ := a.im.Float64()
	if !(math.Abs(size) < maxPower && math.Abs(turn) < maxPower) {
		return wide{}, false
	}
	shift := math.Round(size / math.Ln2)
	re := real320().Sub(a.re, real320().Mul(wideLn2(), real320().SetFloat64(shift)))
	im := a.im
	if turns := math.Round(turn / (2 * math.Pi)); turns != 0 {
		im = real320().Sub(im, real320().Mul(widePi(), real320().SetFloat64(2*turns)))
	}
	r := wide{real320().SetMantExp(re, -halvings), real320().SetMantExp(im, -halvings)}
	sum, term := wideOf(1, 0), wideOf(1, 0)
	for k := int64(1); k < 200; k++ {
		term = term.mul(r)
		n := real320().SetInt64(k)
		term = wide{real320().Quo(term.re, n), real320().Quo(term.im, n)}
		sum = sum.add(term)
		if term.bits() < -precBits {
			break
		}
	}
	for range halvings {
		sum = sum.mul(sum)
	}
	return wide{real320().SetMantExp(sum.re, int(shift)), real320().SetMantExp(sum.im, int(shift))}, true
}

// logWide returns the principal logarithm of a, which is not 0.
func logWide(a wide) (wide, bool) {
	mant := real320()
	exponent := a.norm().MantExp(mant) // |a|^2 = mant * 2^exponent
	m, _ := mant.Float64()
	y := real320().SetFloat64(math.Log(m))
	for range 2 { // Halley's step triples the digits: 53, 159, all
		e, ok := expWide(wide{y, real320()})
		if !ok {
			return wide{}, false
		}
		diff, sum := real320().Sub(mant, e.re), real320().Add(mant, e.re)
		y = real320().Add(y, diff.Mul(diff, real320().SetInt64(2)).Quo(diff, sum))
	}
	y.Add(y, real320().Mul(wideLn2(), real320().SetInt64(int64(exponent))))
	y.Quo(y, real320().SetInt64(2))
	angle, ok := angleWide(a)
	return wide{y, angle}, ok
}

// angleWide returns the argument of a, from -pi (left out) to pi.
func angleWide(a wide) (*big.Float, bool) {
	if a.im.Sign() == 0 {
		if a.re.Sign() < 0 {
			return widePi(), true
		}
		return real320(), true
	}
	n := a.bits()
	re, _ := real320().SetMantExp(a.re, -n).Float64()
	im, _ := real320().SetMantExp(a.im, -n).Float64()
	start := math.Atan2(im, re)
	turn, ok := expWide(wide{real320(), real320().SetFloat64(start)})
	if !ok {
		return nil, false
	}
	// sin of what is missing: Im(a * conj(turn)) / |a|; its arcsine by three terms.
	d := a.mul(wide{turn.re, real320().Neg(turn.im)}).im
	d.Quo(d, real320().Sqrt(a.norm()))
	square := real320().Mul(d, d)
	fifth := real320().Mul(square, real320().Quo(real320().SetInt64(3), real320().SetInt64(40)))
	fifth.Add(fifth, real320().Quo(real320().SetInt64(1), real320().SetInt64(6)))
	fifth.Mul(fifth, square).Add(fifth, real320().SetInt64(1)).Mul(fifth, d)
	return fifth.Add(fifth, real320().SetFloat64(start)), true
}

// sqrtWide returns the principal square root.
func sqrtWide(a wide) wide {
	if a.isReal() {
		if a.re.Sign() < 0 {
			return wide{real320(), real320().Sqrt(real320().Neg(a.re))}
		}
		return wide{real320().Sqrt(a.re), real320()}
	}
	abs := real320().Sqrt(a.norm())
	half := func(f *big.Float) *big.Float { return f.SetMantExp(f, -1) }
	// The sum without cancellation first, the other part from the product 2 re im.
	if a.re.Sign() >= 0 {
		re := real320().Sqrt(half(real320().Add(abs, a.re)))
		return wide{re, half(real320().Quo(a.im, re))}
	}
	im := real320().Sqrt(half(real320().Sub(abs, a.re)))
	if a.im.Sign() < 0 {
		im.Neg(im)
	}
	return wide{half(real320().Quo(a.im, im)), im}
}
