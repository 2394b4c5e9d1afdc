package answer

import "strings"

// maxBox bounds how far a box may reach, in bytes: an answer is not a page.
const maxBox = 8192

// maxTries is how many broken boxes at the end of a text are passed over.
const maxTries = 64

// LastBoxed returns the content of the last \boxed{...} or \fbox{...} of text whose
// braces balance (escaped braces do not count), or of a last "\boxed x" without
// braces. Boxes inside it are unwrapped: \boxed{\boxed{7}} is 7.
func LastBoxed(text string) (content string, ok bool) {
	end := len(text)
	for range maxTries {
		at := -1
		for end > 0 {
			if at = strings.LastIndexByte(text[:end], '\\'); at < 0 {
				return "", false
			}
			if end = at; strings.HasPrefix(text[at:], `\boxed`) || strings.HasPrefix(text[at:], `\fbox`) {
				break
			}
			at = -1
		}
		if at < 0 {
			return "", false
		}
		if content, ok := boxAt(text, at); ok {
			return unbox(content), true
		}
	}
	return "", false
}

// boxAt returns the content of the box whose command begins at text[at].
func boxAt(text string, at int) (string, bool) {
	rest := text[at+1:]
	n := 0
	for n < len(rest) && isLetter(rest[n]) {
		n++
	}
	if name := rest[:n]; name != "boxed" && name != "fbox" {
		return "", false
	}
	rest = rest[n:]
	rest = rest[:min(len(rest), maxBox)]
	trimmed := strings.TrimLeft(rest, " \t\n")
	if !strings.HasPrefix(trimmed, "{") {
		if trimmed == rest || trimmed == "" {
			return "", false // "\boxed" with nothing, or glued to something that is no group
		}
		word := strings.FieldsFunc(trimmed, func(r rune) bool { return r == ' ' || r == '$' || r == '\n' || r == '\t' })
		if len(word) == 0 {
			return "", false
		}
		return strings.TrimRight(word[0], ".,;"), true
	}
	n, ok := Balanced(trimmed)
	if !ok {
		return "", false
	}
	return strings.TrimSpace(trimmed[1 : n-1]), true
}

// unbox takes boxes off that are all of the content.
func unbox(s string) string {
	for strings.HasPrefix(s, `\boxed`) || strings.HasPrefix(s, `\fbox`) {
		inner := s[strings.IndexByte(s, 'x'):]
		inner = strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(inner, "xed"), "x"), " ")
		n, ok := Balanced(inner)
		if !ok || n != len(inner) {
			return s
		}
		s = strings.TrimSpace(inner[1 : n-1])
	}
	return s
}

// Balanced returns the length of the group {...} that s begins with, braces
// included. It looks at most maxBox bytes far.
func Balanced(s string) (n int, ok bool) {
	if !strings.HasPrefix(s, "{") {
		return 0, false
	}
	depth := 0
	for i := 0; i < len(s) && i < maxBox; i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return 0, false
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
