package pattern

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds on a pattern: a tokenizer's has a few hundred bytes.
const (
	maxPattern = 64 << 10
	maxDepth   = 100
	maxRepeat  = 1000
	maxProgram = 100_000
)

// node is a parsed expression.
type node struct {
	op       op
	set      *set    // opSet
	subs     []*node // opConcat, opAlternate; one for the others
	min, max int     // opRepeat; max -1: unbounded
	lazy     bool
	negative bool // opLookAhead, opLookBehind
}

type op uint8

const (
	opEmpty op = iota
	opSet
	opConcat
	opAlternate
	opRepeat
	opAtomic
	opLookAhead
	opLookBehind // of one character
	opTextStart
	opTextEnd
	opLineStart
	opLineEnd
	opEndNewline // \Z
	opWordBoundary
	opNotWordBoundary
)

type parser struct {
	src   string
	at    int
	depth int
	fold  bool // (?i)
	dotNL bool // (?m) as Ruby means it: . matches a line feed
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("pattern %q at byte %d: %s", p.src, p.at, fmt.Sprintf(format, args...))
}

func (p *parser) more() bool { return p.at < len(p.src) }

func (p *parser) peek() byte {
	if p.more() {
		return p.src[p.at]
	}
	return 0
}

func (p *parser) accept(s string) bool {
	if strings.HasPrefix(p.src[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *parser) rune() (rune, error) {
	if !p.more() {
		return 0, p.errorf("it ends too early")
	}
	r, n := utf8.DecodeRuneInString(p.src[p.at:])
	if r == utf8.RuneError && n == 1 {
		return 0, p.errorf("not UTF-8")
	}
	p.at += n
	return r, nil
}

func (p *parser) alternate() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	fold, dotNL := p.fold, p.dotNL
	defer func() { p.depth--; p.fold, p.dotNL = fold, dotNL }()
	alt := &node{op: opAlternate}
	for {
		c, err := p.concat()
		if err != nil {
			return nil, err
		}
		alt.subs = append(alt.subs, c)
		if !p.accept("|") {
			break
		}
	}
	if len(alt.subs) == 1 {
		return alt.subs[0], nil
	}
	return alt, nil
}

func (p *parser) concat() (*node, error) {
	c := &node{op: opConcat}
	for p.more() && p.peek() != '|' && p.peek() != ')' {
		n, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n, err = p.quantified(n); err != nil {
			return nil, err
		}
		c.subs = append(c.subs, n)
	}
	return c, nil
}

// quantified wraps n in the quantifiers that follow it.
func (p *parser) quantified(n *node) (*node, error) {
	for p.more() {
		lo, hi := 0, -1
		braces := false
		switch {
		case p.accept("*"):
		case p.accept("+"):
			lo = 1
		case p.accept("?"):
			hi = 1
		case p.peek() == '{':
			var ok bool
			var err error
			if lo, hi, ok, err = p.braces(); err != nil {
				return nil, err
			} else if !ok {
				return n, nil // a literal brace: the next atom
			}
			braces = true
		default:
			return n, nil
		}
		n = &node{op: opRepeat, min: lo, max: hi, subs: []*node{n}}
		if p.accept("?") {
			n.lazy = true
		} else if !braces && p.accept("+") { // {n,m}+ is a repeat of a repeat in Ruby's syntax
			n = &node{op: opAtomic, subs: []*node{n}}
		}
	}
	return n, nil
}

// braces reads {n}, {n,}, {,m} or {n,m}; ok is false if it is none of them.
func (p *parser) braces() (lo, hi int, ok bool, err error) {
	end := strings.IndexByte(p.src[p.at:], '}')
	if end < 0 {
		return 0, 0, false, nil
	}
	a, b, comma := strings.Cut(p.src[p.at+1:p.at+end], ",")
	number := func(s string, dflt int) (int, bool) {
		if s == "" {
			return dflt, comma
		}
		for _, c := range []byte(s) {
			if c < '0' || c > '9' {
				return 0, false
			}
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			n = maxRepeat + 1
		}
		return n, true
	}
	lo, ok1 := number(a, 0)
	hi, ok2 := lo, true
	if comma {
		hi, ok2 = number(b, -1)
	}
	if !ok1 || !ok2 || (a == "" && b == "") {
		return 0, 0, false, nil
	}
	if lo > maxRepeat || hi > maxRepeat || (hi >= 0 && hi < lo) {
		return 0, 0, false, p.errorf("repeat {%d,%d}", lo, hi)
	}
	p.at += end + 1
	return lo, hi, true, nil
}

func (p *parser) atom() (*node, error) {
	switch {
	case p.accept("("):
		return p.group()
	case p.peek() == '[':
		test, err := p.class()
		if err != nil {
			return nil, err
		}
		return &node{op: opSet, set: newSet(test)}, nil
	case p.accept("."):
		if p.dotNL {
			return &node{op: opSet, set: newSet(func(rune) bool { return true })}, nil
		}
		return &node{op: opSet, set: newSet(func(r rune) bool { return r != '\n' })}, nil
	case p.accept("^"):
		return &node{op: opLineStart}, nil
	case p.accept("$"):
		return &node{op: opLineEnd}, nil
	case p.peek() == '\\':
		for text, op := range map[string]op{`\A`: opTextStart, `\z`: opTextEnd, `\Z`: opEndNewline, `\b`: opWordBoundary, `\B`: opNotWordBoundary} {
			if p.accept(text) {
				return &node{op: op}, nil
			}
		}
		test, _, err := p.escape()
		if err != nil {
			return nil, err
		}
		return &node{op: opSet, set: newSet(p.folded(test))}, nil
	case p.peek() == '*' || p.peek() == '+' || p.peek() == '?':
		return nil, p.errorf("nothing to repeat")
	}
	r, err := p.rune()
	if err != nil {
		return nil, err
	}
	return &node{op: opSet, set: newSet(p.folded(between(r, r)))}, nil
}

func (p *parser) folded(test func(rune) bool) func(rune) bool {
	if p.fold {
		return folded(test)
	}
	return test
}

// group reads what follows an opening parenthesis.
func (p *parser) group() (*node, error) {
	wrap := func(n *node) *node { return n }
	fold, dotNL := p.fold, p.dotNL
	look := func(o op, negative bool) func(*node) *node {
		return func(n *node) *node { return &node{op: o, negative: negative, subs: []*node{n}} }
	}
	switch {
	case p.accept("?:"):
	case p.accept("?="):
		wrap = look(opLookAhead, false)
	case p.accept("?!"):
		wrap = look(opLookAhead, true)
	case p.accept("?<="):
		wrap = look(opLookBehind, false)
	case p.accept("?<!"):
		wrap = look(opLookBehind, true)
	case p.accept("?>"):
		wrap = func(n *node) *node { return &node{op: opAtomic, subs: []*node{n}} }
	case p.accept("?"):
		on := true
		for {
			switch {
			case p.accept("-"):
				on = false
			case p.accept("i"):
				p.fold = on
			case p.accept("m"):
				p.dotNL = on
			case p.accept(":"):
				return p.closed(wrap, fold, dotNL)
			case p.accept(")"): // to the end of the enclosing group, which restores the flags
				return &node{op: opEmpty}, nil
			default:
				return nil, p.errorf("this kind of group is not supported")
			}
		}
	}
	return p.closed(wrap, fold, dotNL)
}

func (p *parser) closed(wrap func(*node) *node, fold, dotNL bool) (*node, error) {
	n, err := p.alternate()
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, p.errorf("a closing parenthesis is missing")
	}
	p.fold, p.dotNL = fold, dotNL
	n = wrap(n)
	if n.op == opLookBehind && !oneCharacter(n.subs[0]) {
		return nil, p.errorf("look-behind of more than one character is not supported")
	}
	return n, nil
}

