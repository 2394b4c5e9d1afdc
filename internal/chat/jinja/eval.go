package jinja

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Limits bound one render. Zero means the default.
type Limits struct {
	Steps  int // evaluated nodes and items; 2 million
	Memory int // bytes of strings and lists that are made; 64 MiB
	Output int // bytes; 16 MiB
}

// maxCalls bounds nested macro calls.
const maxCalls = 50

// Func is a Go function that a caller may pass to Render: a function of positional arguments: strings, numbers, bools, nil.
type Func func(args []any) (any, error)

// Render renders the template with the variables. Values are what encoding/json
// knows, or a [Func].
func (t *Template) Render(vars map[string]any, limits Limits) (out string, err error) {
	defer rescue(&err)
	s := &state{limits: limits, scope: &scope{vars: map[string]any{}}, out: &strings.Builder{}}
	if s.limits.Steps == 0 {
		s.limits.Steps = 2_000_000
	}
	if s.limits.Memory == 0 {
		s.limits.Memory = 64 << 20
	}
	if s.limits.Output == 0 {
		s.limits.Output = 16 << 20
	}
	for name, f := range globals {
		s.scope.vars[name] = f
	}
	for name, v := range vars {
		if f, ok := v.(Func); ok {
			s.scope.vars[name] = function(func(s *state, line int, args []any, _ map[string]any) any {
				got, err := f(args)
				if err != nil {
					panic(failure{err})
				}
				return got
			})
			continue
		}
		x, err := fromGo(v)
		if err != nil {
			return "", fmt.Errorf("variable %s: %w", name, err)
		}
		s.scope.vars[name] = x
	}
	s.run(t.body)
	return s.out.String(), nil
}

// state is one render.
type state struct {
	limits Limits
	steps  int
	bytes  int
	calls  int
	line   int // of what is being evaluated
	scope  *scope
	out    *strings.Builder
}

type scope struct {
	vars   map[string]any
	parent *scope
}

func (s *scope) get(name string) (any, bool) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *state) step(n int) {
	if s.steps += n; s.steps > s.limits.Steps {
		failf(s.line, "the template takes more than %d steps", s.limits.Steps)
	}
}

// memory counts bytes that are about to be made.
func (s *state) memory(n int) {
	if s.bytes += n; n < 0 || s.bytes > s.limits.Memory {
		failf(s.line, "the template makes more than %d bytes", s.limits.Memory)
	}
}

func (s *state) made(text string) string {
	s.memory(len(text))
	return text
}

func (s *state) newList(items []any) *list {
	s.memory(16 * len(items))
	return &list{items: items}
}

func (s *state) write(text string) {
	if s.out.Len()+len(text) > s.limits.Output {
		failf(s.line, "the output is longer than %d bytes", s.limits.Output)
	}
	s.out.WriteString(text)
}

// flow says how a list of nodes ended.
type flow uint8

const (
	flowNext flow = iota
	flowBreak
	flowContinue
)

func (s *state) run(body []node) flow {
	for _, n := range body {
		s.step(1)
		if f := n.exec(s); f != flowNext {
			return f
		}
	}
	return flowNext
}

type node interface{ exec(s *state) flow }

type expr interface{ eval(s *state) any }

type textNode string

func (n textNode) exec(s *state) flow {
	s.write(string(n))
	return flowNext
}

type outputNode struct {
	line int
	e    expr
}

func (n *outputNode) exec(s *state) flow {
	s.line = n.line
	s.write(s.str(n.e.eval(s)))
	return flowNext
}

type groupNode struct{ body []node }

func (n *groupNode) exec(s *state) flow { return s.run(n.body) }

type loopControl struct{ stop bool }

func (n *loopControl) exec(*state) flow {
	if n.stop {
		return flowBreak
	}
	return flowContinue
}

type ifNode struct {
	conds     []expr
	bodies    [][]node
	otherwise []node
}

func (n *ifNode) exec(s *state) flow {
	for i, c := range n.conds {
		if truth(c.eval(s)) {
			return s.run(n.bodies[i])
		}
	}
	return s.run(n.otherwise)
}

