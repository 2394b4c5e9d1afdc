package math

import (
	"math"
	"math/cmplx"
)

// numeric returns the value of an expression in complex floating point, for one
// assignment of its unknowns; NaN where it has none.
func numeric(e *expr, at func(name string) complex128) complex128 {
	switch e.op {
	case opNum:
		f, _ := e.num.Float64()
		return complex(f, 0)
	case opVar:
		switch e.name {
		case pi:
			return math.Pi
		case euler:
			return math.E
		case imaginary:
			return 1i
		case infinity:
			return complex(math.Inf(1), 0)
		case `\emptyset`:
			return cmplx.NaN()
		}
		return at(e.name)
	case opNeg:
		return -numeric(e.args[0], at)
	case opAdd, opMul, opDiv:
		v := numeric(e.args[0], at)
		for _, a := range e.args[1:] {
			w := numeric(a, at)
			switch e.op {
			case opAdd:
				v += w
			case opMul:
				v *= w
			default:
				v /= w
			}
		}
		return v
	case opPow:
		return cmplx.Pow(numeric(e.args[0], at), numeric(e.args[1], at))
	}
	x := numeric(e.args[0], at)
	second := func() complex128 { return numeric(e.args[1], at) }
	switch e.name {
	case "sqrt":
		return cmplx.Sqrt(x)
	case "root":
		k := second()
		if imag(x) == 0 && real(x) < 0 && math.Mod(real(k), 2) == 1 {
			return -cmplx.Pow(-x, 1/k) // the real root
		}
		return cmplx.Pow(x, 1/k)
	case "ln", "log":
		if len(e.args) == 2 {
			return cmplx.Log(x) / cmplx.Log(second())
		}
		return cmplx.Log(x) // \log without a base is natural
	case "exp":
		return cmplx.Exp(x)
	case "sin":
		return cmplx.Sin(x)
	case "cos":
		return cmplx.Cos(x)
	case "tan":
		return cmplx.Tan(x)
	case "cot":
		return cmplx.Cot(x)
	case "sec":
		return 1 / cmplx.Cos(x)
	case "csc":
		return 1 / cmplx.Sin(x)
	case "asin":
		return cmplx.Asin(x)
	case "acos":
		return cmplx.Acos(x)
	case "atan":
		return cmplx.Atan(x)
	case "sinh":
		return cmplx.Sinh(x)
	case "cosh":
		return cmplx.Cosh(x)
	case "tanh":
		return cmplx.Tanh(x)
	case "abs":
		return complex(cmplx.Abs(x), 0)
	case "floor":
		return complex(math.Floor(real(x)), 0)
	case "ceil":
		return complex(math.Ceil(real(x)), 0)
	case "factorial":
		return complex(math.Gamma(real(x)+1), 0)
	case "binom":
		n, k := real(x), real(second())
		return complex(math.Gamma(n+1)/(math.Gamma(k+1)*math.Gamma(n-k+1)), 0)
	}
	return cmplx.NaN()
}

func usable(x complex128) bool {
	return !cmplx.IsNaN(x) && !cmplx.IsInf(x)
}