func oneCharacter(n *node) bool {
	switch n.op {
	case opSet:
		return true
	case opConcat:
		return len(n.subs) == 1 && oneCharacter(n.subs[0])
	case opAlternate:
		for _, s := range n.subs {
			if !oneCharacter(s) {
				return false
			}
		}
		return true
	}
	return false
}

// escape reads a backslash and what follows. literal is the character it
// stands for, -1 if it stands for a class.
func (p *parser) escape() (test func(rune) bool, literal rune, err error) {
	p.at++ // the backslash
	r, err := p.rune()
	if err != nil {
		return nil, 0, err
	}
	one := func(r rune) (func(rune) bool, rune, error) { return between(r, r), r, nil }
	switch r {
	case 's':
		return isSpace, -1, nil
	case 'S':
		return not(isSpace), -1, nil
	case 'd', 'D', 'w', 'W':
		test := isWord
		if r == 'd' || r == 'D' {
			test, _ = property("Nd")
		}
		if r == 'D' || r == 'W' {
			test = not(test)
		}
		return test, -1, nil
	case 'p', 'P':
		return p.property(r == 'P')
	case 'n':
		return one('\n')
	case 'r':
		return one('\r')
	case 't':
		return one('\t')
	case 'f':
		return one('\f')
	case 'v':
		return one('\v')
	case 'a':
		return one('\a')
	case 'e':
		return one(0x1b)
	case '0':
		return one(0)
	case 'x', 'u':
		c, err := p.hex(r)
		if err != nil {
			return nil, 0, err
		}
		return one(c)
	}
	if r < utf8.RuneSelf && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
		return nil, 0, p.errorf("\\%c is not supported", r)
	}
	return one(r)
}

