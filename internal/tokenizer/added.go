package tokenizer

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// added is a token that is found in the text before the model sees it.
type added struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// addedSet finds added tokens: the leftmost, and there the longest.
type addedSet struct {
	byFirst [256][]*addedText // longest first
	empty   bool
}

type addedText struct {
	text string
	*added
}

func newAddedSet(tokens []*addedText) *addedSet {
	s := &addedSet{empty: len(tokens) == 0}
	for _, t := range tokens {
		if t.text != "" {
			s.byFirst[t.text[0]] = append(s.byFirst[t.text[0]], t)
		}
	}
	for i := range s.byFirst {
		list := s.byFirst[i]
		sort.SliceStable(list, func(a, b int) bool { return len(list[a].text) > len(list[b].text) })
	}
	return s
}

// segment is a stretch of text: an added token if id >= 0, else text for the
// model. first says that it begins the text.
type segment struct {
	text  string
	id    int32
	first bool
}

// cut finds the tokens in text. first says that text begins the whole.
func (s *addedSet) cut(dst []segment, text string, first bool) []segment {
	if s.empty || text == "" {
		return append(dst, segment{text, -1, first})
	}
	done := 0
	for at := 0; at < len(text); {
		t := s.at(text, at)
		if t == nil {
			at++
			continue
		}
		start, stop := at, at+len(t.text)
		at = stop
		if t.SingleWord && (wordEnds(text[:start]) || wordBegins(text[stop:])) {
			continue
		}
		if t.LStrip {
			start = max(done, len(strings.TrimRightFunc(text[:start], unicode.IsSpace)))
		}
		if t.RStrip {
			stop = len(text) - len(strings.TrimLeftFunc(text[stop:], unicode.IsSpace))
			at = max(at, stop)
		}
		if start > done {
			dst = append(dst, segment{text[done:start], -1, first && done == 0})
		}
		dst = append(dst, segment{text[start:stop], t.ID, first && start == 0})
		done = stop
	}
	if done < len(text) {
		dst = append(dst, segment{text[done:], -1, first && done == 0})
	}
	return dst
}

func (s *addedSet) at(text string, at int) *addedText {
	for _, t := range s.byFirst[text[at]] {
		if strings.HasPrefix(text[at:], t.text) {
			return t
		}
	}
	return nil
}

func wordEnds(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWordRune(r)
}

func wordBegins(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWordRune(r)
}

func isWordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.Is(unicode.Nd, r) || unicode.Is(unicode.Nl, r) || unicode.Is(unicode.Pc, r)
}
