package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSource bounds a template, in bytes.
const maxSource = 1 << 20

// failure carries an error of the template through panics.
type failure struct{ err error }

func failf(line int, format string, args ...any) {
	panic(failure{fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...))})
}

// rescue turns a failure into err.
func rescue(err *error) {
	switch r := recover().(type) {
	case nil:
	case failure:
		*err = r.err
	default:
		panic(r)
	}
}

type tokenKind uint8

const (
	tokData       tokenKind = iota // text of the template
	tokVarBegin                    // {{
	tokVarEnd                      // }}
	tokBlockBegin                  // {%
	tokBlockEnd                    // %}
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
	tokEOF
)

type token struct {
	kind tokenKind
	text string
	line int
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end"
	case tokVarEnd:
		return "}}"
	case tokBlockEnd:
		return "%}"
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer cuts a template into tokens and applies the rules for white space.
type lexer struct {
	src    string
	at     int
	line   int
	tokens []token
}

func lex(src string) []token {
	if len(src) > maxSource {
		failf(1, "a template of %d bytes, at most %d", len(src), maxSource)
	}
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	src = strings.TrimSuffix(src, "\n")
	l := &lexer{src: src, line: 1}
	for l.at < len(l.src) {
		l.text()
	}
	l.add(tokEOF, "")
	return l.tokens
}

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

func (l *lexer) advance(n int) {
	l.line += strings.Count(l.src[l.at:l.at+n], "\n")
	l.at += n
}

// nextTag returns the offset of the next {{, {% or {#, or -1.
func (l *lexer) nextTag() int {
	for from := l.at; ; {
		i := strings.IndexByte(l.src[from:], '{')
		if i < 0 || from+i+1 >= len(l.src) {
			return -1
		}
		if i += from; strings.IndexByte("{%#", l.src[i+1]) >= 0 {
			return i
		}
		from = i + 1
	}
}

// text reads template text up to the next tag, and the tag.
func (l *lexer) text() {
	tag := l.nextTag()
	if tag < 0 {
		l.add(tokData, l.src[l.at:])
		l.advance(len(l.src) - l.at)
		return
	}
	data := l.src[l.at:tag]
	kind := l.src[tag+1]
	sign := byte(0)
	if tag+2 < len(l.src) {
		sign = l.src[tag+2]
	}
	switch {
	case sign == '-':
		data = strings.TrimRightFunc(data, unicode.IsSpace)
	case sign != '+' && kind != '{': // lstrip_blocks
		line := strings.TrimRight(data, " \t")
		if strings.HasSuffix(line, "\n") || line == "" && (l.at == 0 || l.src[l.at-1] == '\n') {
			data = line
		}
	}
	if data != "" {
		l.add(tokData, data)
	}
	l.advance(tag - l.at + 2)
	if sign == '-' || sign == '+' && kind != '{' {
		l.advance(1)
	}
	switch kind {
	case '#':
		l.comment()
	case '{':
		l.add(tokVarBegin, "{{")
		l.inside("}}", tokVarEnd)
	default:
		if l.raw() {
			return
		}
		l.add(tokBlockBegin, "{%")
		l.inside("%}", tokBlockEnd)
	}
}

// after drops what the end of a tag takes with it: all white space after a
// minus, one line feed after a block or comment (trim_blocks).
func (l *lexer) after(sign byte, block bool) {
	switch {
	case sign == '-':
		rest := strings.TrimLeftFunc(l.src[l.at:], unicode.IsSpace)
		l.advance(len(l.src) - len(rest) - l.at)
	case sign != '+' && block && strings.HasPrefix(l.src[l.at:], "\n"):
		l.advance(1)
	}
}

func (l *lexer) comment() {
	end := strings.Index(l.src[l.at:], "#}")
	if end < 0 {
		failf(l.line, "a comment is not closed")
	}
	sign := byte(0)
	if end > 0 {
		sign = l.src[l.at+end-1]
	}
	l.advance(end + 2)
	l.after(sign, true)
}

// raw reads {% raw %}...{% endraw %}; false if this is another block.
func (l *lexer) raw() bool {
	rest := strings.TrimLeftFunc(l.src[l.at:], unicode.IsSpace)
	if !strings.HasPrefix(rest, "raw") {
		return false
	}
	rest = strings.TrimLeftFunc(rest[3:], unicode.IsSpace)
	sign := byte(0)
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		sign, rest = rest[0], rest[1:]
	}
	if !strings.HasPrefix(rest, "%}") {
		return false
	}
	l.advance(len(l.src) - len(rest) + 2 - l.at)
	l.after(sign, true)
	begin := l.at
	for from := l.at; ; {
		i := strings.Index(l.src[from:], "{%")
		if i < 0 {
			failf(l.line, "{%% raw %%} is not closed")
		}
		i += from
		body := l.src[begin:i]
		tail := l.src[i+2:]
		sign := byte(0)
		if tail != "" && (tail[0] == '-' || tail[0] == '+') {
			sign, tail = tail[0], tail[1:]
		}
		tail, ok := strings.CutPrefix(strings.TrimLeftFunc(tail, unicode.IsSpace), "endraw")
		tail = strings.TrimLeftFunc(tail, unicode.IsSpace)
		endSign := byte(0)
		if tail != "" && (tail[0] == '-' || tail[0] == '+') {
			endSign, tail = tail[0], tail[1:]
		}
		if !ok || !strings.HasPrefix(tail, "%}") {
			from = i + 2
			continue
		}
		switch line := strings.TrimRight(body, " \t"); {
		case sign == '-':
			body = strings.TrimRightFunc(body, unicode.IsSpace)
		case sign != '+' && strings.HasSuffix(line, "\n"):
			body = line
		}
		if body != "" {
			l.add(tokData, body)
		}
		l.advance(len(l.src) - len(tail) + 2 - l.at)
		l.after(endSign, true)
		return true
	}
}

