package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

// The values of a template: nil, bool, int64, float64, string, *list, *dict,
// *namespace, function and undefined.

type list struct {
	items []any
	tuple bool
}

// dict keeps its keys in the order in which they were added.
type dict struct {
	keys   []string
	values map[string]any
}

func newDict() *dict { return &dict{values: map[string]any{}} }

func (d *dict) set(k string, v any) {
	if _, ok := d.values[k]; !ok {
		d.keys = append(d.keys, k)
	}
	d.values[k] = v
}

// namespace is what namespace() makes: the only value that set can change.
type namespace struct{ *dict }

// undefined is the value of a name or key that is not there.
type undefined struct{ name string }

// function is what can be called.
type function func(s *state, line int, args []any, kwargs map[string]any) any

// fromGo converts a Go value: what encoding/json gives, structs with JSON tags,
// json.RawMessage (which keeps the order of keys; Go maps are sorted).
func fromGo(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, int64, float64:
		return v, nil
	case int:
		return int64(v), nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case json.RawMessage:
		dec := json.NewDecoder(bytes.NewReader(v))
		dec.UseNumber()
		return fromJSON(dec, 0)
	case map[string]any:
		d := newDict()
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			x, err := fromGo(v[k])
			if err != nil {
				return nil, err
			}
			d.set(k, x)
		}
		return d, nil
	case []any:
		l := &list{}
		for _, x := range v {
			y, err := fromGo(x)
			if err != nil {
				return nil, err
			}
			l.items = append(l.items, y)
		}
		return l, nil
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Func, reflect.Chan:
		return nil, fmt.Errorf("a value of type %T cannot be given to a template", v)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fromGo(json.RawMessage(raw))
}

func fromJSON(dec *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("JSON nested more than %d deep", maxNesting)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			l := &list{}
			for dec.More() {
				x, err := fromJSON(dec, depth+1)
				if err != nil {
					return nil, err
				}
				l.items = append(l.items, x)
			}
			_, err := dec.Token()
			return l, err
		}
		d := newDict()
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			x, err := fromJSON(dec, depth+1)
			if err != nil {
				return nil, err
			}
			d.set(k.(string), x)
		}
		_, err := dec.Token()
		return d, err
	case json.Number:
		return fromGo(t)
	}
	return tok, nil
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case undefined:
		return "undefined"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *list:
		return "list"
	case *dict:
		return "dict"
	}
	return fmt.Sprintf("%T", v)
}

// str is Python's str(); repr its repr().
func (s *state) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		return ""
	}
	var b strings.Builder
	s.repr(&b, v, 0)
	return b.String()
}

func (s *state) repr(b *strings.Builder, v any, depth int) {
	s.step(1)
	if depth > maxNesting {
		failf(s.line, "a value nested more than %d deep", maxNesting)
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case undefined:
		b.WriteString("Undefined")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(floatText(v))
	case string:
		b.WriteString(quoted(v))
	case *list:
		brackets := "[]"
		if v.tuple {
			brackets = "()"
		}
		b.WriteByte(brackets[0])
		for i, x := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			s.repr(b, x, depth+1)
		}
		if v.tuple && len(v.items) == 1 {
			b.WriteByte(',')
		}
		b.WriteByte(brackets[1])
	case *dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quoted(k) + ": ")
			s.repr(b, v.values[k], depth+1)
		}
		b.WriteByte('}')
	default:
		fmt.Fprintf(b, "<%s>", kindOf(v))
	}
	s.memory(b.Len() / 64) // a share: the builder grows with every call
}

// floatText is Python's repr of a float.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		t := strconv.FormatFloat(f, 'e', -1, 64)
		return t
	}
	t := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(t, ".") {
		t += ".0"
	}
	return t
}

// quoted is Python's repr of a string.
func quoted(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.WriteByte(q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
	return b.String()
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func (s *state) equal(a, b any, depth int) bool {
	s.step(1)
	if depth > maxNesting {
		failf(s.line, "values nested more than %d deep", maxNesting)
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case string:
		t, ok := b.(string)
		return ok && a == t
	case *list:
		o, ok := b.(*list)
		if !ok || len(a.items) != len(o.items) || a.tuple != o.tuple {
			return false
		}
		for i := range a.items {
			if !s.equal(a.items[i], o.items[i], depth+1) {
				return false
			}
		}
		return true
	case *dict:
		o, ok := b.(*dict)
		if !ok || len(a.keys) != len(o.keys) {
			return false
		}
		for k, v := range a.values {
			w, ok := o.values[k]
			if !ok || !s.equal(v, w, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

// less orders two numbers, strings or lists, as Python does.
func (s *state) less(a, b any, depth int) bool {
	s.step(1)
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return x < y
		}
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return x < y
		}
	}
	x, ok1 := a.(*list)
	y, ok2 := b.(*list)
	if !ok1 || !ok2 || depth > maxNesting {
		failf(s.line, "%s and %s cannot be compared", kindOf(a), kindOf(b))
	}
	for i := range min(len(x.items), len(y.items)) {
		if !s.equal(x.items[i], y.items[i], depth+1) {
			return s.less(x.items[i], y.items[i], depth+1)
		}
	}
	return len(x.items) < len(y.items)
}

// iterate returns the items that a loop sees.
func (s *state) iterate(v any) []any {
	var out []any
	switch v := v.(type) {
	case undefined:
		return nil
	case *list:
		out = v.items
	case *dict:
		for _, k := range v.keys {
			out = append(out, k)
		}
	case string:
		for _, r := range v {
			out = append(out, string(r))
		}
	default:
		failf(s.line, "%s cannot be iterated over", kindOf(v))
	}
	s.step(len(out))
	return out
}
