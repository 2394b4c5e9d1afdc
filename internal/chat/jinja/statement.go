package jinja

import (
	"strings"
)

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
