package model

import (
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Open reads a Hugging Face folder: config.json and model*.safetensors.
func Open(dev tensor.Device, dir string) (*Model, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "model %s: %w", dir, err).WithFix("a model is a folder with config.json and model.safetensors")
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
	return m, m.Load(folder{files})
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
