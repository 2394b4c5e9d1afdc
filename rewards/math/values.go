package math

import (
	"hash/fnv"
)

// points at which functions are compared.
const points = 3

func sameExpr(a, b *expr) bool {
	if a.op == opVar && b.op == opVar {
		return a.name == b.name
	}
	if signOfInfinity(a) != 0 || signOfInfinity(b) != 0 {
		return signOfInfinity(a) == signOfInfinity(b)
	}
	x, okX := rational(a)
	y, okY := rational(b)
	if okX && okY {
		return x.Cmp(y) == 0 || rounded(a, y) || rounded(b, x)
	}
	if equal, decided := sameInField(a, b); decided {
		return equal || roundedNumeric(a, b) || roundedNumeric(b, a)
	}
	return sameNumerically(a, b) || roundedNumeric(a, b) || roundedNumeric(b, a)
}

// signOfInfinity returns 1 for infinity, -1 for its negative, 0 for anything else.
func signOfInfinity(e *expr) int {
	switch {
	case e.op == opVar && e.name == infinity:
		return 1
	case e.op == opNeg:
		return -signOfInfinity(e.args[0])
	}
	return 0
}

// seed makes a fixed number from an unknown's name and a point.
func seed(name string, point int) uint64 {
	h := fnv.New64a()
	h.Write([]byte{byte(point)})
	h.Write([]byte(name))
	s := h.Sum64() // then splitmix64's finalizer
	s = (s ^ s>>30) * 0xbf58476d1ce4e5b9
	s = (s ^ s>>27) * 0x94d049bb133111eb
	return s ^ s>>31
}

func fieldPoint(point int) func(string) uint64 {
	return func(name string) uint64 { return seed(name, point) % prime }
}

// sameInField compares rational functions; decided is false if one is none.
func sameInField(a, b *expr) (equal, decided bool) {
	for p := range points {
		x, ok1 := field(a, fieldPoint(p))
		y, ok2 := field(b, fieldPoint(p))
		if !ok1 || !ok2 {
			return false, false
		}
		if x != y {
			return false, true
		}
	}
	return true, true
}
