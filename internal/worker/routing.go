package worker

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/model"
)

// CheckRouting refuses routing settings that a recipe itself asks for although
// its model has no experts; those of a preset, or a default, are left without
// effect. A model that cannot be read here is not judged.
func CheckRouting(r *config.Resolved, home string) error {
	cfg := modelConfig(r, home)
	if cfg == nil || cfg.Sparse() {
		return nil
	}
	for i, s := range r.Spec.Stages {
		for key, on := range map[string]bool{"keep_routing": s.Algorithm.KeepRouting, "reference_routing": s.Algorithm.ReferenceRouting} {
			o, known := r.Origin[fmt.Sprintf("stages[%d].algorithm.%s", i, key)]
			if on && known && o.Kind != "default" && o.Kind != "preset" {
				return grouse.Errorf(grouse.Invalid, "%s: algorithm.%s has no effect: %s has no experts", o, key, cfg.ModelType).WithFix("remove it")
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
	raw, err := os.ReadFile(filepath.Join(path, "config.json"))
	if err != nil {
		return nil
	}
	cfg, err := model.ParseConfig(raw)
	if err != nil {
		return nil
	}
	return cfg
}
