package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/tokenizer"
	"github.com/grouse-rl/grouse/internal/worker"
)

const testModels = "../../internal/model/testdata"

// grouse runs the program and returns its output; it must end with code.
func grouseIn(t *testing.T, home string, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(append([]string{"--home", home}, args...), &out, &errs); got != code {
		t.Fatalf("grouse %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// jsonLines decodes each line of out.
func jsonLines[T any](t *testing.T, out string) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(out) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, v)
	}
	return all
}

func writeRows(t *testing.T, rows ...any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

type row map[string]any

var families = []string{"llama", "llama3", "qwen2", "qwen3"}

// golden reads numbers that transformers computed.
func golden(t *testing.T, family, name string) []float32 {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(testModels, family, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, ok := f.Info(name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	out := make([]float32, info.Elems())
	if err := f.Float32(name, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func ints(values []float32) []int32 {
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}

// What generate records is what logprobs computes, bit for bit, also of rows that
// were generated among others; so do greedy ones.
func TestGenerateRecordsTheLogprobsOfLogprobs(t *testing.T) {
	home := t.TempDir()
	prompts := [][]int32{{5, 9, 33, 12}, {7}, {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}}
	data := writeRows(t, row{"token_ids": prompts[0]}, row{"token_ids": prompts[1]}, row{"token_ids": prompts[2]})
	for _, family := range families {
		for _, how := range [][]string{{"--n", "3"}, {"--greedy"}} {
			dir := filepath.Join(testModels, family)
			out, _ := grouseIn(t, home, 0, append([]string{"generate", dir, "--data", data, "--max-tokens", "20", "--seed", "4", "--json"}, how...)...)
			made := jsonLines[completionJSON](t, out)
			if want := map[string]int{"--n": 9, "--greedy": 3}[how[0]]; len(made) != want {
				t.Fatalf("%s %v: %d completions", family, how, len(made))
			}
			var rows []any
			for _, m := range made {
				rows = append(rows, row{"token_ids": append(slices.Clone(prompts[m.Index]), m.TokenIDs...)})
			}
			out, _ = grouseIn(t, home, 0, "logprobs", dir, "--data", writeRows(t, rows...), "--json")
			for i, l := range jsonLines[logprobsJSON](t, out) {
				m := made[i]
				n := len(prompts[m.Index])
				if l.Index != i || l.Logprobs[0] != nil || len(l.Logprobs) != n+len(m.TokenIDs) || len(m.Logprobs) != len(m.TokenIDs) {
					t.Fatalf("%s %v: line %d: %+v of %+v", family, how, i, l, m)
				}
				for j, lp := range m.Logprobs {
					if got := *l.Logprobs[n+j]; math.Float32bits(got) != math.Float32bits(lp) || lp >= 0 {
						t.Errorf("%s %v: line %d, token %d: logprobs %v, generate %v", family, how, i, j, got, lp)
					}
				}
			}
		}
	}
}

// Greedy completions and logprobs are those of transformers.
func TestGreedyAndLogprobsAgreeWithTransformers(t *testing.T) {
	home := t.TempDir()
	for _, family := range families {
		dir := filepath.Join(testModels, family)
		ids, want := ints(golden(t, family, "ids")), ints(golden(t, family, "greedy"))
		if end := slices.Index(want, 1); end >= 0 { // the golden one goes on after the end token
			want = want[:end+1]
		}
		out, _ := grouseIn(t, home, 0, "generate", dir, "--data", writeRows(t, row{"token_ids": ids[:4]}), "--greedy", "--max-tokens", "24", "--json")
		got := jsonLines[completionJSON](t, out)
		if len(got) != 1 || !slices.Equal(got[0].TokenIDs, want) || len(want) < 8 {
			t.Errorf("%s: greedy %+v, want %v", family, got, want)
		}
		const T = 40
		lps := golden(t, family, "logprobs")
		out, _ = grouseIn(t, home, 0, "logprobs", dir, "--data", writeRows(t, row{"token_ids": ids[:T]}, row{"token_ids": ids[T : 2*T]}), "--json")
		for b, l := range jsonLines[logprobsJSON](t, out) {
			for i := 1; i < T; i++ {
				w := lps[b*(T-1)+i-1]
				if g := *l.Logprobs[i]; math.Abs(float64(g-w)) > 1e-5*math.Abs(float64(w)) {
					t.Errorf("%s: row %d, token %d: %v, want %v", family, b, i, g, w)
				}
			}
		}
	}
}

// copyFolder copies the files of a model.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "m"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(to, "m", "golden.safetensors"))
	return filepath.Join(to, "m")
}

// textModel is the tiny Llama with a tokenizer of 64 characters.
func textModel(t *testing.T) string {
	t.Helper()
	dir := copyFolder(t, filepath.Join(testModels, "llama"))
	tok, err := tokenizer.Characters(tokenizer.CharactersSpec{Characters: "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+="})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range tok.Files() {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Eval judges the completions that generate makes.
func TestEvalJudgesWhatIsGenerated(t *testing.T) {
	home, dir := t.TempDir(), textModel(t)
	data := writeRows(t, row{"prompt": "1+1="}, row{"prompt": "ab"}, row{"prompt": "xyz"}, row{"prompt": "Q"}, row{"prompt": "7"}, row{"prompt": "hello"})
	out, _ := grouseIn(t, home, 0, "generate", dir, "--data", data, "--greedy", "--max-tokens", "6", "--json")
	made := jsonLines[completionJSON](t, out)
	pattern := made[0].Text[len(made[0].Text)-1:]
	right, tokens := 0.0, 0
	for _, m := range made {
		if regexp.MustCompile(regexp.QuoteMeta(pattern)).MatchString(m.Text) {
			right++
		}
		tokens += len(m.TokenIDs)
	}
	if right == 0 || right == 6 {
		t.Fatalf("pattern %q decides nothing: %+v", pattern, made)
	}
	reward := fmt.Sprintf(`{"use":"regex","pattern":%q}`, regexp.QuoteMeta(pattern))
	args := []string{"eval", dir, "--data", data, "--reward", reward, "--n", "2", "--greedy", "--max-tokens", "6", "--json"}
	out, _ = grouseIn(t, home, 0, args...)
	got := jsonLines[map[string]any](t, out)[0]
	for name, want := range map[string]float64{"avg@2": right / 6, "pass@1": right / 6, "pass@2": right / 6, "reward": right / 6, "prompts": 6, "n": 2, "not_judged": 0, "mean_length": float64(tokens) / 6} {
		if v, ok := got[name].(float64); !ok || math.Abs(v-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	low, high := wilson(right/6, 6)
	if i := got["intervals"].(map[string]any)["pass@2"].([]any); i[0] != low || i[1] != high {
		t.Errorf("interval %v, want %v to %v", i, low, high)
	}
	again, _ := grouseIn(t, home, 0, args...)
	if again != out {
		t.Errorf("again: %s, first: %s", again, out)
	}
	// A reward that cannot judge is told, never a wrong answer.
	grouseIn(t, home, exitInvalid, "eval", dir, "--data", data, "--reward", "exact")
	grouseIn(t, home, exitInvalid, "eval", dir, "--data", data)
	grouseIn(t, home, exitEnvironment, "eval", dir, "--data", data, "--reward", "exakt")
}

// bpeModel is a random Llama with a byte-level BPE and a chat template.
func bpeModel(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	raw := []byte(`{"architectures":["LlamaForCausalLM"],"model_type":"llama","num_hidden_layers":2,"hidden_size":64,"intermediate_size":96,"num_attention_heads":4,
"num_key_value_heads":2,"head_dim":16,"max_position_embeddings":128,"rms_norm_eps":1e-05,"rope_theta":10000.0,"vocab_size":910,"tie_word_embeddings":true,"initializer_range":0.2}`)
	config, err := model.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(cpu.New(1), config)
	if err != nil {
		t.Fatal(err)
	}
	m.Init(rng.NewKey(rng.Init, "", 1))
	var all []safetensors.Tensor
	_ = m.Each(func(name string, shape []int, data []float32) error {
		all = append(all, safetensors.Tensor{Name: name, Shape: shape, Data: data})
		return nil
	})
	var b bytes.Buffer
	if err := safetensors.Write(&b, all, nil); err != nil {
		t.Fatal(err)
	}
	tok, err := os.ReadFile("../../internal/tokenizer/testdata/smollm/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"config.json": raw, "model.safetensors": b.Bytes(), "tokenizer.json": tok,
		"tokenizer_config.json": []byte(`{"eos_token":"<|im_end|>","bos_token":"<|im_start|>"}`),
		"chat_template.jinja":   []byte("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")} {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The same completions from a folder, from the GGUF file that it is exported to,
// and from the folder that this is exported to; --plain makes others.
func TestExportKeepsEveryCompletion(t *testing.T) {
	home, dir, out := t.TempDir(), bpeModel(t), t.TempDir()
	data := writeRows(t, row{"prompt": "Hello, how are you?"}, row{"messages": []row{{"role": "system", "content": "Be brief."}, {"role": "user", "content": "naïve 🙂"}}})
	generate := func(m string, more ...string) string {
		text, _ := grouseIn(t, home, 0, append([]string{"generate", m, "--data", data, "--n", "2", "--max-tokens", "12", "--json"}, more...)...)
		return text
	}
	file, folder := filepath.Join(out, "m.gguf"), filepath.Join(out, "hf")
	grouseIn(t, home, 0, "export", dir, "--format", "gguf", "--out", file)
	grouseIn(t, home, 0, "export", file, "--format", "hf", "--out", folder)
	want := generate(dir)
	if got := generate(file); got != want {
		t.Errorf("gguf:\n%swant\n%s", got, want)
	}
	if got := generate(folder); got != want {
		t.Errorf("hf:\n%swant\n%s", got, want)
	}
	// A recipe names the file as people do, relative to its folder.
	if p, err := worker.OpenPolicy(cpu.New(1), grouse.ModelSpec{Path: "m.gguf"}, out, home, 1); err != nil || p.Tokenizer == nil || p.Template.Plain() || p.Files["tokenizer.json"] == nil {
		t.Errorf("recipe: %+v %v", p, err)
	}
	if got := generate(dir, "--plain"); got == want || len(jsonLines[completionJSON](t, got)) != 4 {
		t.Errorf("--plain: %s", got)
	}
	small := filepath.Join(out, "q.gguf")
	grouseIn(t, home, 0, "export", dir, "--format", "gguf", "--type", "q8_0", "--out", small)
	if a, b := fileSize(t, small), fileSize(t, file); a > b/2 {
		t.Errorf("Q8_0 has %d bytes, F32 %d", a, b)
	}
	if _, errs := grouseIn(t, home, exitInvalid, "export", dir, "--out", folder); !strings.Contains(errs, "exists") {
		t.Errorf("%s", errs)
	}
	if _, errs := grouseIn(t, home, exitInvalid, "export", textModel(t), "--format", "gguf", "--out", filepath.Join(out, "no.gguf")); !strings.Contains(errs, "--format hf") {
		t.Errorf("%s", errs)
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

func TestRowsThatCannotBeUsed(t *testing.T) {
	home, ids, text := t.TempDir(), filepath.Join(testModels, "llama"), textModel(t)
	for name, c := range map[string]struct {
		model string
		row   row
		want  string
	}{
		"no tokenizer":   {ids, row{"prompt": "x"}, "no tokenizer.json"},
		"outside":        {ids, row{"token_ids": []int{3, 67}}, "token 1 is 67"},
		"negative":       {ids, row{"token_ids": []int{-1}}, "token 0 is -1"},
		"not whole":      {ids, row{"token_ids": []float64{1.5}}, "1.5 is not a token id"},
		"none":           {ids, row{"token_ids": []int{}}, "not a list of ids"},
		"no column":      {text, row{"question": "x"}, "no column prompt"},
		"not a message":  {text, row{"messages": []any{"x"}}, "message 0"},
		"number":         {text, row{"prompt": 5}, "want text or messages"},
		"missing column": {text, row{"prompt": nil, "x": 1}, "no column prompt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := grouseIn(t, home, exitInvalid, "generate", c.model, "--data", writeRows(t, c.row))
			if !strings.Contains(errs, c.want) || !strings.Contains(errs, "rows.jsonl:1") {
				t.Errorf("%s, want %q", errs, c.want)
			}
		})
	}
	grouseIn(t, home, exitEnvironment, "generate", ids, "--data", filepath.Join(home, "none.jsonl"))
	if _, errs := grouseIn(t, home, exitEnvironment, "generate", "org/model", "--data", writeRows(t, row{"prompt": "x"})); !strings.Contains(errs, "grouse pull org/model") {
		t.Errorf("%s", errs)
	}
	if _, errs := grouseIn(t, home, exitEnvironment, "generate", "some-run", "--data", writeRows(t, row{"prompt": "x"})); !strings.Contains(errs, "some-run") {
		t.Errorf("%s", errs)
	}
}

func TestBench(t *testing.T) {
	home, dir := t.TempDir(), filepath.Join(testModels, "qwen3")
	out, _ := grouseIn(t, home, 0, "bench", "generate", "--model", dir, "--batch", "2", "--prompt", "4", "--new", "6", "--repeat", "2", "--json")
	gen := jsonLines[benchJSON](t, out)[0]
	if want := 12 / median(gen.Seconds); gen.TokensPer != want || len(gen.Seconds) != 2 || gen.PeakRSS < 1 || gen.Device == "" {
		t.Errorf("%+v, want %v tokens/s", gen, want)
	}
	out, _ = grouseIn(t, home, 0, "bench", "train", "--model", dir, "--batch", "2", "--seq", "8", "--repeat", "3", "--json")
	tr := jsonLines[benchJSON](t, out)[0]
	if want := 16 / median(tr.Seconds); tr.TokensPer != want || len(tr.Seconds) != 3 {
		t.Errorf("%+v, want %v tokens/s", tr, want)
	}
	out, _ = grouseIn(t, home, 0, "bench", "matmul", "--size", "64", "--json")
	mm := jsonLines[matmulJSON](t, out)[0]
	if want := 2 * 64 * 64 * 64 / median(mm.Seconds) / 1e9; math.Abs(mm.Gflops-want) > 1e-9*want || mm.Best < mm.Gflops {
		t.Errorf("%+v, want %v", mm, want)
	}
	grouseIn(t, home, exitInvalid, "bench", "matmul", "--size", "0")
}

func TestRecipeSchemaAndExplain(t *testing.T) {
	out, _ := grouseIn(t, t.TempDir(), 0, "recipe", "schema")
	var schema map[string]any
	if err := json.Unmarshal([]byte(out), &schema); err != nil || schema["$schema"] == nil {
		t.Fatal(err, schema)
	}
	out, _ = grouseIn(t, t.TempDir(), 0, "recipe", "show", "quickstart", "--explain")
	line := regexp.MustCompile(`(?m)^stages\[1\]\.rollout\.max_completion_length +40 +tokens +quickstart/recipe\.yaml:\d+:\d+ .*\S$`)
	if !line.MatchString(out) {
		t.Errorf("no unit, origin or meaning in\n%s", out)
	}
}

// Every command of the program is completed.
func TestCompletionKnowsEveryCommand(t *testing.T) {
	help, _ := grouseIn(t, t.TempDir(), 0, "--help")
	known := strings.Fields(commands)
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+)( |$)`).FindAllStringSubmatch(help[strings.Index(help, "Commands:"):], -1) {
		if n++; !slices.Contains(known, m[1]) {
			t.Errorf("completion does not know %s", m[1])
		}
	}
	if n < 15 {
		t.Errorf("%d commands in\n%s", n, help)
	}
}
