package math

import (
	"math"
	"math/cmplx"
)

// Points at which expressions are evaluated: positive values between 0.3 and 2.3, where
// roots and logarithms are real; negative ones for what has an absolute value, and
// larger ones for what has steps.
func numericPoint(point int) func(name string) float64 {
	return func(name string) float64 {
		v := 0.3 + 2*float64(seed(name, point)>>11)*0x1p-53
		switch point % 3 {
		case 1:
			return -v
		case 2:
			return 37 * v
		}
		return v
	}
}

// pointsFor lists the points at which two expressions are compared: one if there is
// nothing unknown.
func pointsFor(a, b *expr) []int {
	if !hasUnknown(a) && !hasUnknown(b) {
		return []int{0}
	}
	list := []int{0, 3, 6}
	if hasCall(a, "abs") || hasCall(b, "abs") {
		list = append(list, 1, 4)
	}
	if hasCall(a, "floor", "ceil") || hasCall(b, "floor", "ceil") {
		list = append(list, 1, 2, 5, 8, 11, 14)
	}
	return list
}

func hasCall(e *expr, names ...string) bool {
	if e.op == opFn {
		for _, n := range names {
			if e.name == n {
				return true
			}
		}
	}
	for _, a := range e.args {
		if hasCall(a, names...) {
			return true
		}
	}
	return false
}

// sameNumerically compares the values of two expressions at fixed points.
func sameNumerically(a, b *expr) bool {
	compared := 0
	for _, p := range pointsFor(a, b) {
		equal, defined := sameAt(a, b, numericPoint(p))
		if defined && !equal {
			return false
		}
		if defined {
			compared++
		}
	}
	return compared > 0
}

// Tolerances of floating point, relative to the largest intermediate value.
const (
	unequal = 1e-7 // what differs by more is different
	equal64 = 1e-9 // what differs by less is equal, where high precision has no answer
)

// sameAt compares at one point: in floating point if that shows a difference, else in
// high precision. defined is false if neither expression has a value there.
func sameAt(a, b *expr, at func(string) float64) (equal, defined bool) {
	f := floating{at: at}
	x, y := f.value(a), f.value(b)
	okX, okY := usable(x), usable(y)
	if okX && okY && cmplx.Abs(x-y) > unequal*f.peak {
		return false, true
	}
	p := precise{at: at}
	v, ok1 := p.value(a)
	w, ok2 := p.value(b)
	switch {
	case p.spent && okX && okY:
		return cmplx.Abs(x-y) <= equal64*max(cmplx.Abs(x), cmplx.Abs(y))+1e-13, true
	case p.spent:
		return false, okX != okY
	case ok1 && ok2:
		d := v.sub(w)
		return d.zero() || d.bits() <= max(v.bits(), w.bits(), min(p.peak, scaleBits))-trustBits, true
	}
	return false, ok1 != ok2
}

func usable(x complex128) bool {
	return !cmplx.IsNaN(x) && !cmplx.IsInf(x) && cmplx.Abs(x) < math.MaxFloat64/4
}
