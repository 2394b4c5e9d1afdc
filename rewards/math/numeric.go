package math

import (
	"math"
	"math/cmplx"
)

// floating evaluates expressions in complex floating point at one point.
type floating struct {
	at   func(name string) float64
	peak float64 // the largest intermediate value
}

// value returns what an expression is worth; NaN where it has no value.
func (f *floating) value(e *expr) complex128 {
	v := f.compute(e)
	f.peak = max(f.peak, cmplx.Abs(v))
	return v
}

func (f *floating) compute(e *expr) complex128 {
	switch e.op {
	case opNum:
		v, _ := e.num.Float64()
		return complex(v, 0)
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
		case emptySet:
			return cmplx.NaN()
		}
		return complex(f.at(e.name), 0)
	case opNeg:
		return 0 - f.value(e.args[0]) // a minus would make a zero of the other sign: the wrong side of a cut
	case opAdd, opMul, opDiv:
		v := f.value(e.args[0])
		for _, a := range e.args[1:] {
			w := f.value(a)
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
		return cmplx.Pow(f.value(e.args[0]), f.value(e.args[1]))
	}
	x := f.value(e.args[0])
	second := func() complex128 { return f.value(e.args[1]) }
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
