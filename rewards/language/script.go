package language

import "unicode"

// script is a writing system.
type script uint8

const (
	noScript script = iota
	latin
	han
	kana
	hangul
	cyrillic
	arabic
	devanagari
	greek
	hebrew
	thai
	bengali
	tamil
	telugu
	georgian
	armenian
	kannada
	gujarati
	gurmukhi
	malayalam
	otherScript
)

var tables = []struct {
	script script
	table  *unicode.RangeTable
}{
	{latin, unicode.Latin}, {han, unicode.Han}, {kana, unicode.Hiragana}, {kana, unicode.Katakana}, {hangul, unicode.Hangul}, {cyrillic, unicode.Cyrillic}, {arabic, unicode.Arabic},
	{devanagari, unicode.Devanagari}, {greek, unicode.Greek}, {hebrew, unicode.Hebrew}, {thai, unicode.Thai}, {bengali, unicode.Bengali}, {tamil, unicode.Tamil}, {telugu, unicode.Telugu},
	{georgian, unicode.Georgian}, {armenian, unicode.Armenian}, {kannada, unicode.Kannada}, {gujarati, unicode.Gujarati}, {gurmukhi, unicode.Gurmukhi}, {malayalam, unicode.Malayalam},
}

// scriptOf returns the script of a letter. Marks and the prolonged sound mark of
// kana have none of their own.
func scriptOf(r rune) script {
	if r < 0x80 {
		if r|0x20 >= 'a' && r|0x20 <= 'z' {
			return latin
		}
		return noScript
	}
	if r < 0x250 {
		if unicode.IsLetter(r) {
			return latin
		}
		return noScript
	}
	if r == 'ー' {
		return kana
	}
	for _, t := range tables {
		if unicode.Is(t.table, r) {
			return t.script
		}
	}
	if unicode.IsLetter(r) {
		return otherScript
	}
	return noScript
}

// scripts names the script of each language whose script is not Latin.
var scripts = map[string]script{
	"zh": han, "ja": kana, "ko": hangul, "ru": cyrillic, "uk": cyrillic, "bg": cyrillic, "sr": cyrillic, "be": cyrillic, "mk": cyrillic, "kk": cyrillic, "ar": arabic, "fa": arabic, "ur": arabic,
	"hi": devanagari, "mr": devanagari, "ne": devanagari, "sa": devanagari, "el": greek, "he": hebrew, "th": thai, "bn": bengali, "ta": tamil, "te": telugu, "ka": georgian, "hy": armenian,
	"kn": kannada, "gu": gujarati, "pa": gurmukhi, "ml": malayalam,
}
