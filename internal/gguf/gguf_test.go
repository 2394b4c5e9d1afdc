package gguf_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/gguf"
	"github.com/grouse-rl/grouse/internal/tokenizer"
)

// testdata is written by scripts/golden/gguf_golden.py.
func TestDequantizesAsTheGGUFPackage(t *testing.T) {
	var want map[string][]float32
	raw, err := os.ReadFile("testdata/quants.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil || len(want) < 9 {
		t.Fatal(len(want), err)
	}
	f, err := gguf.Open("testdata/quants.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, w := range want {
		got := make([]float32, len(w))
		if err := f.Float32(name, got); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			// numpy multiplies in another order for some types: one unit in the last place.
			if d := math.Abs(float64(got[i] - w[i])); d > 1.2e-7*math.Abs(float64(w[i]))+1e-7*maxAbs(w) {
				t.Fatalf("%s[%d]: got %v, want %v", name, i, got[i], w[i])
			}
		}
		if name != "vector" && !slices.Equal(f.Shape(name), []int{3, 512}) {
			t.Errorf("%s: shape %v", name, f.Shape(name))
		}
	}
	for key, v := range map[string]any{
		"test.string": "é🙂", "test.u32": uint64(7), "test.i8": int64(-3), "test.f32": .5, "test.f64": .1, "test.bool": true,
		"test.strings": []string{"a", "", "b c"}, "test.ints": []int64{1, -2, 3}, "test.floats": []float64{.5, 1.5},
	} {
		if fmt.Sprint(f.Metadata[key]) != fmt.Sprint(v) {
			t.Errorf("%s: got %v, want %v", key, f.Metadata[key], v)
		}
	}
}

