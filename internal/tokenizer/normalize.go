package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites text before it is split.
type normalizer func(string) string

func parseNormalizer(raw json.RawMessage) (normalizer, error) {
	kind, err := typeOf(raw)
	if err != nil || kind == "" {
		return nil, err
	}
	var c struct {
		Normalizers []json.RawMessage `json:"normalizers"`
		Pattern     json.RawMessage   `json:"pattern"`
		Content     string            `json:"content"`
		Prepend     string            `json:"prepend"`
		StripLeft   bool              `json:"strip_left"`
		StripRight  bool              `json:"strip_right"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	switch kind {
	case "Sequence":
		var all []normalizer
		for _, r := range c.Normalizers {
			n, err := parseNormalizer(r)
			if err != nil {
				return nil, err
			}
			if n != nil {
				all = append(all, n)
			}
		}
		return func(s string) string {
			for _, n := range all {
				s = n(s)
			}
			return s
		}, nil
	case "NFC":
		return norm.NFC.String, nil
	case "NFD":
		return norm.NFD.String, nil
	case "NFKC":
		return norm.NFKC.String, nil
	case "NFKD":
		return norm.NFKD.String, nil
	case "Lowercase":
		return strings.ToLower, nil
	case "Prepend":
		return func(s string) string {
			if s == "" {
				return s
			}
			return c.Prepend + s
		}, nil
	case "Replace":
		find, err := parsePattern(c.Pattern)
		if err != nil {
			return nil, err
		}
		return func(s string) string { return replaceAll(find, s, c.Content) }, nil
	case "Strip":
		return func(s string) string {
			if c.StripLeft {
				s = strings.TrimLeftFunc(s, unicode.IsSpace)
			}
			if c.StripRight {
				s = strings.TrimRightFunc(s, unicode.IsSpace)
			}
			return s
		}, nil
	case "StripAccents":
		return func(s string) string {
			return strings.Map(func(r rune) rune {
				if unicode.IsMark(r) {
					return -1
				}
				return r
			}, s)
		}, nil
	}
	return nil, unsupported("normalizer", kind, "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, StripAccents")
}

func replaceAll(find finder, s, with string) string {
	var b strings.Builder
	at := 0
	for at < len(s) {
		start, end, ok := find(s, at)
		if !ok || end == start {
			break
		}
		b.WriteString(s[at:start])
		b.WriteString(with)
		at = end
	}
	if at == 0 {
		return s
	}
	b.WriteString(s[at:])
	return b.String()
}
