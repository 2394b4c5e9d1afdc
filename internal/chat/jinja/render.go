package jinja

import (
	"fmt"
	"strings"
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