func maxAbs(x []float32) float64 {
	m := 0.0
	for _, v := range x {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}

// weights is a model in memory.
type weights map[string]tensor

type tensor struct {
	shape []int
	data  []float32
}

func (w weights) Names() []string {
	var names []string
	for n := range w {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
func (w weights) Shape(name string) []int { return w[name].shape }
func (w weights) Float32(name string, dst []float32) error {
	copy(dst, w[name].data)
	return nil
}

func count(shape ...int) tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	t := tensor{shape: shape, data: make([]float32, n)}
	for i := range t.data {
		t.data[i] = float32(i%251) / 8
	}
	return t
}

const config = `{"architectures":["LlamaForCausalLM"],"model_type":"llama","num_hidden_layers":1,"hidden_size":64,"intermediate_size":96,"num_attention_heads":4,
"num_key_value_heads":2,"head_dim":16,"max_position_embeddings":128,"rms_norm_eps":1e-05,"rope_theta":10000.0,"vocab_size":910,"tie_word_embeddings":true}`

func tiny() weights {
	return weights{
		"model.embed_tokens.weight": count(910, 64), "model.norm.weight": count(64),
		"model.layers.0.input_layernorm.weight": count(64), "model.layers.0.post_attention_layernorm.weight": count(64),
		"model.layers.0.self_attn.q_proj.weight": count(64, 64), "model.layers.0.self_attn.k_proj.weight": count(32, 64),
		"model.layers.0.self_attn.v_proj.weight": count(32, 64), "model.layers.0.self_attn.o_proj.weight": count(64, 64),
		"model.layers.0.mlp.gate_proj.weight": count(96, 64), "model.layers.0.mlp.up_proj.weight": count(96, 64), "model.layers.0.mlp.down_proj.weight": count(64, 96),
	}
}

func tokenizerFiles(t *testing.T, kind string) map[string][]byte {
	t.Helper()
	raw, err := os.ReadFile("../tokenizer/testdata/" + kind + "/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"tokenizer.json":        raw,
		"tokenizer_config.json": []byte(`{"eos_token":"<|im_end|>","bos_token":"<|im_start|>"}`),
		"chat_template.jinja":   []byte("{{ messages }}"),
	}
}

func export(t *testing.T, kind string, typ gguf.Type) []byte {
	t.Helper()
	var buf bytes.Buffer
	err := gguf.Export(&buf, gguf.ExportInput{Name: "tiny", Config: []byte(config), Tokenizer: tokenizerFiles(t, kind), Weights: tiny(), Type: typ})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// What is exported reads back as the same model: weights, configuration, token
// ids of every text of the tokenizer's corpus.
func TestExportReadsBack(t *testing.T) {
	for _, kind := range []string{"gpt2", "smollm", "llama3", "qwen2", "deepseek"} {
		raw := export(t, kind, gguf.F32)
		f, err := gguf.NewFile(bytes.NewReader(raw), int64(len(raw)), "memory")
		if err != nil {
			t.Fatal(err)
		}
		m, err := f.Model()
		if err != nil {
			t.Fatal(err)
		}
		want := tiny()
		if !slices.Equal(m.Names(), want.Names()) {
			t.Errorf("names %v", m.Names())
		}
		for n, w := range want {
			got := make([]float32, len(w.data))
			if err := m.Float32(n, got); err != nil || !slices.Equal(got, w.data) || !slices.Equal(m.Shape(n), w.shape) {
				t.Errorf("%s differs (%v)", n, err)
			}
		}
		var back, orig map[string]any
		json.Unmarshal(m.ConfigJSON(), &back)
		json.Unmarshal([]byte(config), &orig)
		for key, v := range orig {
			if fmt.Sprint(back[key]) != fmt.Sprint(v) {
				t.Errorf("config %s: got %v, want %v", key, back[key], v)
			}
		}
		files, err := m.TokenizerFiles()
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.Parse(files)
		if err != nil {
			t.Fatal(err)
		}
		first, err := tokenizer.Parse(tokenizerFiles(t, kind))
		if err != nil {
			t.Fatal(err)
		}
		var golden struct{ Encode []struct{ Text string } }
		rows, err := os.ReadFile("../tokenizer/testdata/" + kind + "/golden.json")
		if err != nil {
			t.Fatal(err)
		}
		json.Unmarshal(rows, &golden)
		compared := 0
		for _, r := range golden.Encode {
			// GGUF does not hold strip and single_word of added tokens.
			if strings.Contains(r.Text, "strip") || strings.Contains(r.Text, "word") {
				continue
			}
			compared++
			if a, b := first.Encode(r.Text, true), tok.Encode(r.Text, true); !slices.Equal(a, b) {
				t.Errorf("%s: %q: %v became %v", kind, r.Text, a, b)
			}
		}
		if compared < 90 || tok.EOS() != 2 || tok.ChatTemplate() != "{{ messages }}" {
			t.Errorf("%d texts, eos %d, template %q", compared, tok.EOS(), tok.ChatTemplate())
		}
	}
}

func TestQ8Export(t *testing.T) {
	raw := export(t, "gpt2", gguf.Q8_0)
	f, err := gguf.NewFile(bytes.NewReader(raw), int64(len(raw)), "memory")
	if err != nil {
		t.Fatal(err)
	}
	if typ, _ := f.TypeOf("blk.0.attn_v.weight"); typ != gguf.Q8_0 {
		t.Errorf("type %v", typ)
	}
	want := tiny()["model.layers.0.self_attn.v_proj.weight"].data
	got := make([]float32, len(want))
	if err := f.Float32("blk.0.attn_v.weight", got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if math.Abs(float64(got[i]-want[i])) > 250.0/8/127*.51 {
			t.Fatalf("%d: %v became %v", i, want[i], got[i])
		}
	}
}

// A SentencePiece vocabulary becomes a BPE that merges by score.
func TestSentencePieceVocabulary(t *testing.T) {
	tokens := []string{"<unk>", "<s>", "</s>"}
	types := []int32{2, 3, 3}
	scores := []float32{0, 0, 0}
	for b := range 256 {
		tokens, types, scores = append(tokens, fmt.Sprintf("<0x%02X>", b)), append(types, 6), append(scores, 0)
	}
	for i, piece := range []string{"▁a", "ab", "▁ab", "▁", "a", "b", "c", "abc"} {
		tokens, types, scores = append(tokens, piece), append(types, 1), append(scores, float32(-i))
	}
	meta := []gguf.KV{
		{Key: "general.architecture", Value: "llama"}, {Key: "llama.block_count", Value: uint32(0)}, {Key: "llama.embedding_length", Value: uint32(32)}, {Key: "llama.feed_forward_length", Value: uint32(32)},
		{Key: "llama.attention.head_count", Value: uint32(2)}, {Key: "llama.context_length", Value: uint32(8)}, {Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-6)},
		{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.tokens", Value: tokens}, {Key: "tokenizer.ggml.token_type", Value: types}, {Key: "tokenizer.ggml.scores", Value: scores},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)}, {Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
	}
	embed := gguf.Tensor{Name: "token_embd.weight", Shape: []int{len(tokens), 32}, Type: gguf.F16, Data: func() ([]float32, error) { return make([]float32, len(tokens)*32), nil }}
	var buf bytes.Buffer
	if err := gguf.Write(&buf, meta, []gguf.Tensor{embed}); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.NewFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()), "memory")
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.Model()
	if err != nil {
		t.Fatal(err)
	}
	files, err := m.TokenizerFiles()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(files)
	if err != nil {
		t.Fatal(err)
	}
	id := func(s string) int32 { n, _ := tok.ID(s); return n }
	for text, want := range map[string][]int32{
		"abc": {1, id("▁ab"), id("c")},                   // ▁a first, then ▁ab
		"cab": {1, id("▁"), id("c"), id("ab")},           //
		"aé":  {1, id("▁a"), id("<0xC3>"), id("<0xA9>")}, // bytes of what is not there
		"a a": {1, id("▁a"), id("▁a")},                   //
	} {
		if got := tok.Encode(text, true); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
		if got := tok.Decode(tok.Encode(text, true), true); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

// patch returns raw with the bytes at the first occurrence of find replaced.
func patch(raw []byte, find, with string) []byte {
	return bytes.Replace(raw, []byte(find), []byte(with), 1)
}

func TestRefuses(t *testing.T) {
	good := export(t, "gpt2", gguf.F32)
	le := binary.LittleEndian
	u64 := func(v uint64) string { return string(le.AppendUint64(nil, v)) }
	head := string(good[:24])
	for name, raw := range map[string][]byte{
		"empty":        nil,
		"magic":        patch(good, "GGUF", "GGML"),
		"version":      []byte("GGUF\x09\x00\x00\x00" + head[8:]),
		"tensor count": []byte(head[:8] + u64(1<<60) + head[16:] + string(good[24:])),
		"key count":    []byte(head[:16] + u64(1<<60) + string(good[24:])),
		"key length":   []byte(head + u64(1<<62) + string(good[32:])),
		"cut":          good[:len(good)/3],
		"cut data":     good[:len(good)-4096],
		"offset":       patch(good, "blk.0.attn_k.weight\x02\x00\x00\x00"+u64(64)+u64(32)+"\x00\x00\x00\x00", "blk.0.attn_k.weight\x02\x00\x00\x00"+u64(1<<40)+u64(1<<20)+"\x00\x00\x00\x00"),
		"unknown type": patch(good, "blk.0.attn_k.weight\x02\x00\x00\x00"+u64(64)+u64(32)+"\x00\x00\x00\x00", "blk.0.attn_k.weight\x02\x00\x00\x00"+u64(64)+u64(32)+"\x0a\x00\x00\x00"),
	} {
		if name != "cut" && name != "empty" && bytes.Equal(raw, good) {
			t.Fatalf("%s: the file was not changed", name)
		}
		if _, err := gguf.NewFile(bytes.NewReader(raw), int64(len(raw)), "f"); grouse.KindOf(err) != grouse.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, raw := range map[string][]byte{
		`architecture "gemma"`:  patch(good, "general.architecture\x08\x00\x00\x00"+u64(5)+"llama", "general.architecture\x08\x00\x00\x00"+u64(5)+"gemma"),
		`"blk.0.attn_z.weight"`: patch(good, "blk.0.attn_k.weight", "blk.0.attn_z.weight"),
		"llama.block_count":     patch(good, "llama.block_count", "llama.block_xount"),
	} {
		f, err := gguf.NewFile(bytes.NewReader(raw), int64(len(raw)), "f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Model(); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	var buf bytes.Buffer
	in := gguf.ExportInput{Config: []byte(config), Tokenizer: map[string][]byte{"tokenizer.json": []byte(`{"model":{"type":"WordLevel","vocab":{"a":0}}}`)}, Weights: tiny()}
	if err := gguf.Export(&buf, in); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "WordLevel") {
		t.Errorf("word-level export: %v", err)
	}
}

func FuzzNewFile(f *testing.F) {
	raw, err := os.ReadFile("testdata/quants.gguf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	var buf bytes.Buffer
	gguf.Write(&buf, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "a", Value: []string{"x"}}}, []gguf.Tensor{{Name: "token_embd.weight", Shape: []int{1, 32}, Type: gguf.Q8_0, Data: func() ([]float32, error) { return make([]float32, 32), nil }}})
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := gguf.NewFile(bytes.NewReader(raw), int64(len(raw)), "fuzz")
		if err != nil {
			return
		}
		for _, n := range file.Names() {
			size := 1
			for _, d := range file.Shape(n) {
				size *= d
			}
			if err := file.Float32(n, make([]float32, size)); err != nil {
				t.Fatalf("%s: %v", n, err)
			}
		}
		if m, err := file.Model(); err == nil {
			m.TokenizerFiles()
		}
	})
}
