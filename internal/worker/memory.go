package worker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/model"
)

// Memory is the least that a process needs for a model, bytes. Activations, the cache of
// keys and values, and everything else come on top.
type Memory struct {
	Bytes int64
	For   []string // what takes it
}

// LeastMemory returns what a process needs that serves the roles for a recipe, from the
// model's sizes alone.
//
//	rollout, trainer   4 bytes a parameter: the weights, which they share
//	trainer            4 for gradients and 8 for AdamW's moments (4 with bf16_moments), of
//	                   which each of several ranks has its share
//	                   4 for a reference policy, if a stage measures KL to one
func LeastMemory(cfg *model.Config, spec *grouse.RunSpec, roles []string) (Memory, error) {
	n, err := cfg.Parameters()
	if err != nil {
		return Memory{}, err
	}
	train := slices.Contains(roles, RoleTrainer)
	if !train && !slices.Contains(roles, RoleRollout) {
		return Memory{}, nil
	}
	m := Memory{4 * n, []string{"weights"}}
	if !train {
		return m, nil
	}
	training, reference := 0.0, 0.0
	for _, s := range spec.Stages {
		if s.Kind == grouse.StageRejectionSampling || s.Trainer.TrainIndexer == grouse.IndexerWarmup {
			continue // trains nothing, or the indexers alone
		}
		moments := 8.0
		if s.Trainer.BF16Moments {
			moments = 4
		}
		training = max(training, 4+moments/float64(max(1, s.Trainer.Ranks)))
		if s.Kind == grouse.StageRL && s.Algorithm.UsesReference(s.Domains) {
			reference = 4
		}
	}
	if training > 0 {
		m.For = append(m.For, "gradients", "moments")
	}
	if reference > 0 {
		m.For = append(m.For, "a reference policy")
	}
	m.Bytes += int64((training + reference) * float64(n))
	return m, nil
}

// CheckMemory refuses a recipe whose model this machine, of total bytes (0: not known),
// cannot hold for the roles that this process would serve. It needs the model's sizes,
// not its weights: a folder's config.json, or the published sizes of a hub name. A model
// of which neither is known is not judged.
func CheckMemory(r *config.Resolved, home string, roles []string, total int64) error {
	cfg := modelConfig(r, home)
	if cfg == nil {
		cfg = model.Published(r.Spec.Model.Hub)
	}
	if cfg == nil || total <= 0 {
		return nil
	}
	if Supported(&r.Spec) == nil && slices.ContainsFunc(r.Spec.Stages, func(s grouse.Stage) bool { return s.Trainer.Backend != "cpu" }) {
		return nil // the backend's own machines hold it
	}
	m, err := LeastMemory(cfg, &r.Spec, roles)
	if err != nil || m.Bytes <= total {
		return err
	}
	n, err := cfg.Parameters()
	if err != nil {
		return err
	}
	name := r.Spec.Model.Hub
	if name == "" {
		name = r.Spec.Model.Path
	}
	return grouse.Errorf(grouse.Unavailable, "model %s has %.4g billion parameters: this process would need at least %s of memory for %s, this machine has %s",
		name, float64(n)/1e9, bytesOf(m.Bytes), strings.Join(m.For, ", "), bytesOf(total)).
		WithFix("serve the roles rollout and trainer on machines that can hold it (--roles workflows,reward here), or take a smaller model: --set model=...; grouse recipe list has recipes in small")
}

// bytesOf writes a size in GiB or TiB.
func bytesOf(n int64) string {
	gib := float64(n) / (1 << 30)
	if gib >= 1024 {
		return fmt.Sprintf("%.1f TiB", gib/1024)
	}
	return fmt.Sprintf("%.1f GiB", gib)
}
