package jinja

import (
	"sort"
)

// globals are the functions that every template has.
var globals = map[string]function{
	"range": rangeOf,
	"namespace": func(s *state, line int, args []any, kwargs map[string]any) any {
		return &namespace{dictOf(s, line, args, kwargs)}
	},
	"dict": func(s *state, line int, args []any, kwargs map[string]any) any { return dictOf(s, line, args, kwargs) },
	"raise_exception": func(s *state, line int, args []any, _ map[string]any) any {
		text := "raise_exception"
		if len(args) > 0 {
			text = s.str(args[0])
		}
		panic(failure{&Raised{Message: text}})
	},
}

// Raised is the error of a template that called raise_exception.
type Raised struct{ Message string }

func (r *Raised) Error() string { return "the template refuses: " + r.Message }

func dictOf(s *state, line int, args []any, kwargs map[string]any) *dict {
	d := newDict()
	for _, a := range args {
		from, ok := a.(*dict)
		if !ok {
			failf(line, "a dict expected, not %s", kindOf(a))
		}
		for _, k := range from.keys {
			d.set(k, from.values[k])
		}
	}
	for _, k := range sortedNames(kwargs) {
		d.set(k, kwargs[k])
	}
	s.memory(32 * len(d.keys))
	return d
}

func sortedNames(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func rangeOf(s *state, line int, args []any, _ map[string]any) any {
	bounds := [3]int64{0, 0, 1}
	var ns []int64
	for _, a := range args {
		n, ok := integer(a)
		if !ok {
			failf(line, "range of %s", kindOf(a))
		}
		ns = append(ns, n)
	}
	switch len(ns) {
	case 1:
		bounds[1] = ns[0]
	case 2, 3:
		copy(bounds[:], ns)
	default:
		failf(line, "range of %d arguments", len(ns))
	}
	if bounds[2] == 0 {
		failf(line, "range with step 0")
	}
	l := &list{}
	for i := bounds[0]; bounds[2] > 0 && i < bounds[1] || bounds[2] < 0 && i > bounds[1]; i += bounds[2] {
		s.step(1)
		s.memory(16)
		l.items = append(l.items, i)
	}
	return l
}
