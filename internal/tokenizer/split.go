package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/grouse-rl/grouse/internal/tokenizer/pattern"
)

// finder returns the first match in s at byte from or later.
type finder func(s string, from int) (start, end int, ok bool)

// parsePattern reads {"String": s} or {"Regex": r}.
func parsePattern(raw json.RawMessage) (finder, error) {
	var c struct{ String, Regex *string }
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	switch {
	case c.String != nil && *c.String != "":
		return func(s string, from int) (int, int, bool) {
			i := strings.Index(s[from:], *c.String)
			return from + i, from + i + len(*c.String), i >= 0
		}, nil
	case c.Regex != nil:
		p, err := pattern.Compile(*c.Regex)
		if err != nil {
			return nil, err
		}
		return p.Find, nil
	}
	return nil, fmt.Errorf("pattern: String or Regex is missing")
}

// runes finds one character, or a run of them, for which test holds.
func runes(test func(rune) bool, run bool) finder {
	return func(s string, from int) (int, int, bool) {
		for at := from; at < len(s); {
			r, n := utf8.DecodeRuneInString(s[at:])
			if !test(r) {
				at += n
				continue
			}
			end := at + n
			for run && end < len(s) {
				r, n := utf8.DecodeRuneInString(s[end:])
				if !test(r) {
					break
				}
				end += n
			}
			return at, end, true
		}
		return 0, 0, false
	}
}

// splitter cuts a piece of text into smaller ones.
// first says that the piece begins the text.
type splitter func(dst []string, piece string, first bool) []string

func parsePreTokenizer(raw json.RawMessage) ([]splitter, error) {
	kind, err := typeOf(raw)
	if err != nil || kind == "" {
		return nil, err
	}
	c := struct {
		PreTokenizers    []json.RawMessage `json:"pretokenizers"`
		Pattern          json.RawMessage   `json:"pattern"`
		Behavior         string            `json:"behavior"`
		Invert           bool              `json:"invert"`
		AddPrefixSpace   *bool             `json:"add_prefix_space"`
		UseRegex         *bool             `json:"use_regex"`
		IndividualDigits bool              `json:"individual_digits"`
		Replacement      string            `json:"replacement"`
		PrependScheme    string            `json:"prepend_scheme"`
		Split            *bool             `json:"split"`
	}{}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	switch kind {
	case "Sequence":
		var all []splitter
		for _, r := range c.PreTokenizers {
			s, err := parsePreTokenizer(r)
			if err != nil {
				return nil, err
			}
			all = append(all, s...)
		}
		return all, nil
	case "ByteLevel":
		return byteLevel(orTrue(c.AddPrefixSpace), orTrue(c.UseRegex))
	case "Split":
		find, err := parsePattern(c.Pattern)
		if err != nil {
			return nil, err
		}
		return splitOn(find, c.Behavior, c.Invert)
	case "Digits":
		if c.IndividualDigits {
			return splitOn(runes(unicode.IsNumber, false), "Isolated", false)
		}
		return splitOn(runes(unicode.IsNumber, true), "Isolated", false)
	case "Punctuation":
		if c.Behavior == "" {
			c.Behavior = "Isolated"
		}
		return splitOn(runes(isPunctuation, false), c.Behavior, false)
	case "WhitespaceSplit":
		return splitOn(runes(unicode.IsSpace, false), "Removed", false)
	case "Whitespace":
		// This one is compiled by Rust's regex, where the joiners belong to words.
		p, err := pattern.Compile(`[\w\x{200c}\x{200d}]+|[^\w\x{200c}\x{200d}\s]+`)
		if err != nil {
			return nil, err
		}
		return splitOn(p.Find, "Removed", true)
	case "Metaspace":
		return metaspace(c.Replacement, c.PrependScheme, c.AddPrefixSpace, orTrue(c.Split))
	}
	return nil, unsupported("pre_tokenizer", kind, "Sequence, ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, Metaspace")
}

func orTrue(b *bool) bool { return b == nil || *b }

func isPunctuation(r rune) bool {
	if r < 128 {
		return unicode.IsPunct(r) || unicode.IsSymbol(r)
	}
	return unicode.IsPunct(r)
}

