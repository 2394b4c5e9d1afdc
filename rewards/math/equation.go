package math

import (
	"math/big"
	"math/cmplx"
)

// sameEquations compares l1 = r1 with l2 = r2: the differences of the sides must be
// proportional.
func sameEquations(a, b *parsed) bool {
	for _, p := range []*parsed{a, b} {
		if len(p.items) != 2 || p.items[0].form != formExpr || p.items[1].form != formExpr {
			return sameInOrder(a, b)
		}
	}
	f := node(opAdd, a.items[0].expr, node(opNeg, a.items[1].expr))
	g := node(opAdd, b.items[0].expr, node(opNeg, b.items[1].expr))
	if !hasUnknown(f) || !hasUnknown(g) {
		return sameInOrder(a, b)
	}
	var ratio uint64
	for p := range points {
		x, ok1 := field(f, fieldPoint(p))
		y, ok2 := field(g, fieldPoint(p))
		if !ok1 || !ok2 {
			return proportional(f, g)
		}
		if x == 0 || y == 0 {
			return x == y
		}
		r := mulMod(x, powMod(y, big.NewInt(prime-2)))
		if p > 0 && r != ratio {
			return false
		}
		ratio = r
	}
	return true
}

// proportional is sameEquations' numeric way.
func proportional(f, g *expr) bool {
	var ratio complex128
	for p := range points {
		at := floating{at: numericPoint(3 * p)}
		x, y := at.value(f), at.value(g)
		if !usable(x) || !usable(y) || y == 0 {
			return false
		}
		r := x / y
		if p > 0 && cmplx.Abs(r-ratio) > equal64*cmplx.Abs(ratio) {
			return false
		}
		ratio = r
	}
	return true
}
