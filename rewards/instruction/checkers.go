package instruction

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/grouse-rl/grouse/rewards/language"
)

// arguments are an instruction's, with the first error met in reading them.
type arguments struct {
	m   map[string]any
	err error
}

func (a *arguments) fail(name, want string) {
	if a.err == nil {
		a.err = fmt.Errorf("argument %q is %v, want %s", name, a.m[name], want)
	}
}

func (a *arguments) number(name string) int {
	v, ok := a.m[name].(float64)
	if !ok || v != float64(int(v)) || v < 0 || v > 1e6 {
		a.fail(name, "a number")
	}
	return int(v)
}

func (a *arguments) text(name string) string {
	v, ok := a.m[name].(string)
	if !ok || strings.TrimSpace(v) == "" {
		a.fail(name, "a text")
	}
	return v
}

func (a *arguments) list(name string) []string {
	v, ok := a.m[name].([]any)
	var out []string
	for _, x := range v {
		s, isText := x.(string)
		ok = ok && isText
		out = append(out, s)
	}
	if !ok || len(out) == 0 {
		a.fail(name, "a list of words")
	}
	return out
}

// relation returns a comparison with n: "at least" or "less than".
func (a *arguments) relation(name, number string) func(count int) bool {
	n := a.number(number)
	switch a.m[name] {
	case "at least":
		return func(count int) bool { return count >= n }
	case "less than":
		return func(count int) bool { return count < n }
	}
	a.fail(name, `"at least" or "less than"`)
	return nil
}

// checkers make the check of an instruction from its arguments.
var checkers = map[string]func(a *arguments) func(text string) bool{
	"keywords:existence": func(a *arguments) func(string) bool {
		words := a.list("keywords")
		return func(t string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return occurrences(t, w) == 0 })
		}
	},
	"keywords:frequency": func(a *arguments) func(string) bool {
		word, ok := a.text("keyword"), a.relation("relation", "frequency")
		return func(t string) bool { return ok(occurrences(t, strings.TrimSpace(word))) }
	},
	"keywords:forbidden_words": func(a *arguments) func(string) bool {
		words := a.list("forbidden_words")
		return func(t string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return hasWord(t, w) })
		}
	},
	"keywords:letter_frequency": func(a *arguments) func(string) bool {
		letter, ok := a.text("letter"), a.relation("let_relation", "let_frequency")
		return func(t string) bool { return ok(strings.Count(strings.ToLower(t), strings.ToLower(letter))) }
	},
	"language:response_language": func(a *arguments) func(string) bool {
		lang := a.text("language")
		if a.err == nil && !language.Known(lang) {
			a.fail("language", "one of "+strings.Join(language.Languages(), ", "))
		}
		return func(t string) bool { return isIn(t, lang) }
	},
	"length_constraints:number_sentences": func(a *arguments) func(string) bool {
		ok := a.relation("relation", "num_sentences")
		return func(t string) bool { return ok(sentences(t)) }
	},
	"length_constraints:number_paragraphs": func(a *arguments) func(string) bool {
		n := a.number("num_paragraphs")
		return func(t string) bool { return starParagraphs(t) == n }
	},
	"length_constraints:number_words": func(a *arguments) func(string) bool {
		ok := a.relation("relation", "num_words")
		return func(t string) bool { return ok(len(wordRuns.FindAllStringIndex(t, -1))) }
	},
	"length_constraints:nth_paragraph_first_word": func(a *arguments) func(string) bool {
		n, nth, first := a.number("num_paragraphs"), a.number("nth_paragraph"), a.text("first_word")
		if a.err == nil && nth < 1 {
			a.fail("nth_paragraph", "a number of at least 1")
		}
		return func(t string) bool { return nthParagraph(t, n, nth, strings.ToLower(first)) }
	},
	"detectable_content:number_placeholders": func(a *arguments) func(string) bool {
		n := a.number("num_placeholders")
		return func(t string) bool { return len(placeholders.FindAllStringIndex(t, -1)) >= n }
	},
	"detectable_content:postscript": func(a *arguments) func(string) bool {
		re := postscript(strings.ToLower(a.text("postscript_marker")))
		return func(t string) bool { return re.MatchString(strings.ToLower(t)) }
	},
	"detectable_format:number_bullet_lists": func(a *arguments) func(string) bool {
		n := a.number("num_bullets")
		return func(t string) bool {
			return len(starBullets.FindAllStringIndex(t, -1))+len(dashBullets.FindAllStringIndex(t, -1)) == n
		}
	},
	"detectable_format:constrained_response": func(*arguments) func(string) bool {
		return func(t string) bool {
			return slices.ContainsFunc([]string{"My answer is yes.", "My answer is no.", "My answer is maybe."}, func(s string) bool { return strings.Contains(t, s) })
		}
	},
	"detectable_format:number_highlighted_sections": func(a *arguments) func(string) bool {
		n := a.number("num_highlights")
		return func(t string) bool { return highlights(t) >= n }
	},
	"detectable_format:multiple_sections": func(a *arguments) func(string) bool {
		n, splitter := a.number("num_sections"), a.text("section_spliter")
		re := regexp.MustCompile(`\s?` + regexp.QuoteMeta(strings.TrimSpace(splitter)) + `\s?\d+\s?`)
		return func(t string) bool { return len(re.FindAllStringIndex(t, -1)) >= n }
	},
	"detectable_format:json_format": func(*arguments) func(string) bool { return isJSON },
	"detectable_format:title": func(*arguments) func(string) bool {
		return func(t string) bool {
			return slices.ContainsFunc(titles.FindAllString(t, -1), func(s string) bool { return strings.TrimSpace(strings.Trim(s, "<>")) != "" })
		}
	},
	"combination:two_responses": func(*arguments) func(string) bool { return twoResponses },
	"combination:repeat_prompt": func(a *arguments) func(string) bool {
		prompt := strings.ToLower(strings.TrimSpace(a.text("prompt_to_repeat")))
		return func(t string) bool { return strings.HasPrefix(strings.ToLower(strings.TrimSpace(t)), prompt) }
	},
	"startend:end_checker": func(a *arguments) func(string) bool {
		end := strings.ToLower(strings.TrimSpace(a.text("end_phrase")))
		return func(t string) bool {
			return strings.HasSuffix(strings.ToLower(strings.Trim(strings.TrimSpace(t), `"`)), end)
		}
	},
	"startend:quotation": func(*arguments) func(string) bool {
		return func(t string) bool {
			t = strings.TrimSpace(t)
			return len(t) > 1 && t[0] == '"' && t[len(t)-1] == '"'
		}
	},
	"change_case:capital_word_frequency": func(a *arguments) func(string) bool {
		ok := a.relation("capital_relation", "capital_frequency")
		return func(t string) bool { return ok(capitalWords(t)) }
	},
	"change_case:english_capital": func(*arguments) func(string) bool {
		return func(t string) bool { return oneCase(t, unicode.IsUpper) && isIn(t, "en") }
	},
	"change_case:english_lowercase": func(*arguments) func(string) bool {
		return func(t string) bool { return oneCase(t, unicode.IsLower) && isIn(t, "en") }
	},
	"punctuation:no_comma": func(*arguments) func(string) bool {
		return func(t string) bool { return !strings.Contains(t, ",") }
	},
}

