package pattern

import (
	"fmt"
	"unicode/utf8"
)

// Pattern is a compiled expression. It may be used from several goroutines.
type Pattern struct {
	prog []inst
}

// inst is one step of the program.
type inst struct {
	kind     kind
	set      *set
	next     int // the step after this one
	other    int // iSplit: tried if next fails
	min, max int // iLoop
	negative bool
	sub      *Pattern // iAtomic, iLook
	assert   op       // iAssert
}

type kind uint8

const (
	iMatch  kind = iota
	iSet         // one character of set
	iSplit       // next, then other
	iLoop        // min to max characters of set, greedy
	iAtomic      // sub, without going back into it
	iLook        // sub matches here (or not), nothing is consumed
	iBehind      // the character before is in set (or not)
	iAssert
)

// Compile parses a pattern. The error names what is not understood.
func Compile(src string) (*Pattern, error) {
	if len(src) > maxPattern {
		return nil, fmt.Errorf("pattern of %d bytes, at most %d", len(src), maxPattern)
	}
	p := &parser{src: src}
	n, err := p.alternate()
	if err != nil {
		return nil, err
	}
	if p.more() {
		return nil, p.errorf("an unmatched closing parenthesis")
	}
	steps := 0
	return build(n, &steps)
}

// build compiles n; steps counts the steps of the whole pattern.
func build(n *node, steps *int) (*Pattern, error) {
	c := &compiler{steps: steps}
	match := c.add(inst{kind: iMatch})
	start, err := c.compile(n, match)
	if err != nil {
		return nil, err
	}
	// The program starts at its last step.
	c.add(inst{kind: iSplit, next: start, other: -1})
	return &Pattern{prog: c.prog}, nil
}

type compiler struct {
	prog  []inst
	steps *int
}

func (c *compiler) add(i inst) int {
	*c.steps++
	c.prog = append(c.prog, i)
	return len(c.prog) - 1
}

// compile adds the steps of n that go on to next and returns the first.
func (c *compiler) compile(n *node, next int) (int, error) {
	if *c.steps > maxProgram {
		return 0, fmt.Errorf("pattern: its repeats take more than %d steps", maxProgram)
	}
	switch n.op {
	case opEmpty:
		return next, nil
	case opSet:
		return c.add(inst{kind: iSet, set: n.set, next: next}), nil
	case opConcat:
		for i := len(n.subs) - 1; i >= 0; i-- {
			var err error
			if next, err = c.compile(n.subs[i], next); err != nil {
				return 0, err
			}
		}
		return next, nil
	case opAlternate:
		at := -1
		for i := len(n.subs) - 1; i >= 0; i-- {
			sub, err := c.compile(n.subs[i], next)
			if err != nil {
				return 0, err
			}
			if at < 0 {
				at = sub
			} else {
				at = c.add(inst{kind: iSplit, next: sub, other: at})
			}
		}
		return at, nil
	case opRepeat:
		return c.repeat(n, next)
	case opAtomic, opLookAhead:
		sub, err := build(n.subs[0], c.steps)
		if err != nil {
			return 0, err
		}
		k := iAtomic
		if n.op == opLookAhead {
			k = iLook
		}
		return c.add(inst{kind: k, sub: sub, negative: n.negative, next: next}), nil
	case opLookBehind:
		return c.add(inst{kind: iBehind, set: oneOf(n.subs[0]), negative: n.negative, next: next}), nil
	default:
		return c.add(inst{kind: iAssert, assert: n.op, next: next}), nil
	}
}

// oneOf returns the set of a node that oneCharacter accepted.
func oneOf(n *node) *set {
	if n.op == opSet {
		return n.set
	}
	var tests []func(rune) bool
	for _, s := range n.subs {
		tests = append(tests, oneOf(s).has)
	}
	return newSet(union(tests))
}

