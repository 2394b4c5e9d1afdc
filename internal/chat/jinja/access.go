package jinja

import (
	"strings"
	"unicode/utf8"
)

type attrExpr struct {
	line int
	e    expr
	name string
}

func (e *attrExpr) eval(s *state) any {
	s.step(1)
	v := e.e.eval(s)
	s.line = e.line
	if m := method(v, e.name); m != nil {
		return m
	}
	return s.item(v, e.name)
}

type indexExpr struct {
	line int
	e, i expr
}

func (e *indexExpr) eval(s *state) any {
	s.step(1)
	v, i := e.e.eval(s), e.i.eval(s)
	s.line = e.line
	got := s.item(v, i)
	if name, ok := i.(string); ok {
		if _, none := got.(undefined); none {
			if m := method(v, name); m != nil {
				return m
			}
		}
	}
	return got
}

// item is v[i]; what is not there is undefined.
func (s *state) item(v, i any) any {
	switch c := v.(type) {
	case undefined:
		failf(s.line, "%s is undefined", c.name)
	case *dict:
		if k, ok := i.(string); ok {
			if x, ok := c.values[k]; ok {
				return x
			}
		}
	case *namespace:
		if k, ok := i.(string); ok {
			if x, ok := c.values[k]; ok {
				return x
			}
		}
	case *list:
		if n, ok := integer(i); ok {
			if n < 0 {
				n += int64(len(c.items))
			}
			if n >= 0 && n < int64(len(c.items)) {
				return c.items[n]
			}
		}
	case string:
		if n, ok := integer(i); ok {
			s.step(len(c) / 16)
			if n < 0 {
				n += int64(utf8.RuneCountInString(c))
			}
			for _, r := range c {
				if n == 0 {
					return string(r)
				}
				n--
			}
		}
	}
	return undefined{s.str(i)}
}

type sliceExpr struct {
	line  int
	e     expr
	parts [3]expr
}

func (e *sliceExpr) eval(s *state) any {
	s.step(1)
	v := e.e.eval(s)
	var bounds [3]*int64
	for i, p := range e.parts {
		if p == nil {
			continue
		}
		switch n := p.eval(s).(type) {
		case nil:
		case int64:
			bounds[i] = &n
		default:
			failf(e.line, "a slice with %s", kindOf(n))
		}
	}
	s.line = e.line
	text, isText := v.(string)
	items := s.iterate(v)
	if _, ok := v.(*dict); ok {
		failf(e.line, "a slice of a dict")
	}
	n, step := int64(len(items)), int64(1)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	if step == 0 {
		failf(e.line, "a slice with step 0")
	}
	clamp := func(b *int64, dflt, lo, hi int64) int64 {
		if b == nil {
			return dflt
		}
		x := *b
		if x < 0 {
			x += n
		}
		return min(max(x, lo), hi)
	}
	var out []any
	if step > 0 {
		end := clamp(bounds[1], n, 0, n)
		for i := clamp(bounds[0], 0, 0, n); i < end; i += min(step, n+1) {
			out = append(out, items[i])
		}
	} else {
		end := clamp(bounds[1], -1, -1, n-1)
		for i := clamp(bounds[0], n-1, -1, n-1); i > end; i += max(step, -n-1) {
			out = append(out, items[i])
		}
	}
	if !isText {
		return s.newList(out)
	}
	s.memory(len(text))
	var b strings.Builder
	for _, c := range out {
		b.WriteString(c.(string))
	}
	return b.String()
}

type keyword struct {
	name  string
	value expr
}

type callExpr struct {
	line   int
	fn     expr
	args   []expr
	kwargs []keyword
}

func (s *state) arguments(args []expr, kwargs []keyword) ([]any, map[string]any) {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a.eval(s)
	}
	var named map[string]any
	for _, k := range kwargs {
		if named == nil {
			named = map[string]any{}
		}
		named[k.name] = k.value.eval(s)
	}
	return out, named
}

func (e *callExpr) eval(s *state) any {
	s.step(1)
	fn := e.fn.eval(s)
	args, kwargs := s.arguments(e.args, e.kwargs)
	s.line = e.line
	switch f := fn.(type) {
	case function:
		return f(s, e.line, args, kwargs)
	case undefined:
		failf(e.line, "%s is undefined", f.name)
	}
	failf(e.line, "%s cannot be called", kindOf(fn))
	return nil
}

type filterExpr struct {
	line   int
	in     expr
	name   string
	args   []expr
	kwargs []keyword
}

func (e *filterExpr) eval(s *state) any {
	s.step(1)
	in := e.in.eval(s)
	args, kwargs := s.arguments(e.args, e.kwargs)
	return s.filter(e.line, e.name, in, args, kwargs)
}

type testExpr struct {
	line     int
	in       expr
	name     string
	negative bool
	args     []expr
}

func (e *testExpr) eval(s *state) any {
	s.step(1)
	in := e.in.eval(s)
	args, _ := s.arguments(e.args, nil)
	return s.test(e.line, e.name, in, args) != e.negative
}
