package pattern_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/grouse-rl/grouse/internal/tokenizer/pattern"
)

func all(t *testing.T, p *pattern.Pattern, text string) []string {
	t.Helper()
	var out []string
	for at := 0; at <= len(text); {
		s, e, ok := p.Find(text, at)
		if !ok {
			break
		}
		out = append(out, text[s:e])
		if at = e; s == e {
			at++
		}
	}
	return out
}

func TestFind(t *testing.T) {
	for _, c := range []struct{ pattern, text, want string }{
		{`\s+(?!\S)|\s+`, "a   b  ", "  | |  "},
		{`(?i:'s|'ll)`, "He'S we'LL 'ſ", "'S|'LL|'ſ"},
		{`[^\r\n\p{L}\p{N}]?+\p{L}+`, " ab-cd", " ab|-cd"},
		{`a?+a`, "aa a", "aa"},
		{`(?>a|ab)c`, "abc ac", "ac"},
		{`\p{N}{1,3}`, "1234567", "123|456|7"},
		{`a{,2}b`, "aaab", "aab"},
		{`x{2}|{y}`, "xx{y}", "xx|{y}"},
		{`a+?b`, "aab", "aab"},
		{`a+?`, "aa", "a|a"},
		{`a{1,3}?b?`, "aaab", "a|a|ab"},
		{`(?<=a)b|(?<!a)c`, "ab ac bc", "b|c"},
		{`[a\-\]b-d]+`, "a-]cz", "a-]c"},
		{`[^a[bc]]+`, "xbya", "x|y"},
		{`\bword\b`, "word sword words word", "word|word"},
		{`^\w+$`, "one\ntwo 2\nthree", "one|three"},
		{`\Aone|two\z`, "one two", "one|two"},
		{`(a*)*b`, "aab b", "aab|b"},
		{`(?i)ABC(?-i)d`, "abcd aBcD", "abcd"},
		{`\x41\u0042\x{1F600}`, "AB😀", "AB😀"},
		{`[\x{4e00}-龥]+`, "a漢字b", "漢字"},
		{`(?m:a.b)|c.d`, "a\nb c\nd", "a\nb"},
		{`\P{L}+|\p{^L}`, "ab12", "12"},
		{`\p{Han}+|\p{Lu}`, "漢A", "漢|A"},
		{``, "ab", "||"},
	} {
		p, err := pattern.Compile(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := strings.Join(all(t, p, c.text), "|"); got != c.want {
			t.Errorf("%s in %q: got %q, want %q", c.pattern, c.text, got, c.want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for bad, want := range map[string]string{
		`(a`: "closing parenthesis", `a)`: "unmatched", `[a`: "not closed", `*a`: "nothing to repeat", `\p{Nope}`: "unknown property",
		`(?<=ab)c`: "look-behind", `(?<n>a)`: "", `\1`: "not supported", `a{5,2}`: "repeat", `[z-a]`: "empty", `[[:alpha:]]`: "not supported",
		`a{1001}`: "repeat", `((a{1000}){1000}){1000}`: "steps", `\x{110000}`: "code point", strings.Repeat("(", 200): "deep",
	} {
		if _, err := pattern.Compile(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %q", bad, err, want)
		}
	}
}

func TestHostileTextIsNotExponential(t *testing.T) {
	for _, src := range []string{`(a*)*b`, `(a|a)*b`, `(a|aa)+b`, `a*a*a*a*b`, `(a+)+$`, `a+b`, `(?:a?){20}a{20}b`} {
		p, err := pattern.Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, _, ok := p.Find(strings.Repeat("a", 20_000)+"c", 0); ok {
			t.Errorf("%s matched", src)
		}
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("%s took %v", src, d)
		}
	}
}

// FuzzAgainstRegexp compares with package regexp, which has the same
// leftmost-first meaning, on patterns that mean the same in both syntaxes.
func FuzzAgainstRegexp(f *testing.F) {
	f.Add("a+|[b-d]{1,3}?(?:e|f)*", "aabbcdeeff")
	f.Add(`(?:a*)*b|\p{L}x`, "aaab éx")
	f.Fuzz(func(t *testing.T, src, text string) {
		if strings.ContainsAny(src, `^$.\[{&<P`) && src != `(?:a*)*b|\p{L}x` || strings.Contains(src, "(?") || strings.Contains(src, "+") || !utf8.ValidString(text) {
			return
		}
		if strings.Contains(src, "**") || strings.Contains(src, "*?*") || strings.Contains(src, "??") || len(src) > 60 {
			return
		}
		want, err1 := regexp.Compile(src)
		got, err2 := pattern.Compile(src)
		if err1 != nil || err2 != nil {
			return
		}
		loc := want.FindStringIndex(text)
		s, e, ok := got.Find(text, 0)
		if ok != (loc != nil) || ok && (loc[0] != s || loc[1] != e) {
			t.Fatalf("%q in %q: got %d %d %v, want %v", src, text, s, e, ok, loc)
		}
	})
}

func FuzzCompile(f *testing.F) {
	f.Add(`(?i:[^a-z\p{L}]?+x{2,3})|\s+(?!\S)`, "some Text  ")
	f.Fuzz(func(t *testing.T, src, text string) {
		if len(text) > 1000 {
			return
		}
		p, err := pattern.Compile(src)
		if err != nil {
			return
		}
		if s, e, ok := p.Find(text, 0); ok && (s < 0 || e < s || e > len(text)) {
			t.Fatalf("match [%d, %d] of %d bytes", s, e, len(text))
		}
	})
}
