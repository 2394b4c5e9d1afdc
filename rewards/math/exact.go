package math

import (
	"math/big"
	"math/bits"
)

// Bounds of exact numbers: beyond them an expression is compared in the field.
const (
	maxBits     = 1 << 15 // of a numerator
	maxDenom    = 1 << 12 // of a denominator: sums of fractions are what costs
	maxExponent = 1 << 14
	maxFact     = 3000
)

// rational returns the exact value of an expression that is a rational number
// within the bounds.
func rational(e *expr) (*big.Rat, bool) {
	switch e.op {
	case opNum:
		return e.num, true
	case opNeg:
		v, ok := rational(e.args[0])
		if !ok {
			return nil, false
		}
		return new(big.Rat).Neg(v), true
	case opAdd, opMul, opDiv:
		return rationalArith(e)
	case opPow:
		return rationalPow(e)
	case opFn:
		if !e.tried { // large binomials are looked for once, not at every point
			e.exact, _ = rationalCall(e)
			e.tried = true
		}
		return e.exact, e.exact != nil
	}
	return nil, false
}

func small(v *big.Rat) bool { return v.Num().BitLen() <= maxBits && v.Denom().BitLen() <= maxDenom }

func rationalArith(e *expr) (*big.Rat, bool) {
	acc, ok := rational(e.args[0])
	if !ok {
		return nil, false
	}
	for _, a := range e.args[1:] {
		v, ok := rational(a)
		if !ok || !small(v) || !small(acc) {
			return nil, false
		}
		switch e.op {
		case opAdd:
			acc = new(big.Rat).Add(acc, v)
		case opMul:
			acc = new(big.Rat).Mul(acc, v)
		default:
			if v.Sign() == 0 {
				return nil, false
			}
			acc = new(big.Rat).Quo(acc, v)
		}
	}
	return acc, small(acc)
}

func rationalPow(e *expr) (*big.Rat, bool) {
	b, ok1 := rational(e.args[0])
	x, ok2 := rational(e.args[1])
	if !ok1 || !ok2 {
		return nil, false
	}
	if !x.IsInt() {
		// a rational root of a rational: 8^{1/3}
		if !x.Denom().IsInt64() || !x.Num().IsInt64() || b.Sign() < 0 {
			return nil, false
		}
		r, ok := exactRoot(b, x.Denom().Int64())
		if !ok {
			return nil, false
		}
		b, x = r, new(big.Rat).SetInt(x.Num())
	}
	if !x.Num().IsInt64() {
		return nil, false
	}
	n := x.Num().Int64()
	neg := n < 0
	if neg {
		n = -n
	}
	size := max(b.Num().BitLen(), b.Denom().BitLen())
	if n > maxExponent || int64(size)*n > maxBits || (neg && b.Sign() == 0) {
		return nil, false
	}
	k := big.NewInt(n)
	num, den := new(big.Int).Exp(b.Num(), k, nil), new(big.Int).Exp(b.Denom(), k, nil)
	if neg {
		num, den = den, num
	}
	return new(big.Rat).SetFrac(num, den), true
}

// exactRoot returns the k-th root of v >= 0 if it is rational.
func exactRoot(v *big.Rat, k int64) (*big.Rat, bool) {
	if k < 1 || k > 64 || v.Sign() < 0 || !small(v) {
		return nil, false
	}
	num, ok1 := intRoot(v.Num(), k)
	den, ok2 := intRoot(v.Denom(), k)
	if !ok1 || !ok2 {
		return nil, false
	}
	return new(big.Rat).SetFrac(num, den), true
}

func intRoot(n *big.Int, k int64) (*big.Int, bool) {
	if k == 1 || n.Sign() == 0 {
		return n, true
	}
	if n.BitLen() > 4096 {
		return nil, false
	}
	lo, hi := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen()/int(k)+1))
	kk := big.NewInt(k)
	for lo.Cmp(hi) < 0 { // the smallest r with r^k >= n
		mid := new(big.Int).Add(lo, hi)
		mid.Rsh(mid, 1)
		if new(big.Int).Exp(mid, kk, nil).Cmp(n) < 0 {
			lo = mid.Add(mid, big.NewInt(1))
		} else {
			hi = mid
		}
	}
	return lo, new(big.Int).Exp(lo, kk, nil).Cmp(n) == 0
}

