package tokenizer_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tokenizer"
)

// golden is what the tokenizers package gives; scripts/golden/tokenizer_golden.py
// writes it.
type golden struct {
	VocabSize int `json:"vocab_size"`
	Encode    []struct {
		Text             string
		IDs, Special     []int32
		Decoded, Skipped string
	}
	Decode []struct {
		IDs              []int32
		Decoded, Skipped string
	}
}

func folders(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("testdata/*/golden.json")
	if err != nil || len(found) < 12 {
		t.Fatalf("%d golden folders: %v", len(found), err)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found
}

func load(t *testing.T, dir string) (*tokenizer.Tokenizer, golden) {
	t.Helper()
	tok, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	raw, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return tok, g
}

func TestSameIDsAsTokenizers(t *testing.T) {
	for _, dir := range folders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			tok, g := load(t, dir)
			if len(g.Encode) < 100 {
				t.Fatalf("only %d texts", len(g.Encode))
			}
			if tok.VocabSize() != g.VocabSize {
				t.Errorf("vocabulary: got %d, want %d", tok.VocabSize(), g.VocabSize)
			}
			for _, c := range g.Encode {
				if got := tok.Encode(c.Text, false); !slices.Equal(got, c.IDs) {
					t.Errorf("encode %q:\n got %v\nwant %v", c.Text, got, c.IDs)
				}
				if got := tok.Encode(c.Text, true); !slices.Equal(got, c.Special) {
					t.Errorf("encode %q with special tokens:\n got %v\nwant %v", c.Text, got, c.Special)
				}
				if got := tok.Decode(c.IDs, false); got != c.Decoded {
					t.Errorf("decode of %q:\n got %q\nwant %q", c.Text, got, c.Decoded)
				}
				if got := tok.Decode(c.IDs, true); got != c.Skipped {
					t.Errorf("decode of %q without special tokens:\n got %q\nwant %q", c.Text, got, c.Skipped)
				}
			}
			for _, c := range g.Decode {
				if got := tok.Decode(c.IDs, false); got != c.Decoded {
					t.Errorf("decode %v:\n got %q\nwant %q", c.IDs, got, c.Decoded)
				}
				if got := tok.Decode(c.IDs, true); got != c.Skipped {
					t.Errorf("decode %v without special tokens:\n got %q\nwant %q", c.IDs, got, c.Skipped)
				}
			}
		})
	}
}

// A stream's pieces are valid UTF-8 and join to what Decode gives, wherever the
// characters are cut.
func TestStreamEqualsDecode(t *testing.T) {
	for _, dir := range folders(t) {
		tok, g := load(t, dir)
		for _, c := range g.Encode {
			for _, skip := range []bool{false, true} {
				var b strings.Builder
				s := tok.NewStream(skip)
				for _, id := range c.IDs {
					piece := s.Push(id)
					if !utf8.ValidString(piece) {
						t.Fatalf("%s: %q is not UTF-8", dir, piece)
					}
					b.WriteString(piece)
				}
				b.WriteString(s.Flush())
				if want := tok.Decode(c.IDs, skip); b.String() != want {
					t.Errorf("%s: stream of %q:\n got %q\nwant %q", dir, c.Text, b.String(), want)
				}
			}
		}
	}
}

func TestStreamHoldsBackHalfCharacters(t *testing.T) {
	tok, _ := load(t, "testdata/gpt2")
	s := tok.NewStream(false)
	var pieces []string
	for _, b := range []byte("é🙂") {
		id, ok := tok.ID(string([]rune(map[byte]string{0xc3: "Ã", 0xa9: "©", 0xf0: "ð", 0x9f: "Ł", 0x99: "Ļ", 0x82: "Ĥ"}[b])))
		if !ok {
			t.Fatalf("no token for byte %#x", b)
		}
		pieces = append(pieces, s.Push(id))
	}
	if want := []string{"", "é", "", "", "", "🙂"}; !slices.Equal(pieces, want) {
		t.Errorf("got %q, want %q", pieces, want)
	}
	id, _ := tok.ID("ð")
	if got := s.Push(id) + s.Flush(); got != "\ufffd" {
		t.Errorf("cut character: %q", got)
	}
}

