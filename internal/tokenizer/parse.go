package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/grouse-rl/grouse"
)

// maxHoles bounds the ids that no token has: ids are below the number of tokens
// plus this.
const maxHoles = 1 << 18

// tokenizerJSON is tokenizer.json. Truncation and padding are not read: a
// trainer decides on both itself.
type tokenizerJSON struct {
	AddedTokens   []*added        `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         modelJSON       `json:"model"`
}

type modelJSON struct {
	Type         string           `json:"type"`
	Vocab        map[string]int32 `json:"vocab"`
	Merges       []mergeJSON      `json:"merges"`
	UnkToken     *string          `json:"unk_token"`
	Dropout      *float64         `json:"dropout"`
	Prefix       *string          `json:"continuing_subword_prefix"`
	Suffix       *string          `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
}

// mergeJSON is "a b" or ["a", "b"].
type mergeJSON [2]string

func (m *mergeJSON) UnmarshalJSON(raw []byte) error {
	if raw[0] == '[' {
		var parts []string
		if err := json.Unmarshal(raw, &parts); err != nil {
			return err
		}
		if len(parts) != 2 {
			return fmt.Errorf("a merge of %d parts", len(parts))
		}
		*m = mergeJSON{parts[0], parts[1]}
		return nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	a, b, ok := strings.Cut(s, " ")
	if !ok || strings.Contains(b, " ") {
		return fmt.Errorf("merge %q is not two tokens with a space between", s)
	}
	*m = mergeJSON{a, b}
	return nil
}

// typeOf returns the "type" of a part of tokenizer.json, "" for null.
func typeOf(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var c struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", err
	}
	if c.Type == "" {
		return "", fmt.Errorf("a part without a type: %.60s", raw)
	}
	return c.Type, nil
}

func unsupported(part, kind, known string) error {
	return grouse.Errorf(grouse.Invalid, "%s of type %q is not supported", part, kind).WithFix("supported: %s", known)
}

// Parse reads a tokenizer from the bytes of its files, by name: tokenizer.json is
// needed; tokenizer_config.json, special_tokens_map.json, generation_config.json,
// config.json and chat_template.jinja are read if they are there.
func Parse(files map[string][]byte) (*Tokenizer, error) {
	raw, ok := files["tokenizer.json"]
	if !ok {
		return nil, grouse.Errorf(grouse.NotFound, "tokenizer.json is missing").
			WithFix("save the tokenizer with transformers: AutoTokenizer.from_pretrained(dir).save_pretrained(dir)")
	}
	var j tokenizerJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "tokenizer.json: %w", err)
	}
	t := &Tokenizer{special: map[int32]bool{}, byContent: map[string]int32{}, bos: None, eos: None, pad: None, unk: None, files: map[string][]byte{}}
	for _, step := range []func(*tokenizerJSON) error{t.readModel, t.readAdded, t.readPipeline, t.readPostProcessor} {
		if err := step(&j); err != nil {
			return nil, fmt.Errorf("tokenizer.json: %w", err)
		}
	}
	if err := t.readConfigs(files); err != nil {
		return nil, err
	}
	for name, b := range files {
		if name != "config.json" {
			t.files[name] = b
		}
	}
	return t, nil
}

func (t *Tokenizer) readModel(j *tokenizerJSON) error {
	m := &j.Model
	t.vocab = m.Vocab
	if len(m.Vocab) == 0 {
		return grouse.Errorf(grouse.Invalid, "model: the vocabulary is empty")
	}
	for token, id := range m.Vocab {
		if err := t.setToken(token, id); err != nil {
			return err
		}
	}
	unk := None
	if m.UnkToken != nil {
		if id, ok := m.Vocab[*m.UnkToken]; ok {
			unk = id
		}
	}
	switch {
	case m.Type == "BPE" || m.Type == "" && m.Merges != nil:
		if m.Dropout != nil && *m.Dropout != 0 {
			return grouse.Errorf(grouse.Invalid, "model: BPE dropout %v makes ids random", *m.Dropout).WithFix("set model.dropout to null in tokenizer.json")
		}
		merges := make([][2]string, len(m.Merges))
		for i, mg := range m.Merges {
			merges[i] = mg
		}
		b := &bpe{unk: unk, fuseUnk: m.FuseUnk, byteFallback: m.ByteFallback, ignoreMerges: m.IgnoreMerges}
		if m.Prefix != nil {
			b.prefix = *m.Prefix
		}
		if m.Suffix != nil {
			b.suffix = *m.Suffix
		}
		b, err := newBPE(m.Vocab, merges, b)
		if err != nil {
			return grouse.Errorf(grouse.Invalid, "model: %w", err)
		}
		t.encodeWord = b.encode
	case m.Type == "WordLevel":
		t.encodeWord = func(dst []int32, word string) []int32 {
			if id, ok := m.Vocab[word]; ok {
				return append(dst, id)
			}
			if unk >= 0 {
				return append(dst, unk)
			}
			return dst
		}
	default:
		return unsupported("model", m.Type, "BPE, WordLevel")
	}
	t.unk = unk
	return nil
}