func rationalCall(e *expr) (*big.Rat, bool) {
	v, ok := rational(e.args[0])
	if !ok {
		return nil, false
	}
	switch e.name {
	case "abs":
		return new(big.Rat).Abs(v), true
	case "sqrt":
		return exactRoot(v, 2)
	case "root":
		k, ok := rational(e.args[1])
		if !ok || !k.IsInt() || !k.Num().IsInt64() {
			return nil, false
		}
		if n := k.Num().Int64(); v.Sign() < 0 && n%2 == 1 {
			r, ok := exactRoot(new(big.Rat).Neg(v), n)
			if !ok {
				return nil, false
			}
			return r.Neg(r), true
		}
		return exactRoot(v, k.Num().Int64())
	case "floor", "ceil":
		q := new(big.Int).Div(v.Num(), v.Denom()) // towards -Inf: the denominator is positive
		if e.name == "ceil" && !v.IsInt() {
			q.Add(q, big.NewInt(1))
		}
		return new(big.Rat).SetInt(q), true
	case "factorial":
		if v.IsInt() && v.Sign() >= 0 && v.Num().IsInt64() && v.Num().Int64() <= maxFact {
			return new(big.Rat).SetInt(new(big.Int).MulRange(1, v.Num().Int64())), true
		}
	case "binom":
		k, ok := rational(e.args[1])
		if ok && v.IsInt() && k.IsInt() && v.Num().IsInt64() && k.Num().IsInt64() && v.Sign() >= 0 && v.Num().Int64() <= maxFact && k.Sign() >= 0 {
			return new(big.Rat).SetInt(new(big.Int).Binomial(v.Num().Int64(), k.Num().Int64())), true
		}
	}
	return nil, false
}

// prime is 2^61 - 31, which is 1 modulo 4: the field has a root of -1.
const (
	prime     = 2305843009213693921
	rootMinus = 583529827753931384 // rootMinus^2 = -1
)

func mulMod(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	_, r := bits.Div64(hi, lo, prime)
	return r
}

func powMod(b uint64, x *big.Int) uint64 {
	n := new(big.Int).Mod(x, big.NewInt(prime-1)).Uint64() // Fermat; b is not 0
	r := uint64(1)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			r = mulMod(r, b)
		}
		b = mulMod(b, b)
	}
	return r
}

func bigMod(n *big.Int) uint64 { return new(big.Int).Mod(n, big.NewInt(prime)).Uint64() }

// field returns the value of a rational function in the field, for one assignment
// of its unknowns. ok is false if it is none or divides by 0 there.
func field(e *expr, at func(name string) uint64) (v uint64, ok bool) {
	switch e.op {
	case opNum:
		den := bigMod(e.num.Denom())
		if den == 0 {
			return 0, false
		}
		return mulMod(bigMod(e.num.Num()), powMod(den, big.NewInt(prime-2))), true
	case opVar:
		switch e.name {
		case imaginary:
			return rootMinus, true
		case infinity, emptySet:
			return 0, false
		}
		return at(e.name), true
	case opNeg:
		v, ok := field(e.args[0], at)
		return (prime - v) % prime, ok
	case opAdd, opMul, opDiv:
		v, ok := field(e.args[0], at)
		for _, a := range e.args[1:] {
			w, ok2 := field(a, at)
			if ok = ok && ok2; !ok {
				return 0, false
			}
			switch e.op {
			case opAdd:
				v = (v + w) % prime
			case opMul:
				v = mulMod(v, w)
			default:
				if w == 0 {
					return 0, false
				}
				v = mulMod(v, powMod(w, big.NewInt(prime-2)))
			}
		}
		return v, ok
	case opPow:
		x, ok := rational(e.args[1])
		if !ok || !x.IsInt() {
			return 0, false
		}
		b, ok := field(e.args[0], at)
		if !ok || (b == 0 && x.Sign() <= 0) {
			return 0, false
		}
		if b == 0 {
			return 0, true
		}
		return powMod(b, x.Num()), true
	case opFn:
		if r, ok := rational(e); ok {
			return field(number(r), at)
		}
	}
	return 0, false
}
