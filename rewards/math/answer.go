package math

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// form is the structure of an answer.
type form uint8

const (
	formText     form = iota // text
	formExpr                 // expr
	formList                 // items, in any order: 1, 2 and {1, 2}
	formTuple                // items in order, between open and close: (1,2), [0,1)
	formUnion                // items: intervals and sets, in any order
	formMatrix               // items row by row, with rows
	formEquation             // items: both sides, of which the left is no mere name
	formOrder                // items: the sides of a chain of < and <=, in ops
)

// parsed is an answer that was read.
type parsed struct {
	form        form
	text        string // as it was written
	expr        *expr
	items       []*parsed
	open, close byte
	rows        int
	ops         string // of formOrder: '<' and 'l' (<=), between the items
	percent     bool
	base        string  // of 13_8: "13_8"
	bare        *expr   // of an expression with degrees: the same without them
	plain       string  // of formText: what is compared
	unique      bool    // of formList: braces were written, what is there twice counts once
	bound       bool    // of formTuple: an interval that was written as an inequality
	label       string  // of x = 5: "x"
	equation    *parsed // of y = 2x + 3, which is read as 2x + 3: both sides
}

// Bounds of structures.
const (
	maxItems  = 100
	maxNested = 8
)

// name matches what stands alone on a side of an equation.
const name = `(?:[a-zA-Z]|\\[a-z]+)(?:_\{?\w+\}?)?'?`

var (
	nameOf    = regexp.MustCompile(`^\s*(?:` + name + `(?:\^\{?-1\}?)?\s*\{?\s*(?:\(\s*` + name + `(?:\s*,\s*` + name + `)*\s*\))?\s*\}?|\(\s*` + name + `(?:\s*,\s*` + name + `)+\s*\))\s*$`)
	reals     = regexp.MustCompile(`^\s*(?:\\math(?:bb|bf)\s*\{?\s*R\s*\}?|\\R|ℝ|all real numbers)\s*$`)
	either    = regexp.MustCompile(`\s+or\s+|\\(?:lor|vee)\b`)
	basedForm = regexp.MustCompile(`^\s*-?\d+_\{?\(?\d+\)?\}?\s*$`)
	connector = regexp.MustCompile(`\s+(?:and|or)\s+|;|,\s*(?:and|or)\s+`)
	matrixEnv = regexp.MustCompile(`^([^&]*?)\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{[a-zA-Z]*\}\s*$`)
)

// textOf is what is no mathematics.
func textOf(s string) *parsed { return &parsed{form: formText, text: s, plain: asText(s)} }

// readClean parses what clean returned.
func readClean(s string, depth int) *parsed {
	s = strings.TrimSpace(s)
	if s == "" || depth > maxNested {
		return textOf(s)
	}
	if strings.Contains(s, `\begin`) {
		if m := readMatrix(s, depth); m != nil {
			return m
		}
	}
	s = turned(s)
	if reals.MatchString(s) {
		s = `(-\infty,\infty)`
	}
	if strings.Contains(s, `\pm`) || strings.Contains(s, `\mp`) {
		plus := strings.NewReplacer(`\pm`, "+", `\mp`, "-").Replace(s)
		minus := strings.NewReplacer(`\pm`, "-", `\mp`, "+").Replace(s)
		return list(s, readClean(plus, depth+1), readClean(minus, depth+1))
	}
	or := either.MatchString(s)
	s = connector.ReplaceAllString(either.ReplaceAllString(s, ","), ",")
	if parts := splitTop(s, `\cup`); len(parts) > 1 {
		return collect(s, formUnion, parts, depth)
	}
	if parts := splitTop(s, ","); len(parts) > 1 {
		l := flatten(collect(s, formList, parts, depth))
		if or && !slices.ContainsFunc(l.items, func(p *parsed) bool { return !p.bound }) {
			l.form = formUnion // x < 1 or x > 4
		}
		return l
	}
	if inner, ok := enclosed(s, '\x01', '\x02'); ok {
		return readSet(s, inner, depth)
	}
	if r := readRelation(s, depth); r != nil {
		return r
	}
	if t := readTuple(s, depth); t != nil {
		return t
	}
	return readValue(s)
}

// readValue reads an expression, with a percent sign or a base.
func readValue(s string) *parsed {
	body, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	e := parseExpr(body)
	if e == nil {
		return textOf(s)
	}
	out := &parsed{form: formExpr, text: s, expr: e, percent: percent}
	if basedForm.MatchString(s) {
		out.base = strings.NewReplacer("{", "", "}", "", " ", "", "(", "", ")", "").Replace(s)
	}
	if strings.Contains(body, degree) {
		out.bare = parseExpr(strings.ReplaceAll(body, degree, " "))
	}
	return out
}

// turned writes the intervals [0,1[ and ]0,1] with parentheses.
func turned(s string) string {
	if len(s) < 3 || (s[0] != ']' && s[len(s)-1] != '[') || strings.ContainsAny(s[1:len(s)-1], "[]") {
		return s
	}
	if s[0] == ']' {
		s = "(" + s[1:]
	}
	if t, open := strings.CutSuffix(s, "["); open {
		s = t + ")"
	}
	return s
}