func (t *Tokenizer) setToken(token string, id int32) error {
	if limit := len(t.vocab) + maxHoles; id < 0 || int(id) >= limit {
		return grouse.Errorf(grouse.Invalid, "token %q: id %d is outside 0 to %d", token, id, limit-1)
	}
	if int(id) >= len(t.tokens) {
		t.tokens = append(t.tokens, make([]string, int(id)+1-len(t.tokens))...)
	}
	t.tokens[id] = token
	return nil
}

func (t *Tokenizer) readAdded(j *tokenizerJSON) error {
	var err error
	if t.normalize, err = parseNormalizer(j.Normalizer); err != nil {
		return err
	}
	var raw, normalized []*addedText
	for _, a := range j.AddedTokens {
		if a == nil || a.Content == "" {
			return grouse.Errorf(grouse.Invalid, "added_tokens: a token without content")
		}
		if id, ok := t.vocab[a.Content]; ok {
			a.ID = id
		}
		if err := t.setToken(a.Content, a.ID); err != nil {
			return err
		}
		t.byContent[a.Content] = a.ID
		if a.Special {
			t.special[a.ID] = true
		}
		if a.Normalized && t.normalize != nil {
			text := t.normalize(a.Content)
			normalized = append(normalized, &addedText{text, a})
			if text != "" {
				t.tokens[a.ID] = text // what it decodes to
			}
		} else {
			raw = append(raw, &addedText{a.Content, a})
		}
	}
	t.raw, t.normalized = newAddedSet(raw), newAddedSet(normalized)
	return nil
}

func (t *Tokenizer) readPipeline(j *tokenizerJSON) error {
	var err error
	if t.splitters, err = parsePreTokenizer(j.PreTokenizer); err != nil {
		return err
	}
	if t.decoders, err = parseDecoder(j.Decoder); err != nil {
		return err
	}
	switch decoder := string(j.Decoder); {
	case t.decoders == nil:
		t.style = styleSpaces
	case strings.Contains(decoder, `"ByteFallback"`):
		t.style = styleFallback
	case strings.Contains(decoder, `"ByteLevel"`):
		t.style = styleByteLevel
	}
	return nil
}

func (t *Tokenizer) readPostProcessor(j *tokenizerJSON) error {
	return t.postProcessor(j.PostProcessor)
}

func (t *Tokenizer) postProcessor(raw json.RawMessage) error {
	kind, err := typeOf(raw)
	if err != nil {
		return err
	}
	type ref struct {
		ID string `json:"id"`
	}
	var c struct {
		Processors []json.RawMessage `json:"processors"`
		Single     []struct {
			SpecialToken *ref `json:"SpecialToken"`
			Sequence     *ref `json:"Sequence"`
		} `json:"single"`
		SpecialTokens map[string]struct {
			IDs []int32 `json:"ids"`
		} `json:"special_tokens"`
	}
	switch kind {
	case "", "ByteLevel": // ByteLevel changes offsets only
		return nil
	case "Sequence", "TemplateProcessing":
		if err := json.Unmarshal(raw, &c); err != nil {
			return fmt.Errorf("post_processor: %w", err)
		}
	default:
		return unsupported("post_processor", kind, "Sequence, ByteLevel, TemplateProcessing")
	}
	for _, p := range c.Processors {
		if err := t.postProcessor(p); err != nil {
			return err
		}
	}
	into := &t.prefix
	for _, part := range c.Single {
		switch {
		case part.Sequence != nil:
			into = &t.suffix
		case part.SpecialToken != nil:
			ids, ok := c.SpecialTokens[part.SpecialToken.ID]
			if !ok {
				return grouse.Errorf(grouse.Invalid, "post_processor: special token %q has no ids", part.SpecialToken.ID)
			}
			for _, id := range ids.IDs {
				if _, ok := t.Token(id); !ok {
					return grouse.Errorf(grouse.Invalid, "post_processor: id %d of %q is not in the vocabulary", id, part.SpecialToken.ID)
				}
			}
			*into = append(*into, ids.IDs...)
		}
	}
	return nil
}
