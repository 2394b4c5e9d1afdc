package math

import "strings"

// relations in the order they are looked for: the longer ones first.
var relations = []struct {
	text string
	op   byte
}{{`\le`, 'l'}, {`\ge`, 'g'}, {"<=", 'l'}, {">=", 'g'}, {`\ne`, 'n'}, {`\approx`, 'a'}, {`\equiv`, 'e'}, {"<", '<'}, {">", '>'}, {"=", '='}}

// readRelation reads an equation or a chain of inequalities; nil if s is neither.
func readRelation(s string, depth int) *parsed {
	var sides []string
	var ops []byte
	level, begin := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(', '[', '{', 1:
			level++
		case ')', ']', '}', 2:
			level--
		}
		if level != 0 {
			continue
		}
		for _, r := range relations {
			if strings.HasPrefix(s[i:], r.text) && !(r.text[0] == '\\' && i+len(r.text) < len(s) && letter(s[i+len(r.text)])) {
				sides, ops = append(sides, s[begin:i]), append(ops, r.op)
				i += len(r.text) - 1
				begin = i + 1
				break
			}
		}
	}
	if len(ops) == 0 || len(ops) > 4 {
		return nil
	}
	sides = append(sides, s[begin:])
	for _, side := range sides {
		if strings.TrimSpace(side) == "" {
			return nil
		}
	}
	all := func(set string) bool {
		for _, o := range ops {
			if strings.IndexByte(set, o) < 0 {
				return false
			}
		}
		return true
	}
	switch {
	case all("=") || all("=a"):
		return readEquation(s, sides, depth)
	case all("g>"):
		for i, j := 0, len(sides)-1; i < j; i, j = i+1, j-1 {
			sides[i], sides[j] = sides[j], sides[i]
		}
		for i, j := 0, len(ops)-1; i < j; i, j = i+1, j-1 {
			ops[i], ops[j] = ops[j], ops[i]
		}
		for i, o := range ops {
			ops[i] = map[byte]byte{'g': 'l', '>': '<'}[o]
		}
		fallthrough
	case all("l<"):
		out := collect(s, formOrder, sides, depth)
		out.ops = string(ops)
		return asInterval(out)
	}
	return nil
}

// readEquation reads l = r, or x = ... = value as the value.
func readEquation(s string, sides []string, depth int) *parsed {
	first, last := sides[0], sides[len(sides)-1]
	label := ""
	switch {
	case nameOf.MatchString(first):
		label = first
	case nameOf.MatchString(last):
		label, last = last, first
	case len(sides) == 2:
		return collect(s, formEquation, sides, depth)
	}
	value := readClean(last, depth+1)
	if label != "" && value.form != formText {
		value.label = strings.TrimSpace(label)
		if len(sides) == 2 && value.form == formExpr {
			value.equation = collect(s, formEquation, sides, depth)
		}
	}
	return value
}

// asInterval turns x < 3 and 1 < x <= 2 into the interval that they say.
func asInterval(o *parsed) *parsed {
	name := func(p *parsed) bool {
		return p.form == formExpr && p.expr.op == opVar && p.expr.name != infinity && p.expr.name != pi && p.expr.name != euler
	}
	mark := func(op byte, open bool) byte {
		switch {
		case op == '<' && open:
			return '('
		case op == '<':
			return ')'
		case open:
			return '['
		}
		return ']'
	}
	minus := &parsed{form: formExpr, text: `-\infty`, expr: node(opNeg, variable(infinity))}
	plus := &parsed{form: formExpr, text: `\infty`, expr: variable(infinity)}
	out := &parsed{form: formTuple, text: o.text, bound: true}
	switch {
	case len(o.items) == 2 && name(o.items[0]) && !name(o.items[1]):
		out.items, out.open, out.close = []*parsed{minus, o.items[1]}, '(', mark(o.ops[0], false)
	case len(o.items) == 2 && name(o.items[1]) && !name(o.items[0]):
		out.items, out.open, out.close = []*parsed{o.items[0], plus}, mark(o.ops[0], true), ')'
	case len(o.items) == 3 && name(o.items[1]) && !name(o.items[0]) && !name(o.items[2]):
		out.items, out.open, out.close = []*parsed{o.items[0], o.items[2]}, mark(o.ops[0], true), mark(o.ops[1], false)
	default:
		return o
	}
	return out
}
