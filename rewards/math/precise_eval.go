package math

import (
	"math"
	"math/big"
)

// precise evaluates an expression in high precision at one point.
type precise struct {
	at    func(name string) float64
	calls int  // of functions, so far
	peak  int  // the largest exponent of an intermediate value
	spent bool // there is no verdict: it would cost too much, or a function is not known here
}

// value returns what an expression is worth; ok is false where it has no value.
func (p *precise) value(e *expr) (v wide, ok bool) {
	if v, ok = p.compute(e); !ok || p.spent {
		return v, false
	}
	n := v.bits()
	p.peak = max(p.peak, n)
	return v, n < maxScale && (n > -maxScale || v.zero())
}

func (p *precise) compute(e *expr) (wide, bool) {
	switch e.op {
	case opNum:
		return wideRat(e.num), true
	case opVar:
		switch e.name {
		case pi:
			return wide{widePi(), real320()}, true
		case euler:
			return expWide(wideOf(1, 0))
		case imaginary:
			return wideOf(0, 1), true
		case infinity, emptySet:
			return wide{}, false
		}
		return wideOf(p.at(e.name), 0), true
	case opNeg:
		v, ok := p.value(e.args[0])
		if !ok {
			return v, false
		}
		return wideOf(0, 0).sub(v), true
	case opAdd, opMul, opDiv:
		v, ok := p.value(e.args[0])
		for _, a := range e.args[1:] {
			if !ok {
				return v, false
			}
			var w wide
			if w, ok = p.value(a); !ok || (e.op == opDiv && w.zero()) {
				return v, false
			}
			switch e.op {
			case opAdd:
				v = v.add(w)
			case opMul:
				v = v.mul(w)
			default:
				v = v.div(w)
			}
		}
		return v, ok
	case opPow:
		return p.power(e)
	}
	return p.call(e)
}

// count reports whether another function may be evaluated.
func (p *precise) count(n int) bool {
	if p.calls += n; p.calls > maxCalls {
		p.spent = true
	}
	return !p.spent
}

func (p *precise) power(e *expr) (wide, bool) {
	b, ok := p.value(e.args[0])
	if !ok {
		return b, false
	}
	x, ok := p.value(e.args[1])
	if !ok {
		return x, false
	}
	return p.pow(b, x)
}

func (p *precise) pow(b, x wide) (wide, bool) {
	if b.zero() {
		return wideOf(0, 0), x.re.Sign() > 0
	}
	if x.isReal() && x.re.IsInt() {
		if n, accuracy := x.re.Int64(); accuracy == big.Exact && n > -256 && n < 256 {
			v := wideOf(1, 0)
			for k := max(n, -n); k > 0; k >>= 1 {
				if k&1 == 1 {
					v = v.mul(b)
				}
				b = b.mul(b)
			}
			if n < 0 {
				v = wideOf(1, 0).div(v)
			}
			return v, true
		}
	}
	if !p.count(3) {
		return wide{}, false
	}
	l, ok := logWide(b)
	if !ok {
		return l, false
	}
	return expWide(l.mul(x))
}

func (p *precise) call(e *expr) (wide, bool) {
	x, ok := p.value(e.args[0])
	if !ok {
		return x, false
	}
	switch e.name {
	case "sqrt":
		return sqrtWide(x), true
	case "abs":
		return wide{real320().Sqrt(x.norm()), real320()}, true
	case "floor", "ceil":
		return stepOf(e.name, x)
	case "root":
		k, ok := p.value(e.args[1])
		if !ok || k.zero() {
			return k, false
		}
		r := wideOf(1, 0).div(k)
		if n, _ := k.re.Float64(); x.isReal() && x.re.Sign() < 0 && k.isReal() && math.Mod(n, 2) == 1 {
			v, ok := p.pow(wide{real320().Neg(x.re), real320()}, r)
			if !ok {
				return v, false
			}
			return wideOf(0, 0).sub(v), true
		}
		return p.pow(x, r)
	case "exp":
		if !p.count(1) {
			return x, false
		}
		return expWide(x)
	case "ln", "log":
		return p.log(e, x)
	case "factorial", "binom":
		if r, ok := rational(e); ok {
			return wideRat(r), true
		}
		p.spent = true
		return x, false
	}
	return p.circular(e.name, x)
}

func stepOf(name string, x wide) (wide, bool) {
	if !x.isReal() || x.bits() > precBits {
		return x, false
	}
	n, _ := x.re.Int(nil) // towards 0
	v := real320().SetInt(n)
	switch cmp := x.re.Cmp(v); {
	case name == "floor" && cmp < 0:
		v.Sub(v, real320().SetInt64(1))
	case name == "ceil" && cmp > 0:
		v.Add(v, real320().SetInt64(1))
	}
	return wide{v, real320()}, true
}

func (p *precise) log(e *expr, x wide) (wide, bool) {
	if x.zero() || !p.count(2) {
		return x, false
	}
	v, ok := logWide(x)
	if !ok || len(e.args) == 1 {
		return v, ok
	}
	base, ok := p.value(e.args[1])
	if !ok || base.zero() || !p.count(2) {
		return base, false
	}
	b, ok := logWide(base)
	if !ok || b.zero() {
		return b, false
	}
	return v.div(b), true
}

// circular evaluates trigonometric and hyperbolic functions by exp, and their inverses
// by log.
func (p *precise) circular(name string, x wide) (wide, bool) {
	if !p.count(2) {
		return x, false
	}
	one, two, i := wideOf(1, 0), wideOf(2, 0), wideOf(0, 1)
	switch name {
	case "asin": // -i ln(ix + sqrt(1 - x^2))
		l, ok := logWide(i.mul(x).add(sqrtWide(one.sub(x.mul(x)))))
		if !ok {
			return l, false
		}
		return wide{l.im, real320().Neg(l.re)}, true
	case "acos": // pi/2 - asin x
		s, ok := p.circular("asin", x)
		if !ok {
			return s, false
		}
		return wide{widePi(), real320()}.div(two).sub(s), true
	case "atan": // (ln(1+ix) - ln(1-ix)) / 2i
		a, b := one.add(i.mul(x)), one.sub(i.mul(x))
		if a.zero() || b.zero() {
			return x, false
		}
		la, ok1 := logWide(a)
		lb, ok2 := logWide(b)
		return la.sub(lb).div(wideOf(0, 2)), ok1 && ok2
	}
	turn := i.mul(x)
	if name == "sinh" || name == "cosh" || name == "tanh" {
		turn = x
	}
	up, ok := expWide(turn)
	if !ok || up.zero() {
		return up, false
	}
	down := one.div(up)
	sum, diff := up.add(down), up.sub(down) // 2 cos, 2i sin; 2 cosh, 2 sinh
	var num, den wide
	switch name {
	case "sin":
		num, den = diff, wideOf(0, 2)
	case "cos":
		num, den = sum, two
	case "tan":
		num, den = diff, i.mul(sum)
	case "cot":
		num, den = i.mul(sum), diff
	case "sec":
		num, den = two, sum
	case "csc":
		num, den = wideOf(0, 2), diff
	case "sinh":
		num, den = diff, two
	case "cosh":
		num, den = sum, two
	case "tanh":
		num, den = diff, sum
	default:
		p.spent = true
		return x, false
	}
	if den.bits() < -trustBits { // a pole, as far as the digits tell
		return den, false
	}
	return num.div(den), true
}
