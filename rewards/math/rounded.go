package math

import (
	"math"
	"math/big"
)

// enoughDecimals is how many decimals make a rounded answer good.
const enoughDecimals = 6

// floatDecimals is how many of them count: what a float prints after is noise.
const floatDecimals = 12

// decimal returns a decimal literal, with its sign, and how many decimals it has.
func decimal(e *expr) (v *big.Rat, decimals int) {
	if e.op == opNeg {
		if v, d := decimal(e.args[0]); v != nil {
			return new(big.Rat).Neg(v), d
		}
		return nil, 0
	}
	if e.op == opNum && e.decimals >= enoughDecimals {
		return e.num, e.decimals
	}
	return nil, 0
}

// rounded reports whether e is a decimal within a unit of its last place of v.
func rounded(e *expr, v *big.Rat) bool {
	d, n := decimal(e)
	if d == nil {
		return false
	}
	unit := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(min(n, floatDecimals))), nil))
	diff := new(big.Rat).Sub(d, v)
	return diff.Abs(diff).Cmp(unit) < 0
}

// roundedNumeric reports whether a is a decimal within a unit of its last place of
// the constant b.
func roundedNumeric(a, b *expr) bool {
	d, n := decimal(a)
	if d == nil || hasUnknown(b) {
		return false
	}
	at := floating{at: numericPoint(0)}
	x := at.value(b)
	f, _ := d.Float64()
	return usable(x) && math.Abs(imag(x)) < 1e-12 && math.Abs(f-real(x)) < math.Pow(10, -float64(min(n, floatDecimals)))
}

func hasUnknown(e *expr) bool {
	if e.op == opVar && e.name != pi && e.name != euler && e.name != imaginary {
		return true
	}
	for _, a := range e.args {
		if hasUnknown(a) {
			return true
		}
	}
	return false
}
