package tokenizer

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder is one step from tokens to text; the results of the last step are
// joined without a space.
type decoder func(tokens []string) []string

// parseDecoder returns the steps; nil means that tokens are joined by spaces.
func parseDecoder(raw json.RawMessage) ([]decoder, error) {
	kind, err := typeOf(raw)
	if err != nil || kind == "" {
		return nil, err
	}
	c := struct {
		Decoders       []json.RawMessage `json:"decoders"`
		Pattern        json.RawMessage   `json:"pattern"`
		Content        string            `json:"content"`
		Start          int               `json:"start"`
		Stop           int               `json:"stop"`
		Replacement    string            `json:"replacement"`
		PrependScheme  string            `json:"prepend_scheme"`
		AddPrefixSpace *bool             `json:"add_prefix_space"`
	}{}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	each := func(f func(i int, token string) string) []decoder {
		return []decoder{func(tokens []string) []string {
			for i, t := range tokens {
				tokens[i] = f(i, t)
			}
			return tokens
		}}
	}
	switch kind {
	case "Sequence":
		all := []decoder{}
		for _, r := range c.Decoders {
			d, err := parseDecoder(r)
			if err != nil {
				return nil, err
			}
			all = append(all, d...)
		}
		return all, nil
	case "ByteLevel":
		return []decoder{func(tokens []string) []string {
			var b []byte
			for _, t := range tokens {
				b = append(b, fromByteLevel(t)...)
			}
			return []string{lossy(b)}
		}}, nil
	case "ByteFallback":
		return []decoder{byteFallback}, nil
	case "Fuse":
		return []decoder{func(tokens []string) []string { return []string{strings.Join(tokens, "")} }}, nil
	case "Replace":
		find, err := parsePattern(c.Pattern)
		if err != nil {
			return nil, err
		}
		return each(func(_ int, t string) string { return replaceAll(find, t, c.Content) }), nil
	case "Strip":
		return each(func(_ int, t string) string { return stripEnds(t, c.Content, c.Start, c.Stop) }), nil
	case "Metaspace":
		if c.Replacement == "" {
			c.Replacement = "▁"
		}
		strip := c.PrependScheme != "never" && (c.PrependScheme != "" || orTrue(c.AddPrefixSpace))
		return each(func(i int, t string) string {
			if i == 0 && strip {
				t = strings.TrimPrefix(t, c.Replacement)
			}
			return strings.ReplaceAll(t, c.Replacement, " ")
		}), nil
	}
	return nil, unsupported("decoder", kind, "Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace")
}

func stripEnds(t, content string, start, stop int) string {
	for ; start > 0 && content != "" && strings.HasPrefix(t, content); start-- {
		t = t[len(content):]
	}
	for ; stop > 0 && content != "" && strings.HasSuffix(t, content); stop-- {
		t = t[:len(t)-len(content)]
	}
	return t
}

// byteToken returns the byte of a token <0xNN>.
func byteToken(t string) (byte, bool) {
	if len(t) != 6 || !strings.HasPrefix(t, "<0x") || t[5] != '>' {
		return 0, false
	}
	v, err := strconv.ParseUint(t[3:5], 16, 8)
	return byte(v), err == nil
}

// byteFallback joins runs of byte tokens; a run that is not UTF-8 becomes one
// U+FFFD for each byte.
func byteFallback(tokens []string) []string {
	var out []string
	var run []byte
	flush := func() {
		if utf8.Valid(run) {
			out = append(out, string(run))
		} else {
			out = append(out, strings.Repeat("\ufffd", len(run)))
		}
		run = nil
	}
	for _, t := range tokens {
		if b, ok := byteToken(t); ok {
			run = append(run, b)
			continue
		}
		if run != nil {
			flush()
		}
		out = append(out, t)
	}
	if run != nil {
		flush()
	}
	return out
}
