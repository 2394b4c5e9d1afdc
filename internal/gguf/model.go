package gguf

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Model is a GGUF file under the names, shapes and row order of transformers.
type Model struct {
	f      *File
	arch   string
	config map[string]any
	source map[string]string // transformers' tensor name to the file's
	heads  int               // of attention
	kv     int               // key-value heads
}

// architectures that are mapped, to transformers' classes.
var architectures = map[string]string{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}

// blockNames maps a block's tensors.
var blockNames = map[string]string{
	"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
	"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
	"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
	"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}

var outerNames = map[string]string{"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}

// Model maps the file. The error names the architecture, key or tensor that is
// not understood.
func (f *File) Model() (*Model, error) {
	arch, _ := f.Metadata["general.architecture"].(string)
	class, ok := architectures[arch]
	if !ok {
		return nil, grouse.Errorf(grouse.Invalid, "gguf %q: architecture %q is not supported", f.path, arch).WithFix("supported: llama, qwen2, qwen3")
	}
	m := &Model{f: f, arch: arch, source: map[string]string{}}
	if err := m.readConfig(class); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "gguf %q: %w", f.path, err)
	}
	if err := m.mapNames(); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "gguf %q: %w", f.path, err)
	}
	return m, nil
}

func (m *Model) mapNames() error {
	for _, name := range m.f.names {
		if name == "rope_freqs.weight" {
			continue // in the configuration
		}
		stem, kind := name, ""
		if i := strings.LastIndexByte(name, '.'); i > 0 {
			stem, kind = name[:i], name[i:]
		}
		to, ok := outerNames[stem]
		if rest, isBlock := strings.CutPrefix(stem, "blk."); isBlock {
			n, part, _ := strings.Cut(rest, ".")
			if _, err := strconv.ParseUint(n, 10, 31); err == nil {
				to, ok = blockNames[part]
				to = "model.layers." + n + "." + to
			}
		}
		if !ok || kind != ".weight" && kind != ".bias" {
			return fmt.Errorf("tensor %q is not known in architecture %s", name, m.arch)
		}
		m.source[to+kind] = name
	}
	return nil
}

// uint returns a whole number of the metadata, dflt if it is not there.
func (m *Model) uint(key string, dflt int) (int, error) {
	v, ok := m.f.Metadata[m.arch+"."+key]
	if !ok && dflt >= 0 {
		return dflt, nil
	}
	switch n := v.(type) {
	case uint64:
		if n < 1<<31 {
			return int(n), nil
		}
	case int64:
		if n >= 0 && n < 1<<31 {
			return int(n), nil
		}
	}
	return 0, fmt.Errorf("key %s.%s is %v, want a whole number", m.arch, key, v)
}

func (m *Model) float(key string, dflt float64) (float64, error) {
	v, ok := m.f.Metadata[m.arch+"."+key]
	if !ok && dflt >= 0 {
		return dflt, nil
	}
	x, ok := v.(float64)
	if !ok {
		return 0, fmt.Errorf("key %s.%s is %v, want a number", m.arch, key, v)
	}
	return x, nil
}

func (m *Model) readConfig(class string) error {
	c := map[string]any{
		"architectures": []string{class}, "model_type": m.arch, "hidden_act": "silu", "torch_dtype": "float32", "use_cache": true,
		"attention_dropout": 0.0, "initializer_range": 0.02,
	}
	var err error
	read := func(into, key string, dflt int) int {
		n, e := m.uint(key, dflt)
		if e != nil && err == nil {
			err = e
		}
		c[into] = n
		return n
	}
	read("num_hidden_layers", "block_count", -1)
	width := read("hidden_size", "embedding_length", -1)
	read("intermediate_size", "feed_forward_length", -1)
	m.heads = read("num_attention_heads", "attention.head_count", -1)
	m.kv = read("num_key_value_heads", "attention.head_count_kv", m.heads)
	read("max_position_embeddings", "context_length", -1)
	if err != nil {
		return err
	}
	if m.heads < 1 || m.kv < 1 || m.heads%m.kv != 0 {
		return fmt.Errorf("%d attention heads and %d key-value heads", m.heads, m.kv)
	}
	head := read("head_dim", "attention.key_length", width/m.heads)
	if c["rms_norm_eps"], err = m.float("attention.layer_norm_rms_epsilon", -1); err != nil {
		return err
	}
	// The file holds float32: print it as the short decimal it came from.
	c["rms_norm_eps"] = shortest(c["rms_norm_eps"].(float64))
	theta, err := m.float("rope.freq_base", 10000)
	if err != nil {
		return err
	}
	c["rope_theta"] = shortest(theta)
	if kind, ok := m.f.Metadata[m.arch+".rope.scaling.type"].(string); ok && kind != "none" {
		return fmt.Errorf("rope scaling of type %q is not supported", kind)
	}
	embed := m.f.Shape("token_embd.weight")
	if len(embed) != 2 || embed[1] != width {
		return fmt.Errorf("tensor %q has shape %v, want [vocabulary, %d]", "token_embd.weight", embed, width)
	}
	c["vocab_size"] = embed[0]
	c["tie_word_embeddings"] = m.f.Shape("output.weight") == nil
	c["attention_bias"] = m.f.Shape("blk.0.attn_q.bias") != nil
	c["mlp_bias"] = false
	if freqs := m.f.Shape("rope_freqs.weight"); freqs != nil {
		scaling, err := m.llama3Scaling(theta, head)
		if err != nil {
			return err
		}
		c["rope_scaling"] = scaling
	}
	for key, name := range map[string]string{"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"} {
		if id, ok := m.f.Metadata["tokenizer.ggml."+name].(uint64); ok {
			c[key] = id
		}
	}
	m.config = c
	return nil
}