// New returns the check of an instruction. Arguments that are null do not count.
func New(id string, args map[string]any) (func(text string) bool, error) {
	make, ok := checkers[id]
	if !ok {
		return nil, fmt.Errorf("unknown instruction %q; known are %s", id, strings.Join(IDs(), ", "))
	}
	a := &arguments{m: args}
	check := make(a)
	if a.err != nil {
		return nil, fmt.Errorf("%s: %w", id, a.err)
	}
	return check, nil
}

// IDs lists the instructions that are known.
func IDs() []string {
	var out []string
	for id := range checkers {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

var (
	wordRuns     = regexp.MustCompile(`[\p{L}\p{N}\p{M}_]+`)
	tokens       = regexp.MustCompile(`[\p{L}\p{N}\p{M}_]+(?:[-'’][\p{L}\p{N}\p{M}_]+)*`)
	placeholders = regexp.MustCompile(`\[.*?\]`)
	starBullets  = regexp.MustCompile(`(?m)^\s*\*[^*].*$`)
	dashBullets  = regexp.MustCompile(`(?m)^\s*-.*$`)
	single       = regexp.MustCompile(`\*[^\n*]*\*`)
	double       = regexp.MustCompile(`\*\*[^\n*]*\*\*`)
	titles       = regexp.MustCompile(`<<[^\n]+>>`)
	threeStars   = regexp.MustCompile(`\s?\*\*\*\s?`)
	sentenceEnd  = regexp.MustCompile(`[.!?。！？]+["'”’)\]]*(?:\s+|$)|\n\s*\n`)
	abbreviation = regexp.MustCompile(`(?i)(?:^|\s|\()(?:dr|mr|mrs|ms|prof|st|vs|etc|e\.g|i\.e|no|fig|jr|sr|inc|u\.s|[a-z])\.\s*$`)
)

// occurrences counts a text in another, without case.
func occurrences(text, word string) int {
	return strings.Count(strings.ToLower(text), strings.ToLower(word))
}

// hasWord reports whether a word stands on its own in a text, without case.
func hasWord(text, word string) bool {
	text, word = strings.ToLower(text), strings.ToLower(strings.TrimSpace(word))
	if word == "" {
		return false
	}
	part := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }
	for at := 0; ; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		before, _ := utf8.DecodeLastRuneInString(text[:at+i])
		after, _ := utf8.DecodeRuneInString(text[at+i+len(word):])
		if !part(before) && !part(after) {
			return true
		}
		at += i + len(word)
	}
}

