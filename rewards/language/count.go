package language

import (
	"strings"
	"unicode"
)

// sentence is the words between two ends of sentences.
type sentence struct {
	latin    []string // in order
	counts   [otherScript + 1]int
	language string // of the Latin words; "" if they do not say
}

// Count returns how many words of text are in the target language, an ISO 639-1
// code, and how many words there are.
func Count(text, target string) (inTarget, total int) {
	sentences := split(Strip(text))
	if _, other := scripts[target]; !other {
		assign(sentences, target)
	}
	for _, s := range sentences {
		t, n := s.count(target)
		inTarget, total = inTarget+t, total+n
	}
	return inTarget, total
}

// count returns the sentence's words in the target language, and all.
func (s *sentence) count(target string) (inTarget, total int) {
	for _, n := range s.counts {
		total += n
	}
	sc, other := scripts[target]
	switch {
	case !other:
		if s.language == target {
			inTarget = len(s.latin)
		}
	case target == "ja":
		if inTarget = s.counts[kana]; inTarget > 0 {
			inTarget += s.counts[han]
		}
	case target == "zh":
		if s.counts[kana] == 0 {
			inTarget = s.counts[han]
		}
	default:
		inTarget = s.counts[sc]
	}
	return inTarget, total
}

// assign gives each sentence's Latin words a language. A sentence that does not say
// follows the one before it, the first ones the next that does; if none says, the
// benefit of the doubt is the target's.
func assign(sentences []sentence, target string) {
	last := ""
	for i := range sentences {
		s := &sentences[i]
		if len(s.latin) == 0 {
			continue
		}
		if s.language = identify(s.latin, target); s.language == "" {
			s.language = last
		}
		last = s.language
	}
	next := target
	for i := len(sentences) - 1; i >= 0; i-- {
		if s := &sentences[i]; len(s.latin) > 0 {
			if s.language == "" {
				s.language = next
			}
			next = s.language
		}
	}
}

// ends reports whether a rune ends a sentence.
func ends(r rune) bool { return strings.ContainsRune(".!?;:\n。！？；।؟…", r) }

// split cuts text into sentences and their words.
func split(text string) []sentence {
	var out []sentence
	var cur sentence
	var word strings.Builder
	wordScript := noScript
	flush := func() {
		if wordScript == noScript {
			return
		}
		cur.counts[wordScript]++
		if wordScript == latin {
			cur.latin = append(cur.latin, word.String())
		}
		word.Reset()
		wordScript = noScript
	}
	used := false
	for i, r := range text {
		switch sc := scriptOf(r); {
		case sc == han || sc == kana:
			flush()
			cur.counts[sc]++
			used = true
		case sc != noScript:
			if wordScript != noScript && wordScript != sc {
				flush()
			}
			wordScript, used = sc, true
			word.WriteRune(r)
		case unicode.Is(unicode.M, r):
			word.WriteRune(r) // belongs to the letter before it
		case (r == '\'' || r == '’') && wordScript == latin && i+1 < len(text) && isLetterAt(text[i:]):
			word.WriteRune('\'')
		default:
			flush()
			if ends(r) && used {
				out = append(out, cur)
				cur, used = sentence{}, false
			}
		}
	}
	flush()
	if used {
		out = append(out, cur)
	}
	return out
}

// isLetterAt reports whether the second rune of s is a letter.
func isLetterAt(s string) bool {
	for i, r := range s {
		if i > 0 {
			return unicode.IsLetter(r)
		}
	}
	return false
}
