package jinja

import (
	"math"
	"strings"
)

type binaryExpr struct {
	line int
	op   string
	a, b expr
}

func (e *binaryExpr) eval(s *state) any {
	s.step(1)
	a, b := e.a.eval(s), e.b.eval(s)
	s.line = e.line
	if e.op == "~" {
		x, y := s.str(a), s.str(b)
		s.memory(len(x) + len(y))
		return x + y
	}
	if v, ok := s.sequence(e.op, a, b); ok {
		return v
	}
	x, ok1 := integer(a)
	y, ok2 := integer(b)
	if ok1 && ok2 && e.op != "/" && !(e.op == "**" && y < 0) {
		return s.integers(e.op, x, y)
	}
	f, ok1 := number(a)
	g, ok2 := number(b)
	if !ok1 || !ok2 {
		failf(e.line, "%s %s %s", kindOf(a), e.op, kindOf(b))
	}
	if g == 0 && (e.op == "/" || e.op == "//" || e.op == "%") {
		failf(e.line, "division by zero")
	}
	switch e.op {
	case "+":
		return f + g
	case "-":
		return f - g
	case "*":
		return f * g
	case "/":
		return f / g
	case "//":
		return math.Floor(f / g)
	case "%":
		return f - g*math.Floor(f/g)
	}
	return math.Pow(f, g)
}

// sequence is + and * of strings and lists.
func (s *state) sequence(op string, a, b any) (any, bool) {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok && op == "+" {
			s.memory(len(x) + len(y))
			return x + y, true
		}
		if n, ok := integer(b); ok && op == "*" {
			return s.repeat(x, n), true
		}
	case *list:
		if y, ok := b.(*list); ok && op == "+" {
			s.memory(16 * (len(x.items) + len(y.items)))
			return &list{append(append([]any{}, x.items...), y.items...), x.tuple}, true
		}
	case int64:
		if y, ok := b.(string); ok && op == "*" {
			return s.repeat(y, x), true
		}
	}
	return nil, false
}

func (s *state) repeat(text string, n int64) string {
	n = max(n, 0)
	if len(text) > 0 && n > int64(s.limits.Memory/len(text)) {
		s.memory(s.limits.Memory + 1)
	}
	s.memory(len(text) * int(n))
	return strings.Repeat(text, int(n))
}

func (s *state) integers(op string, x, y int64) any {
	if y == 0 && (op == "//" || op == "%") {
		failf(s.line, "division by zero")
	}
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "//":
		return int64(math.Floor(float64(x) / float64(y)))
	case "%":
		m := x % y
		if m != 0 && (m < 0) != (y < 0) {
			m += y
		}
		return m
	}
	r := int64(1)
	if y > 64 {
		failf(s.line, "the exponent %d is too large", y)
	}
	for range y {
		r *= x
	}
	return r
}
