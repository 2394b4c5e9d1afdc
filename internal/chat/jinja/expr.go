package jinja

import (
	"strings"
)

// captureExpr is the text of a block.
type captureExpr struct{ body []node }

func (e *captureExpr) eval(s *state) any {
	out, outer := s.out, s.scope
	s.out, s.scope = &strings.Builder{}, &scope{map[string]any{}, outer}
	s.run(e.body)
	text := s.made(s.out.String())
	s.out, s.scope = out, outer
	return text
}

type constExpr struct{ v any }

func (e *constExpr) eval(s *state) any { s.step(1); return e.v }

type nameExpr struct {
	line int
	name string
}

func (e *nameExpr) eval(s *state) any {
	s.step(1)
	s.line = e.line
	if v, ok := s.scope.get(e.name); ok {
		return v
	}
	return undefined{e.name}
}

type listExpr struct {
	items []expr
	tuple bool
}

func (e *listExpr) eval(s *state) any {
	s.step(1)
	items := make([]any, len(e.items))
	for i, x := range e.items {
		items[i] = x.eval(s)
	}
	l := s.newList(items)
	l.tuple = e.tuple
	return l
}

type dictExpr struct{ keys, values []expr }

func (e *dictExpr) eval(s *state) any {
	s.step(1)
	d := newDict()
	for i := range e.keys {
		k := e.keys[i].eval(s)
		d.set(s.str(k), e.values[i].eval(s))
	}
	s.memory(32 * len(d.keys))
	return d
}

type condExpr struct {
	line          int
	cond, yes, no expr
}

func (e *condExpr) eval(s *state) any {
	s.step(1)
	if truth(e.cond.eval(s)) {
		return e.yes.eval(s)
	}
	if e.no == nil {
		return undefined{"the if expression without else"}
	}
	return e.no.eval(s)
}

type boolExpr struct {
	or   bool
	a, b expr
}

func (e *boolExpr) eval(s *state) any {
	s.step(1)
	a := e.a.eval(s)
	if truth(a) == e.or {
		return a
	}
	return e.b.eval(s)
}

type notExpr struct{ e expr }

func (e *notExpr) eval(s *state) any { s.step(1); return !truth(e.e.eval(s)) }

type negExpr struct {
	line int
	e    expr
}

func (e *negExpr) eval(s *state) any {
	s.step(1)
	switch v := e.e.eval(s).(type) {
	case int64:
		return -v
	case float64:
		return -v
	default:
		failf(e.line, "- of %s", kindOf(v))
		return nil
	}
}

type compareExpr struct {
	line  int
	first expr
	ops   []string
	rest  []expr
}

func (e *compareExpr) eval(s *state) any {
	s.step(1)
	a := e.first.eval(s)
	for i, op := range e.ops {
		b := e.rest[i].eval(s)
		s.line = e.line
		if !s.compare(op, a, b) {
			return false
		}
		a = b
	}
	return true
}

func (s *state) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return s.equal(a, b, 0)
	case "!=":
		return !s.equal(a, b, 0)
	case "<":
		return s.less(a, b, 0)
	case ">":
		return s.less(b, a, 0)
	case "<=":
		return s.equal(a, b, 0) || s.less(a, b, 0)
	case ">=":
		return s.equal(a, b, 0) || s.less(b, a, 0)
	case "not in":
		return !s.contains(b, a)
	}
	return s.contains(b, a)
}

func (s *state) contains(in, v any) bool {
	switch c := in.(type) {
	case string:
		t, ok := v.(string)
		if !ok {
			failf(s.line, "%s in a string", kindOf(v))
		}
		s.step(len(c) / 64)
		return strings.Contains(c, t)
	case *dict:
		k, ok := v.(string)
		_, has := c.values[k]
		return ok && has
	case *list:
		for _, x := range c.items {
			if s.equal(x, v, 0) {
				return true
			}
		}
		return false
	case undefined:
		return false
	}
	failf(s.line, "in %s", kindOf(in))
	return false
}
