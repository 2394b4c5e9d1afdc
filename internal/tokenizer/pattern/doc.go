// Package pattern matches the regular expressions that tokenizer.json files
// split text with. They need look-ahead (\s+(?!\S)) and possessive
// quantifiers, which package regexp has not, in the syntax and with the
// leftmost-first meaning of Oniguruma, which the tokenizers package uses.
//
//	p, err := pattern.Compile(`\p{N}{1,3}| ?\p{L}+|\s+(?!\S)|\s+`)
//	start, end, ok := p.Find(text, 0)
//
// A search remembers the pairs of step and position that failed, so no text
// makes it exponential: its cost is linear in the text, times the text again for
// look-arounds. There are no captures and no back references. Compile refuses
// what it does not know by name.
package pattern