// sentences counts sentences.
func sentences(text string) int {
	n, begin := 0, 0
	for _, m := range sentenceEnd.FindAllStringIndex(text, -1) {
		if tail := text[max(begin, m[0]-12) : m[0]+1]; text[m[0]] == '.' && m[1] < len(text) && abbreviation.MatchString(tail) && !strings.Contains(text[m[0]:m[1]], "\n") {
			continue
		}
		if wordRuns.MatchString(text[begin:m[0]]) {
			n++
		}
		begin = m[1]
	}
	if wordRuns.MatchString(text[begin:]) {
		n++
	}
	return n
}

// starParagraphs counts paragraphs between lines of three stars; -1 if one of the
// inner ones is empty.
func starParagraphs(text string) int {
	parts := threeStars.Split(text, -1)
	n := len(parts)
	for i, p := range parts {
		if strings.TrimSpace(p) == "" {
			if i != 0 && i != len(parts)-1 {
				return -1
			}
			n--
		}
	}
	return n
}

func nthParagraph(text string, want, nth int, first string) bool {
	parts := strings.Split(text, "\n\n")
	n := 0
	for _, p := range parts {
		if strings.TrimSpace(p) != "" {
			n++
		}
	}
	if n != want || nth > n {
		return false
	}
	words := strings.Fields(parts[nth-1])
	if len(words) == 0 {
		return false
	}
	word := strings.TrimLeft(strings.TrimLeft(words[0], "'"), `"`)
	if i := strings.IndexAny(word, `.,?!'"`); i >= 0 {
		word = word[:i]
	}
	return strings.ToLower(word) == first
}

func postscript(marker string) *regexp.Regexp {
	switch marker {
	case "p.p.s", "p.p.s.":
		return regexp.MustCompile(`p\.\s?p\.\s?s`)
	case "p.s.":
		return regexp.MustCompile(`p\.\s?s\.`)
	}
	return regexp.MustCompile(regexp.QuoteMeta(marker))
}

func highlights(text string) int {
	n := 0
	for _, h := range single.FindAllString(text, -1) {
		if strings.TrimSpace(strings.Trim(h, "*")) != "" {
			n++
		}
	}
	for _, h := range double.FindAllString(text, -1) {
		if strings.TrimSpace(strings.Trim(h, "*")) != "" {
			n++
		}
	}
	return n
}

func isJSON(text string) bool {
	text = strings.TrimSpace(text)
	for _, open := range []string{"```json", "```Json", "```JSON", "```"} {
		if rest, ok := strings.CutPrefix(text, open); ok {
			text = rest
			break
		}
	}
	return json.Valid([]byte(strings.TrimSpace(strings.TrimSuffix(text, "```"))))
}

func twoResponses(text string) bool {
	parts := strings.Split(text, "******")
	var valid []string
	for i, p := range parts {
		p = strings.TrimSpace(p)
		if p == "" {
			if i != 0 && i != len(parts)-1 {
				return false
			}
			continue
		}
		valid = append(valid, p)
	}
	return len(valid) == 2 && valid[0] != valid[1]
}

// capitalWords counts words all of whose letters are capitals.
func capitalWords(text string) int {
	n := 0
	for _, w := range tokens.FindAllString(text, -1) {
		if oneCase(w, unicode.IsUpper) {
			n++
		}
	}
	return n
}

// oneCase reports whether every letter that has a case has this one, and there is
// such a letter.
func oneCase(text string, is func(rune) bool) bool {
	some := false
	for _, r := range text {
		if unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) {
			if !is(r) {
				return false
			}
			some = true
		}
	}
	return some
}

// isIn reports whether most of a text's words are in a language.
func isIn(text, lang string) bool {
	n, all := language.Count(text, strings.ToLower(lang))
	return all > 0 && 2*n > all
}
