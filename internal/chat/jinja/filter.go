package jinja

import (
	"html"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filter applies a filter.
func (s *state) filter(line int, name string, in any, args []any, kwargs map[string]any) any {
	s.line = line
	arg := func(i int, key string) (any, bool) {
		if i < len(args) {
			return args[i], true
		}
		v, ok := kwargs[key]
		return v, ok
	}
	text := func(i int, key, dflt string) string {
		if v, ok := arg(i, key); ok && v != nil {
			return s.str(v)
		}
		return dflt
	}
	switch name {
	case "default", "d":
		dflt, _ := arg(0, "default_value")
		if dflt == nil && len(args) == 0 {
			dflt = ""
		}
		loose, _ := arg(1, "boolean")
		if _, none := in.(undefined); none || truth(loose) && !truth(in) {
			return dflt
		}
		return in
	case "tojson":
		indent := -1
		if v, ok := arg(0, "indent"); ok {
			if n, ok := kwargs["indent"]; ok {
				v = n
			}
			if n, ok := integer(v); ok {
				indent = int(min(max(n, 0), 16))
			}
		}
		var b strings.Builder
		s.tojson(&b, in, indent, 0)
		return s.made(b.String())
	case "length", "count":
		switch v := in.(type) {
		case string:
			return int64(utf8.RuneCountInString(v))
		case *list:
			return int64(len(v.items))
		case *dict:
			return int64(len(v.keys))
		case undefined:
			return int64(0)
		}
		failf(line, "length of %s", kindOf(in))
	case "trim":
		return s.made(strip(s.str(in), text(0, "chars", ""), true, true))
	case "string":
		return s.made(s.str(in))
	case "safe":
		return in
	case "e", "escape", "forceescape":
		return s.made(html.EscapeString(s.str(in)))
	case "upper", "lower", "capitalize", "title":
		return s.call(method(s.str(in), name), line, nil)
	case "replace":
		return s.call(method(s.str(in), "replace"), line, args)
	case "join":
		var parts []string
		attr, _ := arg(1, "attribute")
		for _, x := range s.iterate(in) {
			if attr != nil {
				x = s.path(x, s.str(attr))
			}
			parts = append(parts, s.str(x))
			s.memory(len(parts[len(parts)-1]))
		}
		sep := text(0, "d", "")
		s.memory(len(sep) * len(parts))
		return strings.Join(parts, sep)
	case "first", "last":
		items := s.iterate(in)
		if len(items) == 0 {
			return undefined{name}
		}
		if name == "first" {
			return items[0]
		}
		return items[len(items)-1]
	case "list":
		return s.newList(append([]any{}, s.iterate(in)...))
	case "items":
		if _, none := in.(undefined); none {
			return &list{}
		}
		return s.call(method(in, "items"), line, nil)
	case "reverse":
		items := s.iterate(in)
		out := make([]any, len(items))
		for i, x := range items {
			out[len(items)-1-i] = x
		}
		if _, ok := in.(string); ok {
			return s.filter(line, "join", &list{items: out}, nil, nil)
		}
		return s.newList(out)
	case "int":
		return s.toInt(in, arg)
	case "float":
		return s.toFloat(in, arg)
	case "abs":
		if n, ok := in.(int64); ok {
			return max(n, -n)
		}
		if f, ok := number(in); ok {
			return math.Abs(f)
		}
		failf(line, "abs of %s", kindOf(in))
	case "round":
		f, ok := number(in)
		if !ok {
			failf(line, "round of %s", kindOf(in))
		}
		p, _ := arg(0, "precision")
		n, _ := integer(p)
		scale := math.Pow(10, float64(min(max(n, -20), 20)))
		return math.RoundToEven(f*scale) / scale
	case "indent":
		return s.indent(s.str(in), args, kwargs)
	case "map", "select", "reject", "selectattr", "rejectattr":
		return s.each(line, name, in, args, kwargs)
	case "sort", "dictsort", "unique", "min", "max", "sum":
		return s.ordered(line, name, in, arg)
	case "wordcount":
		return int64(len(strings.Fields(s.str(in))))
	}
	failf(line, "unknown filter %q", name)
	return nil
}

func (s *state) call(fn any, line int, args []any) any {
	f, ok := fn.(function)
	if !ok {
		failf(line, "%s cannot be called", kindOf(fn))
	}
	return f(s, line, args, nil)
}

// path is x.a.b for "a.b".
func (s *state) path(x any, name string) any {
	for _, part := range strings.Split(name, ".") {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			x = s.item(x, n)
		} else {
			x = s.item(x, part)
		}
	}
	return x
}

func (s *state) toInt(in any, arg func(int, string) (any, bool)) any {
	dflt, ok := arg(0, "default")
	if !ok {
		dflt = int64(0)
	}
	switch v := in.(type) {
	case int64:
		return v
	case string:
		t := strings.TrimSpace(v)
		if n, err := strconv.ParseInt(t, 10, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(t, 64); err == nil && math.Abs(f) < 1<<62 {
			return int64(f)
		}
		return dflt
	}
	if f, ok := number(in); ok && math.Abs(f) < 1<<62 {
		return int64(f)
	}
	return dflt
}

func (s *state) toFloat(in any, arg func(int, string) (any, bool)) any {
	if f, ok := number(in); ok {
		return f
	}
	if t, ok := in.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(t), 64); err == nil {
			return f
		}
	}
	if dflt, ok := arg(0, "default"); ok {
		return dflt
	}
	return 0.0
}

func (s *state) indent(text string, args []any, kwargs map[string]any) string {
	pad := "    "
	var flags [2]bool
	for i, key := range []string{"width", "first", "blank"} {
		v, ok := kwargs[key]
		if i < len(args) {
			v, ok = args[i], true
		}
		switch {
		case !ok:
		case i > 0:
			flags[i-1] = truth(v)
		default:
			if t, isText := v.(string); isText {
				pad = t
			} else if n, isInt := integer(v); isInt {
				pad = s.repeat(" ", n)
			}
		}
	}
	lines := strings.Split(text, "\n")
	s.memory(len(text) + len(pad)*len(lines))
	for i, line := range lines {
		if i == 0 && !flags[0] || line == "" && !flags[1] {
			continue
		}
		lines[i] = pad + line
	}
	return strings.Join(lines, "\n")
}
