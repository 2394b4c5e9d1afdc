package gguf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Token types of tokenizer.ggml.token_type.
const (
	tokenNormal  = 1
	tokenUnknown = 2
	tokenControl = 3
	tokenUser    = 4
	tokenByte    = 6
)

type object = map[string]any

// Splitting rules of byte-level tokenizers, by tokenizer.ggml.pre.
const (
	llama3Split   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Split    = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	deepseekSplit = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

func splitStep(regex string) object {
	return object{"type": "Split", "pattern": object{"Regex": regex}, "behavior": "Isolated", "invert": false}
}

func byteLevelStep(regex bool) object {
	return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex}
}

func sequence(key string, steps ...object) object { return object{"type": "Sequence", key: steps} }

// preTokenizer returns the pre_tokenizer and normalizer of a tokenizer.ggml.pre.
func preTokenizer(pre string) (split, normalizer object, err error) {
	bytesOnly := byteLevelStep(false)
	switch pre {
	case "", "default", "gpt-2", "gpt2":
		return byteLevelStep(true), nil, nil
	case "smollm":
		return sequence("pretokenizers", object{"type": "Digits", "individual_digits": true}, byteLevelStep(true)), nil, nil
	case "llama3", "llama-v3", "llama-bpe":
		return sequence("pretokenizers", splitStep(llama3Split), bytesOnly), nil, nil
	case "qwen2", "deepseek-r1-qwen":
		return sequence("pretokenizers", splitStep(qwen2Split), bytesOnly), object{"type": "NFC"}, nil
	case "deepseek-v3":
		return sequence("pretokenizers", splitStep(`\p{N}{1,3}`), splitStep("[一-龥぀-ゟ゠-ヿ]+"), splitStep(deepseekSplit), bytesOnly), nil, nil
	}
	return nil, nil, fmt.Errorf("tokenizer.ggml.pre %q is not supported (gpt-2, smollm, llama-bpe, qwen2 and deepseek-v3 are)", pre)
}

// vocabulary is the tokenizer's part of the metadata.
type vocabulary struct {
	tokens []string
	types  []int64
	scores []float64
	merges []string
}

func (f *File) vocabulary() (*vocabulary, error) {
	v := &vocabulary{}
	var ok bool
	if v.tokens, ok = f.Metadata["tokenizer.ggml.tokens"].([]string); !ok || len(v.tokens) == 0 {
		return nil, fmt.Errorf("tokenizer.ggml.tokens is missing")
	}
	v.types, _ = f.Metadata["tokenizer.ggml.token_type"].([]int64)
	v.scores, _ = f.Metadata["tokenizer.ggml.scores"].([]float64)
	v.merges, _ = f.Metadata["tokenizer.ggml.merges"].([]string)
	if v.types != nil && len(v.types) != len(v.tokens) || v.scores != nil && len(v.scores) != len(v.tokens) {
		return nil, fmt.Errorf("%d tokens, %d types, %d scores", len(v.tokens), len(v.types), len(v.scores))
	}
	return v, nil
}

func (v *vocabulary) kind(id int) int64 {
	if v.types == nil {
		return tokenNormal
	}
	return v.types[id]
}

// TokenizerFiles returns tokenizer.json, tokenizer_config.json and, if the file has
// one, chat_template.jinja, made from the metadata: what tokenizer.Parse and
// transformers read.
func (m *Model) TokenizerFiles() (map[string][]byte, error) {
	files, err := m.f.tokenizerFiles()
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "gguf %q: %w", m.f.path, err)
	}
	return files, nil
}