func (c *compiler) repeat(n *node, next int) (int, error) {
	sub := n.subs[0]
	for sub.op == opConcat && len(sub.subs) == 1 {
		sub = sub.subs[0]
	}
	if sub.op == opSet && !n.lazy {
		return c.add(inst{kind: iLoop, set: sub.set, min: n.min, max: n.max, next: next}), nil
	}
	split := func(body, out int) inst {
		if n.lazy {
			return inst{kind: iSplit, next: out, other: body}
		}
		return inst{kind: iSplit, next: body, other: out}
	}
	at := next
	if n.max < 0 {
		// loop: split(body -> loop, next). A body that consumes nothing would come
		// back to a pair of step and position that was visited, which fails.
		loop := c.add(inst{kind: iSplit})
		body, err := c.compile(sub, loop)
		if err != nil {
			return 0, err
		}
		c.prog[loop] = split(body, next)
		at = loop
	} else {
		for range n.max - n.min {
			body, err := c.compile(sub, at)
			if err != nil {
				return 0, err
			}
			at = c.add(split(body, next))
		}
	}
	for range n.min {
		var err error
		if at, err = c.compile(sub, at); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// Find returns the first match in text that begins at byte from or later; of
// the matches that begin there, the one that backtracking finds first.
func (p *Pattern) Find(text string, from int) (start, end int, ok bool) {
	var m matcher
	for at := from; at <= len(text); {
		if end := m.run(p, text, at); end >= 0 {
			return at, end, true
		}
		if at == len(text) {
			break
		}
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return 0, 0, false
}

// matcher holds the stack and, once a search has been long, the visited pairs.
type matcher struct {
	stack []branch
	steps int
	// visited holds pairs of step and position that failed. A failure does not
	// depend on where the search began, so it stays true for later starts.
	visited map[uint64]struct{}
}

// branch is a way not yet tried: step pc at byte at. With lo >= 0 it is a
// greedy loop that has taken characters up to at and may give them back, one by
// one, down to lo.
type branch struct {
	pc, at, lo int
}

// freeSteps is the work after which visited pairs are remembered.
const freeSteps = 2000

// run returns the end of the match of p at byte at, or -1.
func (m *matcher) run(p *Pattern, text string, at int) int {
	base := len(m.stack)
	defer func() { m.stack = m.stack[:base] }()
	pc := len(p.prog) - 1
	for {
		if end, ok := m.follow(p, text, pc, at); ok {
			return end
		}
		// Go back to the latest branch.
		for {
			if len(m.stack) == base {
				return -1
			}
			b := &m.stack[len(m.stack)-1]
			pc, at = b.pc, b.at
			if b.lo < 0 {
				m.stack = m.stack[:len(m.stack)-1]
				break
			}
			_, n := utf8.DecodeLastRuneInString(text[:b.at])
			b.at -= n
			pc, at = p.prog[pc].next, b.at
			if b.at <= b.lo {
				m.stack = m.stack[:len(m.stack)-1]
			}
			break
		}
	}
}

// seen reports whether a pair of step and position was visited before, and
// remembers it. It does nothing while the search is short.
func (m *matcher) seen(p *Pattern, pc, at int) bool {
	if m.steps++; m.steps < freeSteps {
		return false
	}
	if m.visited == nil {
		m.visited = map[uint64]struct{}{}
	}
	key := uint64(at)<<24 | uint64(pc) // pc < 2*maxProgram
	if _, ok := m.visited[key]; ok {
		return true
	}
	m.visited[key] = struct{}{}
	return false
}

// follow runs from step pc until the match or a failure, pushing branches.
func (m *matcher) follow(p *Pattern, text string, pc, at int) (end int, ok bool) {
	for {
		in := &p.prog[pc]
		switch in.kind {
		case iMatch:
			return at, true
		case iSet:
			if at >= len(text) {
				return 0, false
			}
			r, n := rune(text[at]), 1
			if r >= utf8.RuneSelf {
				r, n = utf8.DecodeRuneInString(text[at:])
			}
			if !in.set.has(r) {
				return 0, false
			}
			at += n
		case iSplit:
			if m.seen(p, pc, at) {
				return 0, false
			}
			if in.other >= 0 {
				m.stack = append(m.stack, branch{pc: in.other, at: at, lo: -1})
			}
		case iLoop:
			if m.seen(p, pc, at) {
				return 0, false
			}
			if at, ok = m.loop(p, in, pc, text, at); !ok {
				return 0, false
			}
		case iAtomic:
			sub := matcher{stack: m.stack[len(m.stack):]}
			end := sub.run(in.sub, text, at)
			if end < 0 {
				return 0, false
			}
			at = end
		case iLook:
			sub := matcher{stack: m.stack[len(m.stack):]}
			if (sub.run(in.sub, text, at) >= 0) == in.negative {
				return 0, false
			}
		case iBehind:
			r, n := utf8.DecodeLastRuneInString(text[:at])
			if (n > 0 && in.set.has(r)) == in.negative {
				return 0, false
			}
		case iAssert:
			if !holds(in.assert, text, at) {
				return 0, false
			}
		}
		pc = in.next
	}
}

// loop takes as many characters as in allows and pushes the branch that gives
// them back. An unbounded loop stops where it was before with enough
// characters: all that follows from there has failed.
func (m *matcher) loop(p *Pattern, in *inst, pc int, text string, at int) (int, bool) {
	lo, last, count := at, at, 0
	for in.max < 0 || count < in.max {
		if in.max < 0 && count >= in.min && m.seen(p, pc+maxProgram, at) {
			if at == lo {
				return 0, false
			}
			at = last
			break
		}
		if at >= len(text) {
			break
		}
		r, n := rune(text[at]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[at:])
		}
		if !in.set.has(r) {
			break
		}
		last = at
		at += n
		if count++; count == in.min {
			lo = at
		}
	}
	if count < in.min {
		return 0, false
	}
	if at > lo {
		m.stack = append(m.stack, branch{pc: pc, at: at, lo: lo})
	}
	return at, true
}

func holds(o op, text string, at int) bool {
	switch o {
	case opTextStart:
		return at == 0
	case opTextEnd:
		return at == len(text)
	case opEndNewline:
		return at == len(text) || (at == len(text)-1 && text[at] == '\n')
	case opLineStart:
		return at == 0 || text[at-1] == '\n'
	case opLineEnd:
		return at == len(text) || text[at] == '\n'
	}
	before, n := utf8.DecodeLastRuneInString(text[:at])
	b := n > 0 && isWord(before)
	after, n := utf8.DecodeRuneInString(text[at:])
	a := n > 0 && isWord(after)
	return (a != b) == (o == opWordBoundary)
}
