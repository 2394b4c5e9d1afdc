package worker

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/chat"
	"github.com/grouse-rl/grouse/internal/gguf"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tokenizer"
)

// Policy is a model with what turns text into its tokens and back.
type Policy struct {
	Model     *model.Model
	Tokenizer *tokenizer.Tokenizer // nil: OpenWeights found none
	Template  *chat.Template       // plain if the model has none
	Files     map[string][]byte    // config.json and the tokenizer's files, for checkpoints
}

// OpenPolicy makes the policy that a run begins with. Relative paths start from
// base, pulled models lie below home; a tiny model is drawn from the seed.
func OpenPolicy(dev tensor.Device, spec grouse.ModelSpec, base, home string, seed uint64) (*Policy, error) {
	if spec.Tiny != nil {
		return tinyPolicy(dev, spec, seed)
	}
	path := spec.Path
	if path == "" {
		var err error
		if path, err = PulledModel(home, spec.Hub); err != nil {
			return nil, err
		}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	if spec.Indexer == nil {
		return Open(dev, path, spec.ChatTemplate)
	}
	m, err := model.OpenIndexed(dev, path, spec.Indexer, rng.NewKey(rng.Init, "", seed))
	if err != nil {
		return nil, err
	}
	p, err := folderPolicy(m, path, spec.ChatTemplate)
	return p, needTokenizer(p, path, err)
}

// Open reads a model from a Hugging Face folder or a .gguf file. template
// replaces its chat template, unless empty; "none" means plain text.
func Open(dev tensor.Device, path, template string) (*Policy, error) {
	p, err := OpenWeights(dev, path, template)
	return p, needTokenizer(p, path, err)
}

func needTokenizer(p *Policy, path string, err error) error {
	if err == nil && p.Tokenizer == nil {
		return grouse.Errorf(grouse.Invalid, "model %s has no tokenizer.json", path).WithFix("put the tokenizer's files beside config.json")
	}
	return err
}

// OpenWeights is Open for those who can do without a tokenizer: Tokenizer is
// nil and Template plain if the folder has none.
func OpenWeights(dev tensor.Device, path, template string) (*Policy, error) {
	if strings.HasSuffix(path, ".gguf") {
		return openGGUF(dev, path, template)
	}
	return openFolder(dev, path, template)
}

func openFolder(dev tensor.Device, dir, template string) (*Policy, error) {
	m, err := model.Open(dev, dir)
	if err != nil {
		return nil, err
	}
	return folderPolicy(m, dir, template)
}

// folderPolicy joins a folder's weights with its tokenizer and template.
func folderPolicy(m *model.Model, dir, template string) (*Policy, error) {
	p := &Policy{Model: m, Files: map[string][]byte{}}
	_, err := os.Stat(filepath.Join(dir, "tokenizer.json"))
	if _, other := os.Stat(filepath.Join(dir, "tokenizer_config.json")); err == nil || other == nil {
		if p.Tokenizer, err = tokenizer.Load(dir); err != nil {
			return nil, err
		}
		p.Files = p.Tokenizer.Files()
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "generation_config.json")); err == nil {
		p.Files["generation_config.json"] = raw
	}
	p.Files["config.json"] = m.Config.Raw
	return p, p.chooseTemplate(template)
}

func openGGUF(dev tensor.Device, path, template string) (*Policy, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := f.Model()
	if err != nil {
		return nil, err
	}
	config, err := model.ParseConfig(src.ConfigJSON())
	if err != nil {
		return nil, fmt.Errorf("gguf %q: %w", path, err)
	}
	m, err := model.New(dev, config)
	if err != nil {
		return nil, fmt.Errorf("gguf %q: %w", path, err)
	}
	if err := m.Load(src); err != nil {
		return nil, fmt.Errorf("gguf %q: %w", path, err)
	}
	files, err := src.TokenizerFiles()
	if err != nil {
		return nil, err
	}
	files["config.json"] = config.Raw
	p := &Policy{Model: m, Files: files}
	if p.Tokenizer, err = tokenizer.Parse(files); err != nil {
		return nil, fmt.Errorf("gguf %q: %w", path, err)
	}
	return p, p.chooseTemplate(template)
}

// chooseTemplate takes the template given, or the model's own.
func (p *Policy) chooseTemplate(template string) error {
	if template == "" && p.Tokenizer != nil {
		template = p.Tokenizer.ChatTemplate()
	}
	return p.setTemplate(template)
}

func (p *Policy) setTemplate(source string) error {
	if source == "none" {
		source = ""
	}
	t, err := chat.New(source)
	p.Template = t
	return err
}