// shortest returns the shortest decimal that is the same float32.
func shortest(x float64) float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', -1, 32), 64)
	return v
}

// llama3Scaling finds the parameters of Llama 3's rope scaling in the file's table
// of frequency divisors: low 1, high 4, original length 8192 and the table's
// largest divisor must give the table.
func (m *Model) llama3Scaling(theta float64, head int) (map[string]any, error) {
	shape := m.f.Shape("rope_freqs.weight")
	if len(shape) != 1 || shape[0] != head/2 {
		return nil, fmt.Errorf("tensor %q has shape %v, want [%d]", "rope_freqs.weight", shape, head/2)
	}
	divisors := make([]float32, shape[0])
	if err := m.f.Float32("rope_freqs.weight", divisors); err != nil {
		return nil, err
	}
	const low, high, original = 1.0, 4.0, 8192.0
	factor := float64(slices.Max(divisors))
	for i, d := range divisors {
		wavelength := 2 * math.Pi * math.Pow(theta, 2*float64(i)/float64(head))
		want := 1.0
		switch {
		case wavelength > original/low:
			want = factor
		case wavelength >= original/high:
			s := (original/wavelength - low) / (high - low)
			want = 1 / ((1-s)/factor + s)
		}
		if math.Abs(float64(d)-want) > 1e-4*want {
			return nil, fmt.Errorf("tensor %q is not Llama 3's rope scaling (divisor %d is %v, want %v)", "rope_freqs.weight", i, d, want)
		}
	}
	return map[string]any{"rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high, "original_max_position_embeddings": int(original)}, nil
}

// ConfigJSON returns the model's config.json as transformers writes it.
func (m *Model) ConfigJSON() []byte {
	raw, err := json.MarshalIndent(m.config, "", "  ")
	if err != nil {
		panic(err) // numbers, strings and bools only
	}
	return append(raw, '\n')
}

// Names returns the tensors under transformers' names, sorted.
func (m *Model) Names() []string {
	names := make([]string, 0, len(m.source))
	for n := range m.source {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Shape returns a tensor's shape, nil if there is none of the name.
func (m *Model) Shape(name string) []int { return m.f.Shape(m.source[name]) }

// Float32 dequantizes a tensor, row-major, into dst of its size. Rows of the
// llama architecture's query and key matrices come in transformers' order.
func (m *Model) Float32(name string, dst []float32) error {
	from, ok := m.source[name]
	if !ok {
		return grouse.Errorf(grouse.NotFound, "gguf %q: there is no tensor %q", m.f.path, name)
	}
	if err := m.f.Float32(from, dst); err != nil {
		return err
	}
	heads := m.permuted(name)
	if heads == 0 {
		return nil
	}
	rows := m.f.Shape(from)[0]
	if rows%(2*heads) != 0 {
		return grouse.Errorf(grouse.Corrupt, "gguf %q: tensor %q has %d rows for %d heads", m.f.path, from, rows, heads)
	}
	interleave(dst, rows, heads, false)
	return nil
}

// permuted returns the heads of a tensor whose rows llama.cpp keeps in another
// order, 0 for the others.
func (m *Model) permuted(name string) int {
	if m.arch != "llama" {
		return 0
	}
	switch {
	case strings.Contains(name, ".self_attn.q_proj."):
		return m.heads
	case strings.Contains(name, ".self_attn.k_proj."):
		return m.kv
	}
	return 0
}

// interleave reorders the rows of each head between transformers' order (the
// first halves of all rotary pairs, then the second) and llama.cpp's (pair after
// pair). toPairs goes to llama.cpp's.
func interleave(data []float32, rows, heads int, toPairs bool) {
	width := len(data) / rows
	per := rows / heads
	old := make([]float32, per*width)
	for h := range heads {
		block := data[h*per*width : (h+1)*per*width]
		copy(old, block)
		for i := range per {
			half, pair := i, i/(per/2)+i%(per/2)*2 // row i in halves order is this one in pairs order
			from, to := pair, half
			if toPairs {
				from, to = half, pair
			}
			copy(block[to*width:(to+1)*width], old[from*width:(from+1)*width])
		}
	}
}

// Close closes the file.
func (m *Model) Close() error { return m.f.Close() }
