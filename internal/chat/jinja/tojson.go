package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

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