// operators, longest first.
var operators = []string{"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ",", ":", "|", "(", ")", "[", "]", "{", "}", ";"}

// inside reads the tokens of a tag up to its end.
func (l *lexer) inside(end string, kind tokenKind) {
	depth := 0
	begin := l.line
	for {
		for l.at < len(l.src) && isSpaceByte(l.src[l.at]) {
			l.advance(1)
		}
		if l.at >= len(l.src) {
			failf(begin, "a tag is not closed with %s", end)
		}
		rest := l.src[l.at:]
		if depth == 0 {
			sign := byte(0)
			tail := rest
			if rest[0] == '-' || rest[0] == '+' && kind == tokBlockEnd {
				sign, tail = rest[0], rest[1:]
			}
			if strings.HasPrefix(tail, end) {
				l.add(kind, end)
				l.advance(len(rest) - len(tail) + 2)
				l.after(sign, kind == tokBlockEnd)
				return
			}
		}
		switch c := rest[0]; {
		case c == '"' || c == '\'':
			l.str(c)
		case c >= '0' && c <= '9':
			l.number(rest)
		default:
			r, n := utf8.DecodeRuneInString(rest)
			if r == '_' || unicode.IsLetter(r) {
				for n < len(rest) {
					r, k := utf8.DecodeRuneInString(rest[n:])
					if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
						break
					}
					n += k
				}
				l.add(tokName, rest[:n])
				l.advance(n)
				continue
			}
			op := ""
			for _, o := range operators {
				if strings.HasPrefix(rest, o) {
					op = o
					break
				}
			}
			switch op {
			case "":
				failf(l.line, "unexpected character %q", r)
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth--
			}
			l.add(tokOp, op)
			l.advance(len(op))
		}
	}
}

func isSpaceByte(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func (l *lexer) number(rest string) {
	n, kind := 0, tokInt
	digits := func() {
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '_') {
			n++
		}
	}
	digits()
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
		kind = tokFloat
		n++
		digits()
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		kind = tokFloat
		n++
		if n < len(rest) && (rest[n] == '+' || rest[n] == '-') {
			n++
		}
		digits()
	}
	l.add(kind, strings.ReplaceAll(rest[:n], "_", ""))
	l.advance(n)
}

// str reads a quoted string with Python's escapes.
func (l *lexer) str(quote byte) {
	var b strings.Builder
	begin := l.line
	i := l.at + 1
	for ; ; i++ {
		if i >= len(l.src) {
			failf(begin, "a string is not closed")
		}
		c := l.src[i]
		if c == quote {
			break
		}
		if c != '\\' || i+1 >= len(l.src) {
			b.WriteByte(c)
			continue
		}
		i++
		i += l.escape(&b, l.src[i:]) - 1
	}
	l.add(tokString, b.String())
	l.advance(i + 1 - l.at)
}

// escape writes what the escape at the start of s stands for and returns how
// many bytes of s it takes.
func (l *lexer) escape(b *strings.Builder, s string) int {
	simple := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': "\"", 'b': "\b", 'f': "\f", 'v': "\v", 'a': "\a", '0': "\x00", '\n': ""}
	if text, ok := simple[s[0]]; ok {
		b.WriteString(text)
		return 1
	}
	if n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]; n > 0 && len(s) > n {
		var r rune
		if _, err := fmt.Sscanf(s[1:1+n], "%x", &r); err == nil && utf8.ValidRune(r) {
			b.WriteRune(r)
			return 1 + n
		}
		failf(l.line, "escape \\%s is not a character", s[:1+n])
	}
	_, n := utf8.DecodeRuneInString(s)
	b.WriteByte('\\')
	b.WriteString(s[:n])
	return n
}
