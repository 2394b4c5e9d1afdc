package tokenizer

import (
	"maps"
	"strings"
	"unicode/utf8"
)

// None stands for a token that a tokenizer does not have.
const None int32 = -1

// Tokenizer turns text into ids and back.
type Tokenizer struct {
	vocab   map[string]int32 // of the model
	tokens  []string         // by id; "" where there is none
	special map[int32]bool

	raw        *addedSet // added tokens that are found in the text as it is
	normalized *addedSet // and those found after normalizing
	byContent  map[string]int32
	normalize  normalizer
	splitters  []splitter
	encodeWord func(dst []int32, word string) []int32

	prefix, suffix []int32 // what addSpecial puts around
	decoders       []decoder
	style          style

	bos, eos, pad, unk int32
	stop               []int32
	template           string
	files              map[string][]byte
}

// style is the way in which tokens become bytes, for streaming.
type style uint8

const (
	styleOther style = iota
	styleByteLevel
	styleFallback
	styleSpaces // no decoder: tokens are joined by spaces
)

// Encode returns the ids of text. Added and special tokens that are written out in the text
// become their ids. addSpecial puts around it what the tokenizer's template
// says (a BOS, say). Bytes that are not UTF-8 count as U+FFFD.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 {
	if !utf8.ValidString(text) {
		text = lossy([]byte(text))
	}
	ids := make([]int32, 0, len(text)/3+4)
	if addSpecial {
		ids = append(ids, t.prefix...)
	}
	var buf, buf2 [8]segment
	for _, seg := range t.raw.cut(buf[:0], text, true) {
		if seg.id >= 0 {
			ids = append(ids, seg.id)
			continue
		}
		if t.normalize != nil {
			seg.text = t.normalize(seg.text)
		}
		for _, part := range t.normalized.cut(buf2[:0], seg.text, seg.first) {
			if part.id >= 0 {
				ids = append(ids, part.id)
			} else {
				ids = t.encodeText(ids, part.text, part.first)
			}
		}
	}
	if addSpecial {
		ids = append(ids, t.suffix...)
	}
	return ids
}

// encodeText splits a stretch of plain text and encodes its words.
func (t *Tokenizer) encodeText(ids []int32, text string, first bool) []int32 {
	if text == "" {
		return ids
	}
	var a, b [64]string
	words, next := append(a[:0], text), b[:0]
	for _, split := range t.splitters {
		next = next[:0]
		for i, w := range words {
			next = split(next, w, first && i == 0)
		}
		words, next = next, words
	}
	for _, w := range words {
		if w != "" {
			ids = t.encodeWord(ids, w)
		}
	}
	return ids
}

// Decode returns the text of ids. skipSpecial leaves special tokens out; ids
// outside the vocabulary are left out too. Bytes that are not UTF-8 become U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		token, ok := t.Token(id)
		if !ok || skipSpecial && t.special[id] {
			continue
		}
		tokens = append(tokens, token)
	}
	if t.style == styleSpaces {
		return strings.Join(tokens, " ")
	}
	for _, d := range t.decoders {
		tokens = d(tokens)
	}
	return strings.Join(tokens, "")
}

// ID returns the id of a token, written as in the vocabulary.
func (t *Tokenizer) ID(token string) (int32, bool) {
	if id, ok := t.byContent[token]; ok {
		return id, true
	}
	id, ok := t.vocab[token]
	return id, ok
}

// Token returns the token of an id, written as in the vocabulary (a byte-level
// token shows its bytes as characters).
func (t *Tokenizer) Token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(t.tokens) || t.tokens[id] == "" {
		return "", false
	}
	return t.tokens[id], true
}

// VocabSize returns the largest id plus one. A model's vocab_size may be larger.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// Special reports whether id is a special token.
func (t *Tokenizer) Special(id int32) bool { return t.special[id] }

// SpecialIDs returns the set of special tokens.
func (t *Tokenizer) SpecialIDs() map[int32]bool { return maps.Clone(t.special) }

// BOS returns the id of the token that begins a text, or None.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOS returns the id of the token that ends a text, or None.
func (t *Tokenizer) EOS() int32 { return t.eos }

// PAD returns the id of the padding token, or None.
func (t *Tokenizer) PAD() int32 { return t.pad }

// UNK returns the id of the unknown token, or None.
func (t *Tokenizer) UNK() int32 { return t.unk }

// StopIDs returns the ids that end a completion: the EOS and those that
// generation_config.json and config.json name, ascending.
func (t *Tokenizer) StopIDs() []int32 { return append([]int32(nil), t.stop...) }

// ChatTemplate returns the Jinja source that the tokenizer came with, "" if none.
func (t *Tokenizer) ChatTemplate() string { return t.template }

// Files returns the files the tokenizer was read from, by name, byte for byte:
// what a checkpoint folder needs to be loaded by transformers. generation_config.json
// and the chat template are among them.
func (t *Tokenizer) Files() map[string][]byte { return maps.Clone(t.files) }
