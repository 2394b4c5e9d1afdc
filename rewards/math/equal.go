package math

import (
	"hash/fnv"
	"math"
	"math/big"
	"math/cmplx"
	"strings"
)

// Equivalent reports whether an answer is the reference. It is symmetric up to
// rounding: an answer with six or more decimals may be the reference rounded.
func Equivalent(answer, reference string) bool {
	if len(answer) > maxLength || len(reference) > maxLength {
		return strings.TrimSpace(answer) == strings.TrimSpace(reference)
	}
	a, b := asText(answer), asText(reference)
	if a == b && a != "" {
		return true
	}
	return same(read(answer), read(reference))
}

func same(a, b *parsed) bool {
	if a.base != b.base && (a.base != "") != (b.base != "") && digitsOf(a) == digitsOf(b) {
		return false // 13 is not 13 in base 8
	}
	switch {
	case a.form == formText || b.form == formText:
		return a.form == b.form && asText(a.text) == asText(b.text) && asText(a.text) != ""
	case a.form == formList && b.form != formList:
		return len(a.items) == 1 && same(a.items[0], b)
	case b.form == formList && a.form != formList:
		return same(b, a)
	case a.form == formMatrix && b.form == formTuple:
		return (len(a.items) == a.rows || a.rows == 1) && b.open == '(' && sameInOrder(a, b)
	case a.form == formTuple && b.form == formMatrix:
		return same(b, a)
	case a.form != b.form:
		return false
	}
	switch a.form {
	case formList, formUnion:
		return sameSets(a.items, b.items)
	case formTuple:
		return bracket(a) == bracket(b) && sameInOrder(a, b)
	case formMatrix:
		return a.rows == b.rows && sameInOrder(a, b)
	case formOrder:
		return a.ops == b.ops && sameInOrder(a, b)
	case formEquation:
		return sameEquations(a, b)
	}
	return sameValues(a, b)
}

// digitsOf returns an answer's text without base and spaces.
func digitsOf(p *parsed) string {
	s := asText(p.text)
	for i := range s {
		if s[i] == '_' {
			return s[:i]
		}
	}
	return s
}

// bracket tells half-open intervals apart; for more than two items brackets are
// ornament.
func bracket(p *parsed) string {
	if len(p.items) != 2 {
		return ""
	}
	open, end := p.open, p.close
	if open == '<' {
		open, end = '(', ')'
	}
	return string([]byte{open, end})
}

func sameInOrder(a, b *parsed) bool {
	if len(a.items) != len(b.items) {
		return false
	}
	for i := range a.items {
		if !same(a.items[i], b.items[i]) {
			return false
		}
	}
	return true
}

// sameSets matches items one to one.
func sameSets(a, b []*parsed) bool {
	if len(a) != len(b) {
		return false
	}
	used := make([]bool, len(b))
next:
	for _, x := range a {
		for j, y := range b {
			if !used[j] && same(x, y) {
				used[j] = true
				continue next
			}
		}
		return false
	}
	return true
}

// sameValues compares two expressions.
func sameValues(a, b *parsed) bool {
	if sameExpr(a.expr, b.expr) {
		return true
	}
	if a.percent != b.percent { // 10% is 0.1; and people write 10 for it
		p, q := a, b
		if q.percent {
			p, q = q, p
		}
		return sameExpr(node(opDiv, p.expr, number(big.NewRat(100, 1))), q.expr)
	}
	return false
}

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

// numericPoint assigns unknowns values between 0.3 and 2.3: where roots and
// logarithms are real. Odd points have negative ones, which tell |x| from x.
func numericPoint(point int) func(string) complex128 {
	return func(name string) complex128 {
		v := 0.3 + 2*float64(seed(name, point)>>11)*0x1p-53
		if point%2 == 1 {
			v = -v
		}
		return complex(v, 0)
	}
}

// tolerance of numeric comparison, relative.
const tolerance = 1e-9

func near(x, y complex128) bool {
	return cmplx.Abs(x-y) <= tolerance*max(cmplx.Abs(x), cmplx.Abs(y))+1e-13
}

func sameNumerically(a, b *expr) bool {
	compared := 0
	for p := range 2 * points {
		if p%2 == 1 && !hasAbs(a) && !hasAbs(b) {
			continue
		}
		x, y := numeric(a, numericPoint(p)), numeric(b, numericPoint(p))
		if !usable(x) || !usable(y) {
			if usable(x) != usable(y) {
				return false
			}
			continue
		}
		if !near(x, y) {
			return false
		}
		compared++
	}
	return compared > 0
}

func hasAbs(e *expr) bool {
	if e.op == opFn && e.name == "abs" {
		return true
	}
	for _, a := range e.args {
		if hasAbs(a) {
			return true
		}
	}
	return false
}

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
	x := numeric(b, numericPoint(0))
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
		x, y := numeric(f, numericPoint(2*p)), numeric(g, numericPoint(2*p))
		if !usable(x) || !usable(y) || y == 0 {
			return false
		}
		if r := x / y; p > 0 && !near(r, ratio) {
			return false
		} else {
			ratio = r
		}
	}
	return true
}
