package jinja

import (
	"sort"
	"strings"
)

func (s *state) each(line int, name string, in any, args []any, kwargs map[string]any) any {
	var out []any
	word := func(i int) string {
		if i >= len(args) {
			failf(line, "%s: an argument is missing", name)
		}
		return s.str(args[i])
	}
	for _, x := range s.iterate(in) {
		s.step(1)
		switch name {
		case "map":
			if attr, ok := kwargs["attribute"]; ok {
				y := s.path(x, s.str(attr))
				if _, none := y.(undefined); none {
					if dflt, ok := kwargs["default"]; ok {
						y = dflt
					}
				}
				out = append(out, y)
			} else {
				out = append(out, s.filter(line, word(0), x, args[1:], kwargs))
			}
			continue
		case "select", "reject":
			keep := truth(x)
			if len(args) > 0 {
				keep = s.test(line, word(0), x, args[1:])
			}
			if keep == (name == "select") {
				out = append(out, x)
			}
			continue
		}
		v := s.path(x, word(0))
		keep := truth(v)
		if len(args) > 1 {
			keep = s.test(line, word(1), v, args[2:])
		}
		if keep == (name == "selectattr") {
			out = append(out, x)
		}
	}
	return s.newList(out)
}

func (s *state) ordered(line int, name string, in any, arg func(int, string) (any, bool)) any {
	attr := func(x any) any {
		if a, ok := arg(99, "attribute"); ok && a != nil {
			x = s.path(x, s.str(a))
		}
		if c, ok := arg(99, "case_sensitive"); name != "sum" && !(ok && truth(c)) {
			if t, isText := x.(string); isText {
				return strings.ToLower(t)
			}
		}
		return x
	}
	if name == "dictsort" {
		in = s.call(method(in, "items"), line, nil)
	}
	items := append([]any{}, s.iterate(in)...)
	key := func(x any) any {
		if name == "dictsort" {
			return attr(x.(*list).items[0])
		}
		return attr(x)
	}
	switch name {
	case "sum":
		var total any = int64(0)
		for _, x := range items {
			total = (&binaryExpr{line, "+", &constExpr{total}, &constExpr{attr(x)}}).eval(s)
		}
		return total
	case "unique":
		var out []any
		var seen list
		for _, x := range items {
			if !s.contains(&seen, key(x)) {
				seen.items = append(seen.items, key(x))
				out = append(out, x)
			}
		}
		return s.newList(out)
	}
	reverse, _ := arg(0, "reverse")
	if name == "max" || name == "min" {
		reverse = name == "max"
	}
	sort.SliceStable(items, func(i, j int) bool {
		if truth(reverse) {
			i, j = j, i
		}
		return s.less(key(items[i]), key(items[j]), 0)
	})
	if name == "min" || name == "max" {
		if len(items) == 0 {
			return undefined{name}
		}
		return items[0]
	}
	return s.newList(items)
}
