package gguf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Source gives tensors by transformers' names: a checkpoint's weights.
type Source interface {
	Names() []string
	Shape(name string) []int
	Float32(name string, dst []float32) error
}

// ExportInput is a model in the form of a Hugging Face folder.
type ExportInput struct {
	Name      string
	Config    []byte            // config.json
	Tokenizer map[string][]byte // the tokenizer's files, by name
	Weights   Source
	Type      Type // of matrices: F32, F16, BF16 or Q8_0; vectors stay F32
}

type exportConfig struct {
	ModelType    string         `json:"model_type"`
	Layers       int            `json:"num_hidden_layers"`
	Width        int            `json:"hidden_size"`
	FeedForward  int            `json:"intermediate_size"`
	Heads        int            `json:"num_attention_heads"`
	KVHeads      int            `json:"num_key_value_heads"`
	HeadDim      int            `json:"head_dim"`
	Context      int            `json:"max_position_embeddings"`
	Eps          float64        `json:"rms_norm_eps"`
	Theta        float64        `json:"rope_theta"`
	RopeScaling  map[string]any `json:"rope_scaling"`
	RopeParams   map[string]any `json:"rope_parameters"`
	Vocab        int            `json:"vocab_size"`
	Architecture []string       `json:"architectures"`
}

// Export writes a model as GGUF. The architectures are those that [File.Model]
// reads; tokenizers must be byte-level BPE with a splitting rule that llama.cpp
// has a name for.
func Export(w io.Writer, in ExportInput) error {
	var c exportConfig
	if err := json.Unmarshal(in.Config, &c); err != nil {
		return grouse.Errorf(grouse.Invalid, "export gguf: config.json: %w", err)
	}
	if _, ok := architectures[c.ModelType]; !ok {
		return grouse.Errorf(grouse.Invalid, "export gguf: architecture %q is not supported", c.ModelType).WithFix("supported: llama, qwen2, qwen3; `--format hf` writes any model")
	}
	if c.Theta == 0 {
		c.Theta, _ = c.RopeParams["rope_theta"].(float64)
	}
	if kind, _ := c.RopeParams["rope_type"].(string); c.RopeScaling != nil || kind != "" && kind != "default" {
		return grouse.Errorf(grouse.Invalid, "export gguf: rope scaling cannot be exported").WithFix("use `--format hf`")
	}
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.Heads < 1 || c.KVHeads < 1 || c.Theta == 0 {
		return grouse.Errorf(grouse.Invalid, "export gguf: config.json has %d heads, %d key-value heads, rope_theta %v", c.Heads, c.KVHeads, c.Theta)
	}
	if c.HeadDim == 0 {
		c.HeadDim = c.Width / c.Heads
	}
	arch := c.ModelType
	meta := []KV{
		{"general.architecture", arch}, {"general.name", in.Name}, {"general.type", "model"}, {"general.alignment", uint32(defaultAlign)},
		{arch + ".block_count", uint32(c.Layers)}, {arch + ".context_length", uint32(c.Context)}, {arch + ".embedding_length", uint32(c.Width)},
		{arch + ".feed_forward_length", uint32(c.FeedForward)}, {arch + ".attention.head_count", uint32(c.Heads)}, {arch + ".attention.head_count_kv", uint32(c.KVHeads)},
		{arch + ".attention.key_length", uint32(c.HeadDim)}, {arch + ".attention.value_length", uint32(c.HeadDim)}, {arch + ".rope.dimension_count", uint32(c.HeadDim)},
		{arch + ".attention.layer_norm_rms_epsilon", float32(c.Eps)}, {arch + ".rope.freq_base", float32(c.Theta)}, {arch + ".vocab_size", uint32(c.Vocab)},
	}
	tok, err := exportTokenizer(in.Tokenizer, c.Vocab)
	if err != nil {
		return grouse.Errorf(grouse.Invalid, "export gguf: tokenizer: %w", err).WithFix("`--format hf` writes any tokenizer")
	}
	tensors, err := exportTensors(in, arch, c.Heads, c.KVHeads)
	if err != nil {
		return grouse.Errorf(grouse.Invalid, "export gguf: %w", err)
	}
	return Write(w, append(meta, tok...), tensors)
}

func exportTensors(in ExportInput, arch string, heads, kv int) ([]Tensor, error) {
	outer, block := map[string]string{}, map[string]string{}
	for k, v := range outerNames {
		outer[v] = k
	}
	for k, v := range blockNames {
		block[v] = k
	}
	m := &Model{arch: arch, heads: heads, kv: kv}
	var tensors []Tensor
	for _, name := range in.Weights.Names() {
		i := strings.LastIndexByte(name, '.')
		if i < 0 {
			return nil, fmt.Errorf("tensor %q is not known", name)
		}
		to, ok := outer[name[:i]]
		if rest, isBlock := strings.CutPrefix(name[:i], "model.layers."); isBlock {
			n, part, _ := strings.Cut(rest, ".")
			to, ok = block[part]
			to = "blk." + n + "." + to
		}
		if !ok {
			return nil, fmt.Errorf("tensor %q is not known", name)
		}
		shape := in.Weights.Shape(name)
		t := Tensor{Name: to + name[i:], Shape: shape, Type: F32}
		if len(shape) > 1 {
			t.Type = in.Type
			if shape[len(shape)-1]%layouts[t.Type].elems != 0 {
				t.Type = F16 // rows that are not whole blocks
			}
		}
		permuted := m.permuted(name)
		t.Data = func() ([]float32, error) {
			size := 1
			for _, d := range shape {
				size *= d
			}
			data := make([]float32, size)
			if err := in.Weights.Float32(name, data); err != nil {
				return nil, err
			}
			if permuted > 0 {
				interleave(data, shape[0], permuted, true)
			}
			return data, nil
		}
		tensors = append(tensors, t)
	}
	return tensors, nil
}