// tinyConfig reads a model from scratch: the block is its config.json, with a
// character tokenizer.
func tinyConfig(spec grouse.ModelSpec) (config *model.Config, tok *tokenizer.Tokenizer, template string, err error) {
	cfg := map[string]any{}
	for k, v := range spec.Tiny {
		cfg[k] = v
	}
	var t struct {
		Characters string   `json:"characters"`
		Special    []string `json:"special"`
		Template   string   `json:"chat_template"`
	}
	raw, err := json.Marshal(cfg["tokenizer"])
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil || t.Characters == "" {
		return nil, nil, "", grouse.Errorf(grouse.Invalid, "model.tiny.tokenizer: want {characters: \"0123...\", special: [...]}")
	}
	delete(cfg, "tokenizer")
	if tok, err = tokenizer.Characters(tokenizer.CharactersSpec{Characters: t.Characters, Special: t.Special, ChatTemplate: t.Template}); err != nil {
		return nil, nil, "", err
	}
	if _, given := cfg["vocab_size"]; !given {
		cfg["vocab_size"] = tok.VocabSize()
	}
	cfg["eos_token_id"], cfg["pad_token_id"], cfg["bos_token_id"] = tok.EOS(), tok.PAD(), nil
	if arch, ok := cfg["architectures"].([]any); ok && len(arch) == 1 && cfg["model_type"] == nil {
		cfg["model_type"] = model.ModelType(fmt.Sprint(arch[0])) // transformers goes by it
	}
	for _, key := range []string{"routed_scaling_factor", "rope_theta", "rms_norm_eps", "initializer_range"} {
		if v, ok := cfg[key].(float64); ok && v == math.Trunc(v) {
			cfg[key] = json.Number(strconv.FormatFloat(v, 'f', 1, 64)) // transformers takes no whole number for a float
		}
	}
	if raw, err = json.MarshalIndent(cfg, "", "  "); err != nil {
		return nil, nil, "", grouse.Errorf(grouse.Invalid, "model.tiny: %w", err)
	}
	config, err = model.ParseConfig(raw)
	return config, tok, t.Template, err
}

// tinyPolicy makes a model from scratch.
func tinyPolicy(dev tensor.Device, spec grouse.ModelSpec, seed uint64) (*Policy, error) {
	config, tok, template, err := tinyConfig(spec)
	if err != nil {
		return nil, err
	}
	m, err := model.New(dev, config)
	if err != nil {
		return nil, err
	}
	m.Init(rng.NewKey(rng.Init, "", seed))
	p := &Policy{Model: m, Tokenizer: tok, Files: tok.Files()}
	p.Files["config.json"] = config.Raw
	source := spec.ChatTemplate
	if source == "" {
		source = template
	}
	return p, p.setTemplate(source)
}

// StopIDs are the tokens that end a completion.
func (p *Policy) StopIDs() []int32 {
	var ids []int32
	if p.Tokenizer != nil {
		ids = p.Tokenizer.StopIDs()
	}
	for _, id := range p.Model.Config.EndIDs() {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Decode is the text of a completion, for rewards: special tokens that the
// tokenizer calls special are left out unless the model was made from scratch
// with tags of its own.
func (p *Policy) Decode(ids []int32) string {
	if n := len(ids); n > 0 && slices.Contains(p.StopIDs(), ids[n-1]) {
		ids = ids[:n-1]
	}
	if p.Tokenizer == nil {
		return ""
	}
	return p.Tokenizer.Decode(ids, !p.hasTags())
}

// hasTags reports whether think or answer tags are special tokens: then they
// belong to the text.
func (p *Policy) hasTags() bool {
	for id := range p.Tokenizer.SpecialIDs() {
		if t, _ := p.Tokenizer.Token(id); strings.Contains(t, "think>") || strings.Contains(t, "answer>") {
			return true
		}
	}
	return false
}

// weightsDigest is the SHA-256, hex, of the weights: names, shapes and bits.
func weightsDigest(m *model.Model) (string, error) {
	h := sha256.New()
	buf := make([]byte, 0, 1<<16)
	err := m.Each(func(name string, shape []int, data []float32) error {
		head, err := json.Marshal([]any{name, shape})
		if err != nil {
			return err
		}
		h.Write(head)
		for len(data) > 0 {
			n := min(len(data), cap(buf)/4)
			buf = buf[:0]
			for _, v := range data[:n] {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			}
			h.Write(buf)
			data = data[n:]
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}