func (f *File) tokenizerFiles() (map[string][]byte, error) {
	v, err := f.vocabulary()
	if err != nil {
		return nil, err
	}
	id := func(name string) (int, string, bool) {
		n, ok := f.Metadata["tokenizer.ggml."+name].(uint64)
		if !ok || n >= uint64(len(v.tokens)) {
			return 0, "", false
		}
		return int(n), v.tokens[n], true
	}
	var tok object
	switch model, _ := f.Metadata["tokenizer.ggml.model"].(string); model {
	case "gpt2":
		pre, _ := f.Metadata["tokenizer.ggml.pre"].(string)
		tok, err = byteLevelTokenizer(v, pre)
	case "llama":
		prefix, ok := f.Metadata["tokenizer.ggml.add_space_prefix"].(bool)
		tok, err = sentencePieceTokenizer(v, prefix || !ok)
	default:
		err = fmt.Errorf("tokenizer.ggml.model %q is not supported (gpt2 and llama are)", model)
	}
	if err != nil {
		return nil, err
	}
	model, _ := f.Metadata["tokenizer.ggml.model"].(string)
	addBOS, given := f.Metadata["tokenizer.ggml.add_bos_token"].(bool)
	if bos, token, ok := id("bos_token_id"); ok && (addBOS || !given && model == "llama") {
		tok["post_processor"] = object{
			"type":           "TemplateProcessing",
			"single":         []object{{"SpecialToken": object{"id": token, "type_id": 0}}, {"Sequence": object{"id": "A", "type_id": 0}}},
			"pair":           []object{{"SpecialToken": object{"id": token, "type_id": 0}}, {"Sequence": object{"id": "A", "type_id": 0}}, {"Sequence": object{"id": "B", "type_id": 1}}},
			"special_tokens": object{token: object{"id": token, "ids": []int{bos}, "tokens": []string{token}}},
		}
	}
	config := object{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false}
	for key, name := range map[string]string{"bos_token": "bos_token_id", "eos_token": "eos_token_id", "pad_token": "padding_token_id", "unk_token": "unknown_token_id"} {
		if _, token, ok := id(name); ok {
			config[key] = token
		}
	}
	files := map[string][]byte{}
	if files["tokenizer.json"], err = marshal(tok); err != nil {
		return nil, err
	}
	if files["tokenizer_config.json"], err = marshal(config); err != nil {
		return nil, err
	}
	generation := object{}
	for key, name := range map[string]string{"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"} {
		if n, _, ok := id(name); ok {
			generation[key] = n
		}
	}
	if files["generation_config.json"], err = marshal(generation); err != nil {
		return nil, err
	}
	if template, ok := f.Metadata["tokenizer.chat_template"].(string); ok {
		files["chat_template.jinja"] = []byte(template)
	}
	return files, nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// base returns the parts of tokenizer.json that both kinds share.
func (v *vocabulary) base() (tok object, vocab map[string]int) {
	vocab = make(map[string]int, len(v.tokens))
	var added []object
	for id, token := range v.tokens {
		if _, twice := vocab[token]; !twice {
			vocab[token] = id
		}
		if k := v.kind(id); k == tokenControl || k == tokenUser || k == tokenUnknown {
			added = append(added, object{
				"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": k != tokenUser,
			})
		}
	}
	return object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added,
		"normalizer": nil, "pre_tokenizer": nil, "post_processor": nil, "decoder": nil,
	}, vocab
}

func byteLevelTokenizer(v *vocabulary, pre string) (object, error) {
	split, normalizer, err := preTokenizer(pre)
	if err != nil {
		return nil, err
	}
	tok, vocab := v.base()
	tok["pre_tokenizer"] = split
	if normalizer != nil {
		tok["normalizer"] = normalizer
	}
	tok["decoder"] = byteLevelStep(true)
	tok["model"] = object{
		"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": false,
		"byte_fallback": false, "ignore_merges": strings.HasPrefix(pre, "llama"), "vocab": vocab, "merges": nonNil(v.merges),
	}
	return tok, nil
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// sentencePieceTokenizer makes a BPE of a SentencePiece vocabulary, whose scores say
// which pair is merged first: every way to cut a token into two tokens is a
// merge, ranked by the token's score.
func sentencePieceTokenizer(v *vocabulary, spacePrefix bool) (object, error) {
	if v.scores == nil {
		return nil, fmt.Errorf("tokenizer.ggml.scores is missing")
	}
	tok, vocab := v.base()
	type merge struct {
		left, right string
		score       float64
	}
	var merges []merge
	unk := ""
	for id, token := range v.tokens {
		if v.kind(id) == tokenUnknown && unk == "" {
			unk = token
		}
		if v.kind(id) != tokenNormal || len(token) > 256 {
			continue
		}
		for i := range token {
			if i == 0 {
				continue
			}
			_, ok1 := vocab[token[:i]]
			_, ok2 := vocab[token[i:]]
			if ok1 && ok2 {
				merges = append(merges, merge{token[:i], token[i:], v.scores[id]})
			}
		}
	}
	sort.SliceStable(merges, func(i, j int) bool {
		a, b := merges[i], merges[j]
		switch {
		case a.score != b.score:
			return a.score > b.score
		case vocab[a.left] != vocab[b.left]:
			return vocab[a.left] < vocab[b.left]
		}
		return vocab[a.right] < vocab[b.right]
	})
	pairs := make([][2]string, len(merges))
	for i, m := range merges {
		pairs[i] = [2]string{m.left, m.right}
	}
	space := object{"type": "Replace", "pattern": object{"String": " "}, "content": "▁"}
	tok["normalizer"] = space
	steps := []object{
		{"type": "Replace", "pattern": object{"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
	}
	if spacePrefix {
		tok["normalizer"] = sequence("normalizers", object{"type": "Prepend", "prepend": "▁"}, space)
		steps = append(steps, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	tok["decoder"] = sequence("decoders", steps...)
	model := object{
		"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": true,
		"byte_fallback": true, "ignore_merges": false, "vocab": vocab, "merges": pairs,
	}
	if unk != "" {
		model["unk_token"] = unk
	}
	tok["model"] = model
	return tok, nil
}