func list(text string, items ...*parsed) *parsed {
	return flatten(&parsed{form: formList, text: text, items: items})
}

// flatten joins lists within a list: x = 1 \pm 2, 5.
func flatten(l *parsed) *parsed {
	var items []*parsed
	for _, it := range l.items {
		if it.form == formList {
			items = append(items, it.items...)
		} else {
			items = append(items, it)
		}
	}
	l.items = items
	return l
}

func collect(s string, f form, parts []string, depth int) *parsed {
	out := &parsed{form: f, text: s}
	if len(parts) > maxItems {
		return textOf(s)
	}
	for _, p := range parts {
		out.items = append(out.items, readClean(p, depth+1))
	}
	return out
}

func readSet(s, inner string, depth int) *parsed {
	if strings.TrimSpace(inner) == "" {
		return readClean(emptySet, depth+1)
	}
	if parts := splitAt(inner, ",", false); len(parts) <= maxItems && !strings.ContainsAny(inner, "|:") {
		l := flatten(collect(s, formList, parts, depth))
		l.unique = l.form == formList
		return l
	}
	return textOf(s)
}

// readTuple reads (a, b, ...) and intervals; nil if s is none.
func readTuple(s string, depth int) *parsed {
	if len(s) < 2 {
		return nil
	}
	open, end := s[0], s[len(s)-1]
	if (open != '(' && open != '[' && open != '<') || (end != ')' && end != ']' && end != '>') {
		return nil
	}
	if _, ok := enclosedAny(s); !ok {
		return nil
	}
	parts := splitAt(s[1:len(s)-1], ",", false) // in brackets a comma always separates
	if len(parts) < 2 {
		return nil
	}
	t := collect(s, formTuple, parts, depth)
	t.open, t.close = open, end
	return t
}

// readMatrix reads a matrix environment, in brackets or not, with a factor before it
// or not; nil if s is something else.
func readMatrix(s string, depth int) *parsed {
	flat := strings.TrimSpace(strings.ReplaceAll(s, "\n", " "))
	if n := len(flat); n > 2 && (flat[0] == '(' && flat[n-1] == ')' || flat[0] == '[' && flat[n-1] == ']') {
		flat = flat[1 : n-1]
	}
	m := matrixEnv.FindStringSubmatch(flat)
	if m == nil {
		return nil
	}
	factor, body := strings.TrimSpace(m[1]), m[3]
	var by *expr
	if factor == "-" {
		by = number(big.NewRat(-1, 1))
	} else if factor != "" {
		if by = parseExpr(factor); by == nil {
			return nil
		}
	}
	rows := strings.Split(strings.TrimSuffix(strings.TrimSpace(body), newRow), newRow)
	out := &parsed{form: formMatrix, text: s, rows: len(rows)}
	for _, r := range rows {
		for _, c := range strings.Split(r, "&") {
			item := readClean(c, depth+1)
			if by != nil {
				if item.form != formExpr {
					return nil
				}
				item = &parsed{form: formExpr, text: item.text, expr: node(opMul, by, item.expr)}
			}
			out.items = append(out.items, item)
		}
	}
	if len(out.items) > maxItems {
		return textOf(s)
	}
	return out
}

// splitTop splits s at a separator outside of brackets. A comma between digits that
// groups thousands is none.
func splitTop(s, sep string) []string { return splitAt(s, sep, true) }

func splitAt(s, sep string, grouped bool) []string {
	var parts []string
	level, begin := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(', '[', '{', 1:
			level++
		case ')', ']', '}', 2:
			level--
		}
		if level > 0 || !strings.HasPrefix(s[i:], sep) || (sep == "," && grouped && thousands(s, i)) {
			continue
		}
		if sep[0] == '\\' && i+len(sep) < len(s) && letter(s[i+len(sep)]) {
			continue
		}
		parts = append(parts, s[begin:i])
		i += len(sep) - 1
		begin = i + 1
	}
	return append(parts, s[begin:])
}

// thousands reports whether the comma at s[i] groups digits: 1 to 3 before, or a
// group before that, and exactly 3 after.
func thousands(s string, i int) bool {
	if !threeDigits(s[i+1:]) {
		return false
	}
	n := 0
	for i-n-1 >= 0 && digit(s[i-n-1]) {
		n++
	}
	if n < 1 || n > 3 {
		return false
	}
	before := i - n - 1
	if before >= 0 && s[before] == ',' {
		return n == 3 && thousands(s, before)
	}
	return s[i-n] != '0' && (before < 0 || s[before] != '.')
}

// enclosed returns the inside of a string whose first and last bytes are a pair.
func enclosed(s string, open, end byte) (string, bool) {
	if len(s) < 2 || s[0] != open || s[len(s)-1] != end {
		return "", false
	}
	return enclosedAny(s)
}

// enclosedAny returns the inside of a string whose first bracket closes at its end.
func enclosedAny(s string) (string, bool) {
	level := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(', '[', '{', 1:
			level++
		case ')', ']', '}', 2:
			level--
		}
		if level <= 0 && i < len(s)-1 && i > 0 {
			return "", false
		}
	}
	return s[1 : len(s)-1], true
}