// exportTokenizer returns the metadata of a byte-level BPE.
func exportTokenizer(files map[string][]byte, size int) ([]KV, error) {
	var t struct {
		AddedTokens []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
			Special bool   `json:"special"`
		} `json:"added_tokens"`
		PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
		PostProcessor struct {
			Type string `json:"type"`
		} `json:"post_processor"`
		Decoder struct {
			Type string `json:"type"`
		} `json:"decoder"`
		Model struct {
			Type   string            `json:"type"`
			Vocab  map[string]int    `json:"vocab"`
			Merges []json.RawMessage `json:"merges"`
		} `json:"model"`
	}
	if err := json.Unmarshal(files["tokenizer.json"], &t); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	if t.Model.Type != "BPE" || t.Decoder.Type != "ByteLevel" {
		return nil, fmt.Errorf("a %s model with a %s decoder cannot be exported, only byte-level BPE", t.Model.Type, t.Decoder.Type)
	}
	pre, err := nameOfSplit(t.PreTokenizer)
	if err != nil {
		return nil, err
	}
	tokens, types := make([]string, size), make([]int32, size)
	for i := range tokens {
		tokens[i], types[i] = fmt.Sprintf("[PAD%d]", i), 5 // unused
	}
	put := func(token string, id int, kind int32) error {
		if id < 0 || id >= size {
			return fmt.Errorf("token %q has id %d in a vocabulary of %d", token, id, size)
		}
		tokens[id], types[id] = token, kind
		return nil
	}
	for token, id := range t.Model.Vocab {
		if err := put(token, id, tokenNormal); err != nil {
			return nil, err
		}
	}
	for _, a := range t.AddedTokens {
		kind := int32(tokenUser)
		if a.Special {
			kind = tokenControl
		}
		if err := put(a.Content, a.ID, kind); err != nil {
			return nil, err
		}
	}
	merges := make([]string, len(t.Model.Merges))
	for i, raw := range t.Model.Merges {
		var pair [2]string
		if err := json.Unmarshal(raw, &merges[i]); err == nil {
			continue
		}
		if err := json.Unmarshal(raw, &pair); err != nil {
			return nil, fmt.Errorf("merge %d: %w", i, err)
		}
		merges[i] = pair[0] + " " + pair[1]
	}
	kv := []KV{
		{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", pre}, {"tokenizer.ggml.tokens", tokens},
		{"tokenizer.ggml.token_type", types}, {"tokenizer.ggml.merges", merges},
		{"tokenizer.ggml.add_bos_token", bytes.Contains(files["tokenizer.json"], []byte(`"TemplateProcessing"`)) && t.PostProcessor.Type != "ByteLevel"},
	}
	special, template := namedTokens(files)
	for _, key := range []string{"bos", "eos", "pad", "unk"} {
		if id := slices.Index(tokens, special[key]); special[key] != "" && id >= 0 {
			name := map[string]string{"bos": "bos_token_id", "eos": "eos_token_id", "pad": "padding_token_id", "unk": "unknown_token_id"}[key]
			kv = append(kv, KV{"tokenizer.ggml." + name, uint32(id)})
		}
	}
	if template != "" {
		kv = append(kv, KV{"tokenizer.chat_template", template})
	}
	return kv, nil
}

// namedTokens returns the special tokens of tokenizer_config.json and the chat
// template.
func namedTokens(files map[string][]byte) (special map[string]string, template string) {
	special = map[string]string{}
	var c map[string]any
	if json.Unmarshal(files["tokenizer_config.json"], &c) != nil {
		c = nil
	}
	for _, key := range []string{"bos", "eos", "pad", "unk"} {
		switch v := c[key+"_token"].(type) {
		case string:
			special[key] = v
		case map[string]any:
			special[key], _ = v["content"].(string)
		}
	}
	template, _ = c["chat_template"].(string)
	if b, ok := files["chat_template.jinja"]; ok {
		template = string(b)
	}
	return special, template
}

// nameOfSplit returns llama.cpp's name of a pre_tokenizer.
func nameOfSplit(raw json.RawMessage) (string, error) {
	type step struct {
		Type    string `json:"type"`
		Pattern struct {
			Regex string `json:"Regex"`
		} `json:"pattern"`
		Steps []json.RawMessage `json:"pretokenizers"`
	}
	var all []string
	var walk func(raw json.RawMessage) error
	walk = func(raw json.RawMessage) error {
		var s step
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		if s.Type == "Sequence" {
			for _, r := range s.Steps {
				if err := walk(r); err != nil {
					return err
				}
			}
			return nil
		}
		all = append(all, s.Type+" "+s.Pattern.Regex)
		return nil
	}
	if err := walk(raw); err != nil {
		return "", fmt.Errorf("pre_tokenizer: %w", err)
	}
	for _, pre := range []string{"gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-v3"} {
		known, _, err := preTokenizer(pre)
		if err != nil {
			return "", err
		}
		want, err := json.Marshal(known)
		if err != nil {
			return "", err
		}
		got := all
		all = nil
		if err := walk(want); err != nil {
			return "", err
		}
		want2 := all
		all = got
		if slices.Equal(got, want2) {
			return pre, nil
		}
	}
	return "", fmt.Errorf("its splitting rule has no name in llama.cpp: %s", strings.Join(all, ", "))
}