func (p *parser) property(negative bool) (func(rune) bool, rune, error) {
	if !p.accept("{") {
		return nil, 0, p.errorf("\\p without {name}")
	}
	end := strings.IndexByte(p.src[p.at:], '}')
	if end < 0 {
		return nil, 0, p.errorf("\\p{ is not closed")
	}
	name := p.src[p.at : p.at+end]
	p.at += end + 1
	if strings.HasPrefix(name, "^") {
		name, negative = name[1:], !negative
	}
	test, err := property(name)
	if err != nil {
		return nil, 0, p.errorf("%v", err)
	}
	if negative {
		test = not(test)
	}
	return test, -1, nil
}

func (p *parser) hex(kind rune) (rune, error) {
	var digits string
	if p.accept("{") {
		end := strings.IndexByte(p.src[p.at:], '}')
		if end < 0 {
			return 0, p.errorf("{ is not closed")
		}
		digits = p.src[p.at : p.at+end]
		p.at += end + 1
	} else {
		n := 2
		if kind == 'u' {
			n = 4
		}
		if p.at+n > len(p.src) {
			return 0, p.errorf("%d hexadecimal digits expected", n)
		}
		digits = p.src[p.at : p.at+n]
		p.at += n
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || v > utf8.MaxRune {
		return 0, p.errorf("%q is not a code point", digits)
	}
	return rune(v), nil
}

// class reads [...], with ranges, escapes, negation and nested classes.
func (p *parser) class() (func(rune) bool, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	p.at++ // [
	negative := p.accept("^")
	var tests []func(rune) bool
	for first := true; ; first = false {
		switch {
		case !p.more():
			return nil, p.errorf("a class is not closed")
		case p.peek() == ']' && !first:
			p.at++
			test := p.folded(union(tests))
			if negative {
				test = not(test)
			}
			return test, nil
		case strings.HasPrefix(p.src[p.at:], "[:"), strings.HasPrefix(p.src[p.at:], "&&"):
			return nil, p.errorf("%s in a class is not supported", p.src[p.at:p.at+2])
		case p.peek() == '[':
			test, err := p.class()
			if err != nil {
				return nil, err
			}
			tests = append(tests, test)
			continue
		}
		test, lo, err := p.classItem()
		if err != nil {
			return nil, err
		}
		if lo >= 0 && p.peek() == '-' && p.at+1 < len(p.src) && p.src[p.at+1] != ']' && p.src[p.at+1] != '[' {
			p.at++
			_, hi, err := p.classItem()
			if err != nil {
				return nil, err
			}
			if hi < lo {
				return nil, p.errorf("the range %q to %q is empty", lo, hi)
			}
			test = between(lo, hi)
		}
		tests = append(tests, test)
	}
}

func (p *parser) classItem() (func(rune) bool, rune, error) {
	if p.peek() == '\\' {
		if p.accept(`\b`) {
			return between('\b', '\b'), '\b', nil
		}
		return p.escape()
	}
	r, err := p.rune()
	return between(r, r), r, err
}
