package answer

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Source says where an answer was found, the surest first.
type Source string

const (
	FromBox    Source = "boxed"     // the last \boxed{}
	FromTag    Source = "tag"       // the last <answer>...</answer>
	FromHashes Source = "hashes"    // what follows the last "####"
	FromPhrase Source = "phrase"    // what follows the last "the answer is"
	FromLast   Source = "last"      // the last formula or number of the text
	maxPhrase         = 400         // bytes of a phrase's line that are looked at
	maxSearch         = 1 << 16     // bytes at the end of a text that are searched for a phrase
	maxLast           = 4096        // bytes at the end of a text that are looked at for the last expression
	answerOpen        = "<answer>"  //
	answerEnd         = "</answer>" //
)

// Found is an answer as it was written.
type Found struct {
	Text   string
	Source Source
}

// Find returns the final answer of a completion whose thinking and answer parts
// are given. The thinking part is looked at only if the answer part is blank, and
// then only for a box or a tag: unfinished reasoning is full of numbers.
func Find(thinking, answer string) (Found, bool) {
	if strings.TrimSpace(answer) != "" {
		return In(answer)
	}
	return marked(thinking)
}

// In returns the final answer of a text: of a box, a tag, "####", a phrase, the
// last expression, the first that there is. "I do not know" is no answer.
func In(text string) (Found, bool) {
	if f, ok := marked(text); ok {
		return f, !unknown.MatchString(f.Text)
	}
	if hasMark(text) {
		return Found{}, false // a mark with nothing in it is an answer withheld, not a reason to guess
	}
	if at := strings.LastIndex(text, "####"); at >= 0 {
		line, _, _ := strings.Cut(strings.TrimLeft(text[at+4:], " \t"), "\n")
		if f, ok := found(line, FromHashes); ok {
			return f, true
		}
	}
	if unknown.MatchString(Tail(text, maxLast)) {
		return Found{}, false
	}
	if f, ok := phrase(text); ok {
		return f, true
	}
	return last(Tail(text, maxLast))
}

// unknown matches a refusal to answer.
var unknown = regexp.MustCompile(`(?i)\bI\s+(do\s*n[o'’]?t|do\s+not|cannot|can\s*not|can['’]t)\s+(know|determine|answer|solve)\b|\bI['’]m\s+not\s+sure\b|^\s*unknown\s*$`)

func marked(text string) (Found, bool) {
	if box, ok := LastBoxed(text); ok && strings.TrimSpace(box) != "" {
		return found(box, FromBox)
	}
	if at := strings.LastIndex(text, answerOpen); at >= 0 {
		body, _, _ := strings.Cut(text[at+len(answerOpen):], answerEnd)
		return found(body, FromTag)
	}
	return Found{}, false
}

func hasMark(text string) bool {
	return strings.Contains(text, answerOpen) || strings.Contains(text, `\boxed{}`)
}

func found(text string, source Source) (Found, bool) {
	text = strings.TrimSpace(text)
	return Found{Text: text, Source: source}, text != ""
}

// phrases introduce an answer.
var phrases = regexp.MustCompile(`(?i)\banswer\s*(?:\*\*)?\s*(?:is|are|:|=|would be|must be)\s*:?\s*(?:\*\*)?|答案\s*(?:是|为|：|:)\s*`)

// phrase returns what follows the last phrase, to the end of its sentence.
func phrase(text string) (Found, bool) {
	text = Tail(text, maxSearch)
	all := phrases.FindAllStringIndex(text, -1)
	if len(all) == 0 {
		return Found{}, false
	}
	rest := text[all[len(all)-1][1]:]
	rest = strings.TrimLeft(rest, " \t\r\n")
	if len(rest) > maxPhrase {
		rest = rest[:maxPhrase]
	}
	rest, _, _ = strings.Cut(rest, "\n")
	return found(trimSentence(rest), FromPhrase)
}

// trimSentence cuts text after its first sentence, outside of formulas, and takes
// emphasis and final punctuation off.
func trimSentence(s string) string {
	dollars := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '$':
			dollars++
		case dollars%2 == 0 && (s[i] == '.' || s[i] == ';' || s[i] == '!' || s[i] == '?') && (i+1 == len(s) || s[i+1] == ' ' || s[i+1] == '\r'):
			s = s[:i]
		case strings.HasPrefix(s[i:], "。"):
			s = s[:i]
		}
	}
	s = strings.TrimSpace(s)
	for _, mark := range []string{"**", "__", "`"} {
		s = strings.TrimSuffix(strings.TrimPrefix(s, mark), mark)
	}
	return strings.TrimRight(strings.TrimSpace(s), ".,;:")
}

// lastNumber matches a number as people write it, with a sign, a currency mark, a
// fraction, a percent sign.
var lastNumber = regexp.MustCompile(`[-+−]?\s?[$€£¥]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s?/\s?\d+)?\s?%?`)

// last returns the last formula between dollars or \( \) or \[ \], or the last
// number, whichever ends later.
func last(text string) (Found, bool) {
	best, at := "", -1
	for _, d := range [][2]string{{"$$", "$$"}, {"$", "$"}, {`\(`, `\)`}, {`\[`, `\]`}} {
		end := strings.LastIndex(text, d[1])
		if end <= 0 {
			continue
		}
		begin := strings.LastIndex(text[:end], d[0])
		if begin < 0 || end <= at {
			continue
		}
		if d[0] == "$" && strings.Count(text, "$")%2 == 1 {
			continue // a currency sign, not a formula
		}
		if body := strings.TrimSpace(text[begin+len(d[0]) : end]); body != "" && begin+len(d[0]) <= end {
			best, at = body, end
		}
	}
	if all := lastNumber.FindAllStringIndex(text, -1); len(all) > 0 {
		n := all[len(all)-1]
		if n[1] > at {
			start := n[0]
			if c := text[start]; (c == '-' || c == '+') && start > 0 && (isWord(text[:start]) || text[start-1] == ')') {
				start++ // "5-3": a difference, not the number -3
			}
			best = strings.TrimSpace(text[start:n[1]])
		}
	}
	return found(best, FromLast)
}

// isWord reports whether text ends in a letter or digit.
func isWord(text string) bool {
	r, _ := utf8.DecodeLastRuneInString(text)
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// Tail returns the last n bytes of text, from a character's beginning: where an
// answer is, and all that a slow pattern should look at.
func Tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	text = text[len(text)-n:]
	for len(text) > 0 && !utf8.RuneStart(text[0]) {
		text = text[1:]
	}
	return text
}
