package worker

import (
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/gguf"
	"github.com/grouse-rl/grouse/internal/tokenizer"
)

// RunTokenizer returns the tokenizer of a run without reading any weights: its
// newest checkpoint's, or that of the model it began with.
func RunTokenizer(home, name string) (*tokenizer.Tokenizer, error) {
	r, err := LoadRecipe(home, name)
	if err != nil {
		return nil, err
	}
	if at, err := locateRun(home, name, ""); err == nil {
		return tokenizer.Load(at.Path)
	}
	spec := r.Spec.Model
	if spec.Tiny != nil {
		_, tok, _, err := tinyConfig(spec)
		return tok, err
	}
	path := spec.Path
	if path == "" {
		if path, err = PulledModel(home, spec.Hub); err != nil {
			return nil, err
		}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.Base, path)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return tokenizer.Load(path)
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "run %s: its model: %w", name, err)
	}
	defer f.Close()
	src, err := f.Model()
	if err != nil {
		return nil, err
	}
	files, err := src.TokenizerFiles()
	if err != nil {
		return nil, err
	}
	return tokenizer.Parse(files)
}
