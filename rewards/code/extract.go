package code

import "strings"

// Program finds the program in a completion's answer part: the last fenced block
// marked as one of languages, else the last block without a mark, else, if there is
// no fence at all, the whole text. A last block that is never closed counts: its
// completion was cut off, or stopped at the fence. It is linear in the text.
func Program(answer string, languages ...string) (program string, ok bool) {
	var marked, plain string
	var hasMarked, hasPlain, fenced bool
	rest := answer
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		mark, info, ok := openFence(line)
		if !ok {
			rest = after
			continue
		}
		fenced = true
		body, next := untilFence(after, mark)
		switch {
		case info == "":
			plain, hasPlain = body, true
		case isOneOf(info, languages):
			marked, hasMarked = body, true
		}
		rest = next
	}
	switch {
	case hasMarked:
		program = marked
	case hasPlain:
		program = plain
	case fenced:
		return "", false // blocks of other languages only
	default:
		program = answer
	}
	return program, strings.TrimSpace(program) != ""
}

// openFence reads a line that opens a block: at most three spaces, three or more of
// one mark, and the language.
func openFence(line string) (mark, info string, ok bool) {
	t := strings.TrimLeft(line, " ")
	if len(line)-len(t) > 3 || len(t) < 3 || t[0] != '`' && t[0] != '~' {
		return "", "", false
	}
	n := 0
	for n < len(t) && t[n] == t[0] {
		n++
	}
	if n < 3 {
		return "", "", false
	}
	info = strings.TrimSpace(t[n:])
	if t[0] == '`' && strings.Contains(info, "`") {
		return "", "", false // code in a line
	}
	if i := strings.IndexAny(info, " \t{"); i > 0 {
		info = info[:i]
	}
	return t[:n], strings.ToLower(info), true
}

// untilFence returns the lines before the one that closes a block, and what follows.
func untilFence(text, mark string) (body, rest string) {
	for at := 0; at < len(text); {
		line, _, _ := strings.Cut(text[at:], "\n")
		t := strings.TrimSpace(line)
		if len(t) >= len(mark) && strings.Trim(t, mark[:1]) == "" && strings.HasPrefix(strings.TrimLeft(line, " "), mark) {
			return text[:at], strings.TrimPrefix(text[at+len(line):], "\n")
		}
		at += len(line) + 1
	}
	return text, ""
}

func isOneOf(s string, list []string) bool {
	for _, x := range list {
		if s == x {
			return true
		}
	}
	return false
}