func TestTinyAddModel(t *testing.T) {
	tok, err := tokenizer.Load("testdata/tiny-add")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode("7+8=15<eos>", true), []int32{10, 13, 11, 17, 4, 8, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := tok.Decode([]int32{4, 8, 1}, true); got != "15" {
		t.Errorf("decoded %q", got)
	}
	if tok.VocabSize() != 64 || tok.EOS() != 1 || tok.PAD() != 0 || tok.UNK() != 2 || tok.BOS() != tokenizer.None || !slices.Equal(tok.StopIDs(), []int32{1}) {
		t.Errorf("vocabulary %d, eos %d, pad %d, unk %d, bos %d, stop %v", tok.VocabSize(), tok.EOS(), tok.PAD(), tok.UNK(), tok.BOS(), tok.StopIDs())
	}
	if got := tok.Encode("é", false); !slices.Equal(got, []int32{2}) {
		t.Errorf("unknown character: %v", got)
	}
}

func TestConfigsAndFiles(t *testing.T) {
	raw, err := os.ReadFile("testdata/gpt2/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"tokenizer.json":         raw,
		"tokenizer_config.json":  []byte(`{"bos_token": {"content": "<|im_start|>"}, "eos_token": "<|im_end|>", "pad_token": null, "chat_template": [{"name": "tool", "template": "no"}, {"name": "default", "template": "yes"}]}`),
		"generation_config.json": []byte(`{"eos_token_id": [2, 0]}`),
		"config.json":            []byte(`{"eos_token_id": 2}`),
	}
	tok, err := tokenizer.Parse(files)
	if err != nil {
		t.Fatal(err)
	}
	if tok.BOS() != 1 || tok.EOS() != 2 || tok.PAD() != tokenizer.None || !slices.Equal(tok.StopIDs(), []int32{0, 2}) || tok.ChatTemplate() != "yes" {
		t.Errorf("bos %d eos %d pad %d stop %v template %q", tok.BOS(), tok.EOS(), tok.PAD(), tok.StopIDs(), tok.ChatTemplate())
	}
	got := tok.Files()
	if string(got["tokenizer.json"]) != string(raw) || len(got) != 3 {
		t.Errorf("files were changed: %d", len(got))
	}
}

func TestCharacters(t *testing.T) {
	tok, err := tokenizer.Characters(tokenizer.CharactersSpec{Characters: "0123456789+=; \n\"é", Special: []string{"<think>", "</think>"}, ChatTemplate: "{{ messages }}"})
	if err != nil {
		t.Fatal(err)
	}
	text := "<think>1+2\n=é</think>"
	ids := tok.Encode(text, true)
	if want := []int32{3, 6, 15, 7, 19, 16, 21, 4}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
	if got := tok.Decode(ids, false); got != text {
		t.Errorf("decoded %q", got)
	}
	if tok.EOS() != 1 || tok.PAD() != 0 || tok.ChatTemplate() == "" || tok.VocabSize() != 22 {
		t.Errorf("eos %d pad %d vocabulary %d", tok.EOS(), tok.PAD(), tok.VocabSize())
	}
	// The same bytes each time: they are part of a checkpoint's hash. transformers.json is what
	// transformers.AutoTokenizer gives for these files (scripts/golden/characters_golden.py).
	for name, raw := range tok.Files() {
		want, err := os.ReadFile(filepath.Join("testdata/characters", name))
		if err != nil || string(want) != string(raw) {
			t.Errorf("%s differs from testdata (%v)", name, err)
		}
	}
	var g []struct {
		Text  string
		IDs   []int32
		Text2 string `json:"decoded"`
	}
	raw, err := os.ReadFile("testdata/characters/transformers.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g); err != nil || len(g) < 4 {
		t.Fatal(err, len(g))
	}
	for _, c := range g {
		if got := tok.Encode(c.Text, true); !slices.Equal(got, c.IDs) {
			t.Errorf("%q: got %v, transformers has %v", c.Text, got, c.IDs)
		}
		if got := tok.Decode(c.IDs, true); got != c.Text2 {
			t.Errorf("%q: decoded %q, transformers has %q", c.Text, got, c.Text2)
		}
	}
	for _, bad := range []tokenizer.CharactersSpec{{}, {Characters: "aa"}, {Characters: "a", Special: []string{"x"}}, {Characters: "\xff"}, {Characters: "a", Special: []string{"<eos>"}}} {
		if _, err := tokenizer.Characters(bad); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct{ json, want string }{
		"no json":        {`{`, "tokenizer.json"},
		"no vocabulary":  {`{"model":{"type":"BPE","vocab":{},"merges":[]}}`, "empty"},
		"unigram":        {`{"model":{"type":"Unigram","vocab":{"a":0}}}`, `"Unigram" is not supported`},
		"id bomb":        {`{"model":{"type":"WordLevel","vocab":{"a":2000000000}}}`, "outside"},
		"negative id":    {`{"model":{"type":"WordLevel","vocab":{"a":-1}}}`, "outside"},
		"added bomb":     {`{"added_tokens":[{"id":99999999,"content":"x"}],"model":{"type":"WordLevel","vocab":{"a":0}}}`, "outside"},
		"merge unknown":  {`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`, "merge 0"},
		"merge form":     {`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}`, "not two tokens"},
		"normalizer":     {`{"normalizer":{"type":"Precompiled"},"model":{"type":"WordLevel","vocab":{"a":0}}}`, `normalizer of type "Precompiled"`},
		"pre_tokenizer":  {`{"pre_tokenizer":{"type":"UnicodeScripts"},"model":{"type":"WordLevel","vocab":{"a":0}}}`, `"UnicodeScripts"`},
		"decoder":        {`{"decoder":{"type":"CTC"},"model":{"type":"WordLevel","vocab":{"a":0}}}`, `"CTC"`},
		"post_processor": {`{"post_processor":{"type":"BertProcessing"},"model":{"type":"WordLevel","vocab":{"a":0}}}`, `"BertProcessing"`},
		"template id":    {`{"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"s"}}],"special_tokens":{"s":{"ids":[9]}}},"model":{"type":"WordLevel","vocab":{"a":0}}}`, "not in the vocabulary"},
		"pattern":        {`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"},"model":{"type":"WordLevel","vocab":{"a":0}}}`, "pattern"},
		"behavior":       {`{"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"x"},"model":{"type":"WordLevel","vocab":{"a":0}}}`, "behavior"},
		"dropout":        {`{"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}`, "random"},
	} {
		_, err := tokenizer.Parse(map[string][]byte{"tokenizer.json": []byte(c.json)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := tokenizer.Load(t.TempDir()); grouse.KindOf(err) != grouse.NotFound || grouse.FixOf(err) == "" {
		t.Errorf("empty folder: %v", err)
	}
}

func TestManyGoroutines(t *testing.T) {
	tok, g := load(t, "testdata/llama3")
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for _, c := range g.Encode {
				if got := tok.Encode(c.Text, false); !slices.Equal(got, c.IDs) {
					t.Errorf("%q: got %v, want %v", c.Text, got, c.IDs)
				}
			}
		}()
	}
	wg.Wait()
}

func FuzzEncode(f *testing.F) {
	var toks []*tokenizer.Tokenizer
	for _, dir := range []string{"testdata/llama3", "testdata/llama2", "testdata/gpt2"} {
		tok, err := tokenizer.Load(dir)
		if err != nil {
			f.Fatal(err)
		}
		toks = append(toks, tok)
	}
	f.Add("Hello 世界 <|im_end|> \n\n  🙂")
	f.Fuzz(func(t *testing.T, text string) {
		for i, tok := range toks {
			ids := tok.Encode(text, false)
			for _, id := range ids {
				if _, ok := tok.Token(id); !ok {
					t.Fatalf("id %d", id)
				}
			}
			// Byte-level tokenizers without <strip> lose nothing.
			if i != 1 && utf8.ValidString(text) && !strings.Contains(text, "<strip>") {
				if got := tok.Decode(ids, false); got != text {
					t.Fatalf("%q became %q", text, got)
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, dir := range []string{"testdata/tiny-add"} {
		raw, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"pre_tokenizer":{"type":"Metaspace"},"decoder":{"type":"Metaspace"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tok, err := tokenizer.Parse(map[string][]byte{"tokenizer.json": raw})
		if err != nil {
			return
		}
		ids := tok.Encode("ab a<eos> 1+1", true)
		_ = tok.Decode(ids, true)
		s := tok.NewStream(false)
		for _, id := range ids {
			s.Push(id)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok, err := tokenizer.Load("testdata/llama3")
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("The quick brown fox jumps over 12345 lazy dogs, doesn't it?\n", 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.Encode(text, true)
	}
}

func ExampleTokenizer_Encode() {
	tok, err := tokenizer.Load("testdata/tiny-add")
	if err != nil {
		panic(err)
	}
	fmt.Println(tok.Encode("1+1=", true))
	// Output: [4 13 4 17]
}