type forNode struct {
	line      int
	targets   []string
	over      expr
	cond      expr
	body      []node
	otherwise []node
}

func (n *forNode) exec(s *state) flow {
	s.line = n.line
	outer := s.scope
	defer func() { s.scope = outer }()
	items := s.iterate(n.over.eval(s))
	if n.cond != nil {
		var kept []any
		for _, item := range items {
			s.scope = &scope{map[string]any{}, outer}
			s.assign(n.line, n.targets, item)
			if truth(n.cond.eval(s)) {
				kept = append(kept, item)
			}
		}
		items = kept
	}
	if len(items) == 0 {
		s.scope = outer
		return s.run(n.otherwise)
	}
	for i, item := range items {
		s.step(1)
		loop := newDict()
		loop.set("index", int64(i+1))
		loop.set("index0", int64(i))
		loop.set("revindex", int64(len(items)-i))
		loop.set("revindex0", int64(len(items)-i-1))
		loop.set("first", i == 0)
		loop.set("last", i == len(items)-1)
		loop.set("length", int64(len(items)))
		if i > 0 {
			loop.set("previtem", items[i-1])
		}
		if i+1 < len(items) {
			loop.set("nextitem", items[i+1])
		}
		loop.set("cycle", function(func(s *state, line int, args []any, _ map[string]any) any {
			if len(args) == 0 {
				failf(line, "cycle without arguments")
			}
			return args[i%len(args)]
		}))
		s.scope = &scope{map[string]any{"loop": loop}, outer}
		s.assign(n.line, n.targets, item)
		if s.run(n.body) == flowBreak {
			break
		}
	}
	return flowNext
}

func (s *state) assign(line int, targets []string, v any) {
	if len(targets) == 1 {
		s.scope.vars[targets[0]] = v
		return
	}
	s.line = line
	items := s.iterate(v)
	if len(items) != len(targets) {
		failf(line, "%d values for %d names", len(items), len(targets))
	}
	for i, name := range targets {
		s.scope.vars[name] = items[i]
	}
}

type setNode struct {
	line  int
	names []string
	attr  string
	value expr
}

func (n *setNode) exec(s *state) flow {
	v := n.value.eval(s)
	s.line = n.line
	if n.attr == "" {
		s.assign(n.line, n.names, v)
		return flowNext
	}
	got, _ := s.scope.get(n.names[0])
	ns, ok := got.(*namespace)
	if !ok {
		failf(n.line, "%s is not a namespace, its %s cannot be set", n.names[0], n.attr)
	}
	ns.set(n.attr, v)
	return flowNext
}

type macroNode struct {
	line     int
	name     string
	params   []string
	defaults []expr
	body     []node
}

func (n *macroNode) exec(s *state) flow {
	defined := s.scope
	defined.vars[n.name] = function(func(s *state, line int, args []any, kwargs map[string]any) any {
		if s.calls++; s.calls > maxCalls {
			failf(line, "macro %s: more than %d nested calls", n.name, maxCalls)
		}
		outer, out := s.scope, s.out
		s.scope, s.out = &scope{map[string]any{}, defined}, &strings.Builder{}
		if len(args) > len(n.params) {
			failf(line, "macro %s takes %d arguments, not %d", n.name, len(n.params), len(args))
		}
		used := len(args)
		for i, p := range n.params {
			v, named := kwargs[p]
			switch {
			case i < len(args):
				s.scope.vars[p] = args[i]
			case named:
				s.scope.vars[p] = v
				used++
			case n.defaults[i] != nil:
				s.scope.vars[p] = n.defaults[i].eval(s)
			default:
				s.scope.vars[p] = undefined{p}
			}
		}
		if used < len(args)+len(kwargs) {
			failf(line, "macro %s: an unknown or doubled argument", n.name)
		}
		s.run(n.body)
		text := s.made(s.out.String())
		s.scope, s.out = outer, out
		s.calls--
		return text
	})
	return flowNext
}

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
