package pattern

import (
	"fmt"
	"unicode"
)

// set is a set of characters.
type set struct {
	ascii [2]uint64       // characters under 128, all of them decided here
	test  func(rune) bool // the others
}

func newSet(test func(rune) bool) *set {
	s := &set{test: test}
	for r := rune(0); r < 128; r++ {
		if test(r) {
			s.ascii[r>>6] |= 1 << (r & 63)
		}
	}
	return s
}

func (s *set) has(r rune) bool {
	if r < 128 {
		return s.ascii[r>>6]>>(r&63)&1 == 1
	}
	return s.test(r)
}

func isSpace(r rune) bool { return unicode.Is(unicode.White_Space, r) }

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.Is(unicode.Nd, r) || unicode.Is(unicode.Nl, r) || unicode.Is(unicode.Pc, r) ||
		unicode.Is(unicode.Other_Alphabetic, r)
}

func not(test func(rune) bool) func(rune) bool { return func(r rune) bool { return !test(r) } }

func union(tests []func(rune) bool) func(rune) bool {
	if len(tests) == 1 {
		return tests[0]
	}
	return func(r rune) bool {
		for _, t := range tests {
			if t(r) {
				return true
			}
		}
		return false
	}
}

func between(lo, hi rune) func(rune) bool {
	return func(r rune) bool { return lo <= r && r <= hi }
}

// folded widens a test to all simple case variants of a character.
func folded(test func(rune) bool) func(rune) bool {
	return func(r rune) bool {
		if test(r) {
			return true
		}
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if test(f) {
				return true
			}
		}
		return false
	}
}

// property returns the test of \p{name}.
func property(name string) (func(rune) bool, error) {
	switch name {
	case "Any":
		return func(rune) bool { return true }, nil
	case "L&", "LC":
		return func(r rune) bool { return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt) }, nil
	case "Alphabetic", "Alpha":
		return func(r rune) bool { return unicode.IsLetter(r) || unicode.In(r, unicode.Nl, unicode.Other_Alphabetic) }, nil
	case "Letter":
		name = "L"
	case "Number":
		name = "N"
	case "Punctuation":
		name = "P"
	case "Symbol":
		name = "S"
	case "Mark":
		name = "M"
	case "Space", "White_Space":
		return isSpace, nil
	}
	for _, tables := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts, unicode.Properties} {
		if t := tables[name]; t != nil {
			return func(r rune) bool { return unicode.Is(t, r) }, nil
		}
	}
	return nil, fmt.Errorf("unknown property \\p{%s}", name)
}
