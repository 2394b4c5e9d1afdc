package math

import (
	"math/big"
	"strings"
)

// Equivalent reports whether an answer is the reference. It is symmetric up to
// rounding: an answer with six or more decimals may be the reference rounded.
func Equivalent(answer, reference string) bool {
	if len(answer) > maxLength || len(reference) > maxLength {
		return strings.TrimSpace(answer) == strings.TrimSpace(reference)
	}
	a, b := clean(answer), clean(reference)
	if x := cleanText(a); x != "" && x == cleanText(b) {
		return true
	}
	return same(readClean(a, 0), readClean(b, 0))
}

func same(a, b *parsed) bool {
	if a.base != b.base && (a.base != "") != (b.base != "") && digitsOf(a) == digitsOf(b) {
		return false // 13 is not 13 in base 8
	}
	switch {
	case a.form == formText || b.form == formText:
		return a.form == b.form && a.plain == b.plain && a.plain != ""
	case a.form == formEquation && b.equation != nil:
		return sameEquations(a, b.equation)
	case b.form == formEquation && a.equation != nil:
		return same(b, a)
	case a.form == formList && b.form == formTuple && len(a.items) == len(b.items) && labelled(a):
		return sameInOrder(a, b) // x = 1, y = 2 is (1, 2)
	case a.form == formTuple && b.form == formList && labelled(b) && len(a.items) == len(b.items):
		return same(b, a)
	case a.form == formList && b.form != formList:
		return len(a.items) == 1 && same(a.items[0], b)
	case b.form == formList && a.form != formList:
		return same(b, a)
	case a.form == formMatrix && b.form == formTuple:
		return (len(a.items) == a.rows || a.rows == 1) && b.open == '(' && sameInOrder(a, b)
	case a.form == formTuple && b.form == formMatrix:
		return same(b, a)
	case a.form != b.form:
		return false
	}
	switch a.form {
	case formList, formUnion:
		if labelled(a) && labelled(b) {
			return sameInOrder(a, b)
		}
		if a.unique || b.unique {
			return sameSets(once(a.items), once(b.items))
		}
		return sameSets(a.items, b.items)
	case formTuple:
		return bracket(a) == bracket(b) && sameInOrder(a, b)
	case formMatrix:
		return a.rows == b.rows && sameInOrder(a, b)
	case formOrder:
		return a.ops == b.ops && sameInOrder(a, b)
	case formEquation:
		return sameEquations(a, b)
	}
	return sameValues(a, b)
}

// digitsOf returns an answer's text without base and spaces.
func digitsOf(p *parsed) string {
	s := asText(p.text)
	for i := range s {
		if s[i] == '_' {
			return s[:i]
		}
	}
	return s
}

// bracket tells half-open intervals apart; for more than two items brackets are
// ornament.
func bracket(p *parsed) string {
	if len(p.items) != 2 {
		return ""
	}
	open, end := p.open, p.close
	if open == '<' {
		open, end = '(', ')'
	}
	return string([]byte{open, end})
}

func sameInOrder(a, b *parsed) bool {
	if len(a.items) != len(b.items) {
		return false
	}
	for i := range a.items {
		if !same(a.items[i], b.items[i]) {
			return false
		}
	}
	return true
}

// labelled reports whether a list says of several names, in their order, what they are:
// x = 1, y = 2.
func labelled(l *parsed) bool {
	for i, it := range l.items {
		if it.label == "" || (i > 0 && it.label <= l.items[i-1].label) {
			return false
		}
	}
	return len(l.items) > 1
}

// once drops what is there twice.
func once(items []*parsed) []*parsed {
	var out []*parsed
next:
	for _, x := range items {
		for _, y := range out {
			if same(x, y) {
				continue next
			}
		}
		out = append(out, x)
	}
	return out
}

// sameSets matches items one to one.
func sameSets(a, b []*parsed) bool {
	if len(a) != len(b) {
		return false
	}
	used := make([]bool, len(b))
next:
	for _, x := range a {
		for j, y := range b {
			if !used[j] && same(x, y) {
				used[j] = true
				continue next
			}
		}
		return false
	}
	return true
}

// sameValues compares two expressions.
func sameValues(a, b *parsed) bool {
	if sameExpr(a.expr, b.expr) {
		return true
	}
	if (a.bare != nil) != (b.bare != nil) { // degrees are left out, or meant, on one side
		x, y := a.expr, b.expr
		if a.bare != nil {
			x = a.bare
		} else {
			y = b.bare
		}
		if sameExpr(x, y) {
			return true
		}
	}
	if a.percent != b.percent { // 10% is 0.1; and people write 10 for it
		p, q := a, b
		if q.percent {
			p, q = q, p
		}
		return sameExpr(node(opDiv, p.expr, number(big.NewRat(100, 1))), q.expr)
	}
	return false
}
