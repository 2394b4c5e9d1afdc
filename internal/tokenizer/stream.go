package tokenizer

import "strings"

// Stream decodes a sequence token by token. What it gives out is always valid
// UTF-8; the bytes of a character that is not complete yet are held back. For
// tokens that make valid text, the pieces joined are what [Tokenizer.Decode]
// gives for the whole.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	held        []byte
	begun       bool
}

// NewStream returns a stream for one sequence.
func (t *Tokenizer) NewStream(skipSpecial bool) *Stream {
	return &Stream{t: t, skipSpecial: skipSpecial}
}

// Push takes the next token and returns the text that is now certain, which may
// be empty.
func (s *Stream) Push(id int32) string {
	token, ok := s.t.Token(id)
	if !ok || s.skipSpecial && s.t.special[id] {
		return ""
	}
	s.held = append(s.held, s.t.bytesOf(token, !s.begun)...)
	s.begun = true
	n := len(s.held) - incompleteTail(s.held)
	out := lossy(s.held[:n])
	s.held = append(s.held[:0], s.held[n:]...)
	return out
}

// Flush returns what is left, broken characters as U+FFFD.
func (s *Stream) Flush() string {
	out := lossy(s.held)
	s.held = nil
	return out
}

// bytesOf returns the bytes that a token adds to the text; first says that it
// begins the text.
func (t *Tokenizer) bytesOf(token string, first bool) []byte {
	switch t.style {
	case styleByteLevel:
		return fromByteLevel(token)
	case styleFallback:
		if b, ok := byteToken(token); ok {
			return []byte{b}
		}
	case styleSpaces:
		if !first {
			return []byte(" " + token)
		}
		return []byte(token)
	}
	// The steps act on each token alone, but Fuse and Strip on the whole text: a
	// second token keeps the leading space that the first one loses.
	const mark = "\x00"
	tokens := []string{token}
	if !first {
		tokens = []string{mark, token}
	}
	for _, d := range t.decoders {
		tokens = d(tokens)
	}
	return []byte(strings.TrimPrefix(strings.Join(tokens, ""), mark))
}