// gpt2Pattern is the splitting rule of GPT-2's byte-level tokenizer.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func byteLevel(prefixSpace, useRegex bool) ([]splitter, error) {
	var steps []splitter
	if prefixSpace {
		steps = append(steps, func(dst []string, piece string, _ bool) []string {
			if !strings.HasPrefix(piece, " ") {
				piece = " " + piece
			}
			return append(dst, piece)
		})
	}
	if useRegex {
		p, err := pattern.Compile(gpt2Pattern)
		if err != nil {
			return nil, err
		}
		split, err := splitOn(p.Find, "Isolated", false)
		if err != nil {
			return nil, err
		}
		steps = append(steps, split...)
	}
	return append(steps, func(dst []string, piece string, _ bool) []string {
		return append(dst, toByteLevel(piece))
	}), nil
}

func metaspace(replacement, scheme string, addPrefix *bool, split bool) ([]splitter, error) {
	if replacement == "" {
		replacement = "▁"
	}
	if scheme == "" {
		scheme = "always"
		if addPrefix != nil && !*addPrefix {
			scheme = "never"
		}
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return nil, fmt.Errorf("pre_tokenizer Metaspace: prepend_scheme %q is not always, first or never", scheme)
	}
	steps := []splitter{func(dst []string, piece string, first bool) []string {
		piece = strings.ReplaceAll(piece, " ", replacement)
		if (scheme == "always" || scheme == "first" && first) && !strings.HasPrefix(piece, replacement) {
			piece = replacement + piece
		}
		return append(dst, piece)
	}}
	if !split {
		return steps, nil
	}
	find := func(s string, from int) (int, int, bool) {
		i := strings.Index(s[from:], replacement)
		return from + i, from + i + len(replacement), i >= 0
	}
	more, err := splitOn(find, "MergedWithNext", false)
	return append(steps, more...), err
}

// span is a stretch of a piece: a match of the pattern or what lies between.
type span struct {
	start, end int
	match      bool
}

// splitOn cuts at the matches of find; behavior says where the matches go.
func splitOn(find finder, behavior string, invert bool) ([]splitter, error) {
	join, ok := behaviors[behavior]
	if !ok {
		return nil, fmt.Errorf("pre_tokenizer Split: behavior %q is not one of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous", behavior)
	}
	return []splitter{func(dst []string, piece string, _ bool) []string {
		var buf [64]span
		for _, s := range join(cut(buf[:0], find, piece, invert)) {
			if s.end > s.start {
				dst = append(dst, piece[s.start:s.end])
			}
		}
		return dst
	}}, nil
}

func cut(spans []span, find finder, piece string, invert bool) []span {
	last := 0
	for from := 0; from <= len(piece); {
		start, end, ok := find(piece, from)
		if !ok {
			break
		}
		if end == start { // an empty match cuts nothing
			if start >= len(piece) {
				break
			}
			_, n := utf8.DecodeRuneInString(piece[start:])
			from = start + n
			continue
		}
		if start > last {
			spans = append(spans, span{last, start, invert})
		}
		spans = append(spans, span{start, end, !invert})
		last, from = end, end
	}
	if last < len(piece) {
		spans = append(spans, span{last, len(piece), invert})
	}
	return spans
}

var behaviors = map[string]func([]span) []span{
	"Removed": func(in []span) []span {
		out := in[:0]
		for _, s := range in {
			if !s.match {
				out = append(out, s)
			}
		}
		return out
	},
	"Isolated": func(in []span) []span { return in },
	"Contiguous": func(in []span) []span {
		out := in[:0]
		for _, s := range in {
			if n := len(out); n > 0 && out[n-1].match == s.match {
				out[n-1].end = s.end
				continue
			}
			out = append(out, s)
		}
		return out
	},
	"MergedWithPrevious": func(in []span) []span {
		out := in[:0]
		before := false // the span before was a match
		for _, s := range in {
			if n := len(out); s.match && !before && n > 0 {
				out[n-1].end = s.end
			} else {
				out = append(out, s)
			}
			before = s.match
		}
		return out
	},
	"MergedWithNext": func(in []span) []span {
		var out []span
		after := false // the span after is a match
		for i := len(in) - 1; i >= 0; i-- {
			s := in[i]
			if n := len(out); s.match && !after && n > 0 {
				out[n-1].start = s.start
			} else {
				out = append(out, s)
			}
			after = s.match
		}
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
		return out
	},
}
