package math

import (
	"math/big"
	"strings"
)

// Bounds of the parser.
const (
	maxDepth  = 60
	maxDigits = 2000
)

// parser reads an expression by recursive descent over bytes.
//
//	sum     = term { (+|-) term }
//	term    = [+|-] power { [* / \cdot \times \div] unary }     juxtaposition multiplies
//	unary   = [+|-] power
//	power   = atom { ! } [ ^ argument ]
type parser struct {
	s     string
	at    int
	depth int
	bad   bool
}

// parseExpr reads all of s as one expression; nil if it is none.
func parseExpr(s string) *expr {
	p := &parser{s: s}
	e := p.sum()
	p.space()
	if p.bad || p.at != len(p.s) {
		return nil
	}
	return e
}

func (p *parser) fail() *expr { p.bad = true; return number(new(big.Rat)) }

func (p *parser) space() {
	for p.at < len(p.s) && (p.s[p.at] == ' ' || p.s[p.at] == '\t' || p.s[p.at] == '\n' || p.s[p.at] == '\r') {
		p.at++
	}
}

func (p *parser) peek() byte {
	p.space()
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

func (p *parser) accept(tok string) bool {
	p.space()
	if !strings.HasPrefix(p.s[p.at:], tok) {
		return false
	}
	if tok[0] == '\\' && p.at+len(tok) < len(p.s) && letter(p.s[p.at+len(tok)]) && letter(tok[len(tok)-1]) {
		return false // \le is not \leaf
	}
	p.at += len(tok)
	return true
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

func (p *parser) sum() *expr {
	if p.depth++; p.depth > maxDepth {
		p.depth--
		return p.fail()
	}
	defer func() { p.depth-- }()
	args := []*expr{p.term()}
	for !p.bad {
		switch {
		case p.accept("+"):
			args = append(args, p.term())
		case p.accept("-"):
			args = append(args, node(opNeg, p.term()))
		default:
			if len(args) == 1 {
				return args[0]
			}
			return node(opAdd, args...)
		}
	}
	return p.fail()
}

func (p *parser) term() *expr {
	negative := p.signs()
	left := p.power()
	for !p.bad {
		literal := p.afterDigit() // what stands before: a number, not a group
		switch {
		case p.accept("**"):
			left = node(opPow, left, p.unary())
		case p.accept("*") || p.accept(`\cdot`) || p.accept(`\times`):
			left = node(opMul, left, p.unary())
		case p.accept("/") || p.accept(`\div`):
			left = node(opDiv, left, p.unary())
		case p.startsAtom():
			follows := digit(p.peek())
			right := p.power()
			switch {
			case literal && !follows && mixed(left, right):
				left = node(opAdd, left, right)
			case literal && follows && left.op == opNum && right.op == opNum:
				left = p.mixedSlash(left, right)
			default:
				left = node(opMul, left, right)
			}
		case negative: // of the whole term: -1\frac12 is -(1+1/2)
			return node(opNeg, left)
		default:
			return left
		}
	}
	return p.fail()
}

// afterDigit reports whether the last byte read, but for spaces, is a digit.
func (p *parser) afterDigit() bool {
	i := p.at - 1
	for i >= 0 && p.s[i] == ' ' {
		i--
	}
	return i >= 0 && digit(p.s[i])
}

// mixed reports whether a number followed by a fraction is a mixed number: 1\frac45.
func mixed(left, right *expr) bool {
	return isInt(left) && right.op == opDiv && isInt(right.args[0]) && isInt(right.args[1])
}

// mixedSlash reads the rest of "1 4/5"; two numbers side by side are nothing else.
func (p *parser) mixedSlash(whole, num *expr) *expr {
	if !isInt(whole) || !isInt(num) || !p.accept("/") {
		return p.fail()
	}
	den := p.power()
	if !isInt(den) {
		return p.fail()
	}
	return node(opAdd, whole, node(opDiv, num, den))
}

func isInt(e *expr) bool { return e.op == opNum && e.num.IsInt() && e.decimals == 0 }

// startsAtom reports whether what follows can be multiplied by standing there.
func (p *parser) startsAtom() bool {
	c := p.peek()
	switch {
	case digit(c), letter(c), c == '(', c == '{', c == '[':
		return true
	case c != '\\':
		return false
	}
	switch name := p.command(); name {
	case `\cdot`, `\times`, `\div`, `\pm`, `\mp`, `\le`, `\ge`, `\ne`, `\cup`, `\cap`, `\in`, `\rfloor`, `\rceil`, `\rangle`, `\end`, `\`, `\to`, `\text`, `\equiv`, `\approx`, `\pmod`, `\bmod`, `\implies`, `\choose`:
		return false
	}
	return true
}

// command returns the command at the position without moving.
func (p *parser) command() string {
	end := p.at + 1
	for end < len(p.s) && letter(p.s[end]) {
		end++
	}
	return p.s[p.at:end]
}

// signs reads signs and reports whether they make a minus.
func (p *parser) signs() (negative bool) {
	for n := 0; ; n++ {
		if p.accept("-") {
			negative = !negative
		} else if !p.accept("+") {
			return negative
		}
		if n > maxDepth {
			p.fail()
			return negative
		}
	}
}

func (p *parser) unary() *expr {
	negative := p.signs()
	e := p.power()
	if negative {
		return node(opNeg, e)
	}
	return e
}

func (p *parser) power() *expr {
	if p.depth++; p.depth > maxDepth {
		p.depth--
		return p.fail()
	}
	defer func() { p.depth-- }()
	e := p.atom()
	for !p.bad && p.accept("!") {
		e = call("factorial", e)
	}
	for !p.bad && p.accept(degree) {
		e = node(opMul, e, node(opDiv, variable(pi), number(big.NewRat(180, 1))))
	}
	if !p.bad && p.accept("^") {
		e = node(opPow, e, p.argument())
		for !p.bad && p.accept("!") {
			e = call("factorial", e)
		}
	}
	return e
}

// argument reads what a command or ^ takes: a group, one digit, one letter, one
// command, a sign and one of them.
func (p *parser) argument() *expr {
	switch c := p.peek(); {
	case c == '{' || c == '(':
		return p.atom()
	case digit(c):
		if end := p.at + 1; end < len(p.s) && (digit(p.s[end]) || p.s[end] == '.') && !p.texDigit() {
			return p.number() // plain "x^10"
		}
		p.at++
		return number(big.NewRat(int64(c-'0'), 1))
	case c == '-':
		p.at++
		return node(opNeg, p.argumentInner())
	}
	return p.atom()
}

// radicand is an argument, but \sqrt13 is taken as it is meant: the root of 13.
func (p *parser) radicand() *expr {
	if digit(p.peek()) {
		return p.number()
	}
	return p.argumentInner()
}

// texDigit reports whether a digit ends a TeX argument: \frac43 has two arguments.
func (p *parser) texDigit() bool {
	at := strings.LastIndexByte(p.s[:p.at], '\\')
	if at < 0 {
		return false
	}
	for _, c := range []byte(p.s[at+1 : p.at]) {
		if !letter(c) && c != ' ' && !digit(c) && c != '{' && c != '}' && c != '-' {
			return false
		}
	}
	return true
}

func (p *parser) argumentInner() *expr {
	if p.depth++; p.depth > maxDepth {
		p.depth--
		return p.fail()
	}
	defer func() { p.depth-- }()
	return p.argument()
}

func (p *parser) atom() *expr {
	if p.bad {
		return p.fail()
	}
	switch c := p.peek(); {
	case digit(c) || c == '.':
		return p.number()
	case c == '(':
		return p.group("(", ")")
	case c == '{':
		return p.group("{", "}")
	case c == '[':
		return p.group("[", "]")
	case c == '|':
		p.at++
		e := p.sum()
		if !p.accept("|") {
			return p.fail()
		}
		return call("abs", e)
	case c == '\\':
		return p.commandAtom()
	case letter(c):
		return p.word()
	}
	return p.fail()
}

func (p *parser) group(open, end string) *expr {
	if !p.accept(open) {
		return p.fail()
	}
	e := p.sum()
	if !p.bad && p.accept(`\choose`) {
		e = call("binom", e, p.sum())
	}
	if !p.accept(end) {
		return p.fail()
	}
	return e
}

// word reads letters: a known name, else one variable.
func (p *parser) word() *expr {
	end := p.at
	for end < len(p.s) && letter(p.s[end]) {
		end++
	}
	w := p.s[p.at:end]
	switch w {
	case "pi", "Pi":
		p.at = end
		return variable(pi)
	case "inf", "infinity", "Infinity", "oo":
		p.at = end
		return variable(infinity)
	case "sqrt":
		p.at = end
		return call("sqrt", p.radicand())
	}
	if f, ok := functions[w]; ok {
		p.at = end
		return p.apply(f)
	}
	if len(w) > 3 && w != strings.Repeat(w[:1], len(w)) {
		return p.fail() // a word, not a product
	}
	p.at++
	return p.subscript(w[:1])
}

// subscript reads an index, which is part of a name.
func (p *parser) subscript(name string) *expr {
	if p.at < len(p.s) && p.s[p.at] == '_' {
		p.at++
		begin := p.at
		if p.at < len(p.s) && p.s[p.at] == '{' {
			end := strings.IndexByte(p.s[p.at:], '}')
			if end < 0 {
				return p.fail()
			}
			p.at += end + 1
		} else if p.at < len(p.s) {
			p.at++
		}
		name += "_" + strings.Trim(p.s[begin:p.at], "{} ")
	}
	for p.at < len(p.s) && p.s[p.at] == '\'' {
		name += "'"
		p.at++
	}
	return variable(name)
}
