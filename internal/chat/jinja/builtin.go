package jinja

import (
	"fmt"
	"html"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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

// test applies a test.
func (s *state) test(line int, name string, v any, args []any) bool {
	s.line = line
	_, none := v.(undefined)
	need := func() any {
		if len(args) != 1 {
			failf(line, "test %s takes one argument", name)
		}
		return args[0]
	}
	switch name {
	case "defined":
		return !none
	case "undefined":
		return none
	case "none":
		return v == nil
	case "true":
		return v == true
	case "false":
		return v == false
	case "boolean":
		return kindOf(v) == "bool"
	case "integer":
		return kindOf(v) == "int"
	case "float":
		return kindOf(v) == "float"
	case "number":
		_, ok := number(v)
		return ok
	case "string":
		return kindOf(v) == "str"
	case "mapping":
		return kindOf(v) == "dict"
	case "sequence", "iterable":
		switch v.(type) {
		case string, *list, *dict, undefined:
			return true
		}
		return false
	case "callable":
		_, ok := v.(function)
		return ok
	case "even", "odd", "divisibleby":
		by := int64(2)
		if name == "divisibleby" {
			by, _ = integer(need())
		}
		n, ok := integer(v)
		if !ok || by == 0 {
			failf(line, "test %s of %s", name, kindOf(v))
		}
		return (n%by == 0) == (name != "odd")
	case "lower", "upper":
		t := s.str(v)
		lo, up := strings.ToLower(t), strings.ToUpper(t)
		return lo != up && (name == "lower" && t == lo || name == "upper" && t == up)
	case "in":
		return s.contains(need(), v)
	case "eq", "equalto", "==":
		return s.equal(v, need(), 0)
	case "ne", "!=":
		return !s.equal(v, need(), 0)
	case "lt", "lessthan", "<":
		return s.compare("<", v, need())
	case "le", "<=":
		return s.compare("<=", v, need())
	case "gt", "greaterthan", ">":
		return s.compare(">", v, need())
	case "ge", ">=":
		return s.compare(">=", v, need())
	case "sameas":
		return s.equal(v, need(), 0) && kindOf(v) == kindOf(need())
	}
	failf(line, "unknown test %q", name)
	return false
}

// tojson writes v as json.dumps(v, ensure_ascii=False) does.
func (s *state) tojson(b *strings.Builder, v any, indent, depth int) {
	s.step(1)
	if depth > maxNesting {
		failf(s.line, "a value nested more than %d deep", maxNesting)
	}
	gap := func(depth int) {
		if indent >= 0 {
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(" ", indent*depth))
		}
	}
	comma := ", "
	if indent >= 0 {
		comma = ","
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		switch {
		case math.IsNaN(v):
			b.WriteString("NaN")
		case math.IsInf(v, 0):
			b.WriteString(strings.Replace("+Infinity", "+", map[bool]string{true: "-", false: ""}[v < 0], 1))
		default:
			b.WriteString(floatText(v))
		}
	case string:
		s.memory(len(v))
		jsonString(b, v)
	case *list:
		b.WriteByte('[')
		for i, x := range v.items {
			if i > 0 {
				b.WriteString(comma)
			}
			gap(depth + 1)
			s.tojson(b, x, indent, depth+1)
		}
		if len(v.items) > 0 {
			gap(depth)
		}
		b.WriteByte(']')
	case *dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(comma)
			}
			gap(depth + 1)
			jsonString(b, k)
			b.WriteString(": ")
			s.tojson(b, v.values[k], indent, depth+1)
		}
		if len(v.keys) > 0 {
			gap(depth)
		}
		b.WriteByte('}')
	default:
		failf(s.line, "%s cannot be written as JSON", kindOf(v))
	}
}

func jsonString(b *strings.Builder, v string) {
	b.WriteByte('"')
	for _, r := range v {
		switch r {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		default:
			if r < 0x20 {
				fmt.Fprintf(b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
	}
	b.WriteByte('"')
}

// strip is Python's str.strip with the given characters, or white space.
func strip(t, chars string, left, right bool) string {
	is := func(r rune) bool { return strings.ContainsRune(chars, r) }
	if chars == "" {
		is = func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
	}
	if left {
		t = strings.TrimLeftFunc(t, is)
	}
	if right {
		t = strings.TrimRightFunc(t, is)
	}
	return t
}
