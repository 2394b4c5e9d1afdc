package math

import (
	"math/big"
	"strings"
)

// functions of one argument, by their plain and TeX names.
var functions = map[string]string{
	"sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "asin": "asin", "acos": "acos", "atan": "atan",
	"sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "ln": "ln", "log": "log", "exp": "exp", "abs": "abs", "floor": "floor", "ceil": "ceil",
}

func (p *parser) commandAtom() *expr {
	name := p.command()
	p.at += len(name)
	switch name {
	case `\frac`:
		num := p.argumentInner()
		return node(opDiv, num, p.argumentInner())
	case `\sqrt`:
		if p.accept("[") {
			index := p.sum()
			if !p.accept("]") {
				return p.fail()
			}
			return call("root", p.radicand(), index)
		}
		return call("sqrt", p.radicand())
	case `\binom`:
		n := p.argumentInner()
		return call("binom", n, p.argumentInner())
	case `\lfloor`:
		e := p.sum()
		if !p.accept(`\rfloor`) {
			return p.fail()
		}
		return call("floor", e)
	case `\lceil`:
		e := p.sum()
		if !p.accept(`\rceil`) {
			return p.fail()
		}
		return call("ceil", e)
	case pi, infinity, emptySet:
		return variable(name)
	case `\mathbb`, `\mathcal`, `\mathrm`, `\mathbf`, `\mathit`, `\operatorname`, `\text`, `\vec`, `\hat`, `\bar`, `\overline`, `\tilde`:
		if p.peek() != '{' {
			return p.fail()
		}
		end := strings.IndexByte(p.s[p.at:], '}')
		if end < 0 || strings.IndexByte(p.s[p.at+1:p.at+end], '{') >= 0 {
			return p.fail()
		}
		inner := strings.TrimSpace(p.s[p.at+1 : p.at+end])
		p.at += end + 1
		if f, ok := functions[inner]; ok {
			return p.apply(f)
		}
		return p.subscript(name + "{" + inner + "}")
	}
	if f, ok := functions[name[1:]]; ok {
		return p.apply(f)
	}
	if len(name) > 1 && greek[name[1:]] {
		return p.subscript(name)
	}
	for n := len(name) - 1; n > 2; n-- { // \cotx: a missing space
		if f, ok := functions[name[1:n]]; ok {
			p.at -= len(name) - n
			return p.apply(f)
		}
	}
	return p.fail()
}

var greek = map[string]bool{
	"alpha": true, "beta": true, "gamma": true, "delta": true, "epsilon": true, "varepsilon": true, "zeta": true, "eta": true, "theta": true, "vartheta": true, "iota": true, "kappa": true,
	"lambda": true, "mu": true, "nu": true, "xi": true, "rho": true, "varrho": true, "sigma": true, "tau": true, "upsilon": true, "phi": true, "varphi": true, "chi": true, "psi": true, "omega": true,
	"Gamma": true, "Delta": true, "Theta": true, "Lambda": true, "Xi": true, "Pi": true, "Sigma": true, "Phi": true, "Psi": true, "Omega": true, "ell": true,
}

// apply reads the rest of a function: an exponent or a base, and the argument.
func (p *parser) apply(f string) *expr {
	var exponent, base *expr
	if f == "log" && p.accept("_") {
		base = p.argumentInner()
	}
	if p.accept("^") {
		exponent = p.argumentInner()
	}
	if inverse := inverses[f]; inverse != "" && exponent != nil && exponent.op == opNeg && isInt(exponent.args[0]) && exponent.args[0].num.Cmp(big.NewRat(1, 1)) == 0 {
		f, exponent = inverse, nil
	}
	arg := p.functionArgument()
	e := call(f, arg)
	if base != nil {
		e.args = append(e.args, base)
	}
	if exponent != nil {
		e = node(opPow, e, exponent)
	}
	return e
}

var inverses = map[string]string{"sin": "asin", "cos": "acos", "tan": "atan"}

// functionArgument reads a group, or factors side by side up to an operator:
// \cos 2x.
func (p *parser) functionArgument() *expr {
	if c := p.peek(); c == '(' || c == '{' || c == '[' || c == '|' {
		return p.power()
	}
	e := p.unary()
	for !p.bad && p.startsAtom() {
		if c := p.peek(); c == '(' || c == '\\' && functions[p.command()[1:]] != "" {
			break
		}
		e = node(opMul, e, p.power())
	}
	return e
}
