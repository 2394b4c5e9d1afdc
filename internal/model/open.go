package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Open reads a Hugging Face folder: config.json and model*.safetensors.
func Open(dev tensor.Device, dir string) (*Model, error) { return open(dev, dir, nil, rng.Key{}) }

// OpenIndexed reads a DeepSeek-V3 folder as a V3.2 whose lightning indexers, of
// the sizes given (see AddIndexer), are drawn with the key.
func OpenIndexed(dev tensor.Device, dir string, indexer map[string]any, key rng.Key) (*Model, error) {
	return open(dev, dir, indexer, key)
}

func open(dev tensor.Device, dir string, indexer map[string]any, key rng.Key) (*Model, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "model %s: %w", dir, err).WithFix("a model is a folder with config.json and model.safetensors")
	}
	if indexer != nil {
		if raw, err = AddIndexer(raw, indexer); err != nil {
			return nil, err
		}
	}
	cfg, err := ParseConfig(raw)
	if err != nil {
		return nil, err
	}
	files, err := safetensors.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	m, err := New(dev, cfg)
	if err != nil {
		return nil, err
	}
	if indexer == nil {
		return m, m.Load(folder{files})
	}
	m.Init(key)
	return m, m.Load(indexed{folder{files}, m})
}

// AddIndexer turns the config.json of a DeepSeek-V3 into that of a V3.2 with
// index_n_heads, index_head_dim and index_topk as given.
func AddIndexer(raw []byte, indexer map[string]any) ([]byte, error) {
	cfg, err := ParseConfig(raw)
	if err != nil {
		return nil, err
	}
	if !cfg.Latent() || cfg.Indexed() {
		return nil, grouse.Errorf(grouse.Invalid, "model.indexer: %s takes none", cfg.ModelType).WithFix("it makes a DeepSeek-V3 a V3.2; remove it")
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "config.json: %w", err)
	}
	known := []string{"index_n_heads", "index_head_dim", "index_topk"}
	for key, v := range indexer {
		if !slices.Contains(known, key) {
			return nil, grouse.Errorf(grouse.Invalid, "model.indexer: unknown key %q", key).WithFix("keys: %s", strings.Join(known, ", "))
		}
		tree[key] = v
	}
	for _, f := range families {
		if f.dsa {
			tree["architectures"], tree["model_type"] = []string{f.architecture}, f.modelType
		}
	}
	return json.MarshalIndent(tree, "", "  ")
}

// indexed gives a model's own numbers for indexers that the files do not have.
type indexed struct {
	Source
	m *Model
}

func (s indexed) own(name string) *tensor.Param {
	for _, p := range s.m.params {
		if p.Name == name && IndexerWeight(p) {
			return p
		}
	}
	return nil
}

func (s indexed) Shape(name string) []int {
	if p := s.own(name); p != nil {
		return p.Shape()
	}
	return s.Source.Shape(name)
}

func (s indexed) Float32(name string, dst []float32) error {
	if p := s.own(name); p != nil {
		copy(dst, p.Read(s.m.dev))
		return nil
	}
	return s.Source.Float32(name, dst)
}

// folder is a Source over safetensors.
type folder struct{ *safetensors.Folder }

func (f folder) Shape(name string) []int {
	t, ok := f.Info(name)
	if !ok {
		return nil
	}
	return append([]int{}, t.Shape...)
}
