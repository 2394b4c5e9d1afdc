package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// byteChar is GPT-2's reversible map from bytes to printable characters, and
// charByte its inverse (characters under 512; -1: none).
var byteChar, charByte = byteAlphabet()

func byteAlphabet() (to [256]rune, from [512]int16) {
	for i := range from {
		from[i] = -1
	}
	next := rune(256)
	for b := range 256 {
		c := rune(b)
		printable := b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae
		if !printable {
			c = next
			next++
		}
		to[b], from[c] = c, int16(b)
	}
	return to, from
}

// toByteLevel writes each byte of s as its character.
func toByteLevel(s string) string {
	var b strings.Builder
	b.Grow(len(s) * 2)
	for i := range len(s) {
		b.WriteRune(byteChar[s[i]])
	}
	return b.String()
}

// fromByteLevel returns the bytes that a token's characters stand for; a token
// with any other character (an added one) stands for itself.
func fromByteLevel(token string) []byte {
	out := make([]byte, 0, len(token))
	for _, c := range token {
		if c >= 512 || charByte[c] < 0 {
			return []byte(token)
		}
		out = append(out, byte(charByte[c]))
	}
	return out
}

// lossy makes valid UTF-8 of b: each maximal part of a broken character becomes
// one U+FFFD, as the Unicode standard recommends and Rust does (Go's own
// conversions count differently).
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenPart(b)
			r = utf8.RuneError
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

// brokenPart returns the length of the maximal part of a character that b, which
// does not start with a whole one, starts with.
func brokenPart(b []byte) int {
	lo, hi, want := byte(0x80), byte(0xbf), 0
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		want = 1
	case c == 0xe0:
		lo, want = 0xa0, 2
	case c == 0xed:
		hi, want = 0x9f, 2
	case c >= 0xe1 && c <= 0xef:
		want = 2
	case c == 0xf0:
		lo, want = 0x90, 3
	case c >= 0xf1 && c <= 0xf3:
		want = 3
	case c == 0xf4:
		hi, want = 0x8f, 3
	}
	n := 1
	for n <= want && n < len(b) && b[n] >= lo && b[n] <= hi {
		lo, hi = 0x80, 0xbf
		n++
	}
	return n
}

// incompleteTail returns how many bytes at the end of b are the beginning of a
// character that more bytes could complete.
func incompleteTail(b []byte) int {
	for n := 1; n <= 3 && n <= len(b); n++ {
		c := b[len(b)-n]
		if c < 0x80 {
			return 0
		}
		if c >= 0xc0 {
			tail := b[len(b)-n:]
			if !utf8.FullRune(tail) && brokenPart(tail) == n {
				return n
			}
			return 0
		}
	}
	return 0
}
