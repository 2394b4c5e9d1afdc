package tokenizer

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/grouse-rl/grouse"
)

// CharactersSpec describes a character-level tokenizer: one token a character, for
// small models made from scratch.
type CharactersSpec struct {
	Characters   string   // every character once, in the order of their ids
	Special      []string // further special tokens, after <pad>, <eos> and <unk>
	ChatTemplate string   // Jinja; "": none
}

// Names of the special tokens that every character-level tokenizer has, with
// ids 0, 1 and 2.
const (
	CharPAD = "<pad>"
	CharEOS = "<eos>"
	CharUNK = "<unk>"
)

// Characters makes a character-level tokenizer: ids 0 to 2 are <pad>, <eos> and
// <unk>, then the further special tokens, then the characters. Its files are
// loaded by transformers.AutoTokenizer with the same ids.
func Characters(spec CharactersSpec) (*Tokenizer, error) {
	special := append([]string{CharPAD, CharEOS, CharUNK}, spec.Special...)
	vocab := map[string]int32{}
	var order []string
	add := func(token string) error {
		if _, twice := vocab[token]; twice || token == "" {
			return grouse.Errorf(grouse.Invalid, "character tokenizer: token %q is given twice or empty", token)
		}
		vocab[token] = int32(len(order))
		order = append(order, token)
		return nil
	}
	for _, s := range special {
		if utf8.RuneCountInString(s) < 2 {
			return nil, grouse.Errorf(grouse.Invalid, "character tokenizer: special token %q has fewer than two characters", s)
		}
		if err := add(s); err != nil {
			return nil, err
		}
	}
	if !utf8.ValidString(spec.Characters) || spec.Characters == "" {
		return nil, grouse.Errorf(grouse.Invalid, "character tokenizer: the characters are empty or not UTF-8")
	}
	for _, c := range spec.Characters {
		if err := add(string(c)); err != nil {
			return nil, err
		}
	}
	files := map[string][]byte{
		"tokenizer.json": charactersJSON(order, len(special)),
		"tokenizer_config.json": marshalJSON(map[string]any{
			"eos_token": CharEOS, "pad_token": CharPAD, "unk_token": CharUNK, "padding_side": "left",
			"clean_up_tokenization_spaces": false, "model_max_length": 1 << 30, "tokenizer_class": "PreTrainedTokenizerFast",
		}),
		"generation_config.json": marshalJSON(map[string]any{"eos_token_id": 1, "pad_token_id": 0}),
	}
	if spec.ChatTemplate != "" {
		files["chat_template.jinja"] = []byte(spec.ChatTemplate)
	}
	return Parse(files)
}

// charactersJSON writes tokenizer.json for the tokens in order, the first
// special of which are special.
func charactersJSON(order []string, special int) []byte {
	type object = map[string]any
	var addedTokens []added
	var vocab bytes.Buffer
	for id, token := range order {
		if id < special {
			addedTokens = append(addedTokens, added{ID: int32(id), Content: token, Special: true})
		}
		if id > 0 {
			vocab.WriteByte(',')
		}
		vocab.Write(bytes.TrimSpace(marshalJSON(token)))
		vocab.WriteByte(':')
		vocab.Write(bytes.TrimSpace(marshalJSON(id)))
	}
	return marshalJSON(object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": addedTokens, "normalizer": nil,
		"pre_tokenizer":  object{"type": "Split", "pattern": object{"Regex": `[\s\S]`}, "behavior": "Isolated", "invert": false},
		"post_processor": nil,
		"decoder":        object{"type": "Fuse"},
		"model":          object{"type": "WordLevel", "vocab": json.RawMessage("{" + vocab.String() + "}"), "unk_token": CharUNK},
	})
}

func marshalJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		panic(err) // maps, strings and numbers only
	}
	return b.Bytes()
}
