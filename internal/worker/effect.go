package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/gguf"
	"github.com/grouse-rl/grouse/internal/model"
)

// CheckEffect refuses settings that a recipe itself asks for although its model
// has no use for them; those of a preset, or a default, are left without effect.
// A model that cannot be read here is not judged.
func CheckEffect(r *config.Resolved, home string) error {
	cfg := modelConfig(r, home)
	if cfg == nil {
		return nil
	}
	for i, s := range r.Spec.Stages {
		for _, c := range []struct {
			key  string
			on   bool
			used bool
			why  string
		}{
			{"algorithm.keep_routing", s.Algorithm.KeepRouting, cfg.Sparse(), "has no experts"},
			{"algorithm.reference_routing", s.Algorithm.ReferenceRouting, cfg.Sparse(), "has no experts"},
			{"trainer.train_indexer", s.Trainer.TrainIndexer != grouse.IndexerNone, cfg.Indexed(), "has no lightning indexer"},
			{"rollout.keep_exact", !s.Rollout.KeepExact, cfg.Latent(), "has no compressed keys and values"},
		} {
			o, known := r.Origin[fmt.Sprintf("stages[%d].%s", i, c.key)]
			if c.on && !c.used && known && o.Kind != "default" && o.Kind != "preset" {
				return grouse.Errorf(grouse.Invalid, "%s: %s has no effect: %s %s", o, c.key, cfg.ModelType, c.why).WithFix("remove it")
			}
		}
	}
	return nil
}

// modelConfig reads the config of the recipe's model, nil if there is none yet.
func modelConfig(r *config.Resolved, home string) *model.Config {
	spec := r.Spec.Model
	if spec.Tiny != nil {
		cfg, _, _, _ := tinyConfig(spec)
		return cfg
	}
	path := spec.Path
	if path == "" {
		path, _ = PulledModel(home, spec.Hub)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.Base, path)
	}
	raw, err := configJSON(path)
	if err != nil {
		return nil
	}
	if spec.Indexer != nil {
		if raw, err = model.AddIndexer(raw, spec.Indexer); err != nil {
			return nil
		}
	}
	cfg, err := model.ParseConfig(raw)
	if err != nil {
		return nil
	}
	return cfg
}

// configJSON returns the config.json of a folder, or what a GGUF file has of one.
func configJSON(path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".gguf") {
		return os.ReadFile(filepath.Join(path, "config.json"))
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := f.Model()
	if err != nil {
		return nil, err
	}
	return m.ConfigJSON(), nil
}
