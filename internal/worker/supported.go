package worker

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

// Supported refuses what a recipe may say but this build or machine cannot do,
// before anything starts: a setting is never left without its effect.
func Supported(spec *grouse.RunSpec) error {
	no := func(key, value, fix string) error {
		return grouse.Errorf(grouse.Invalid, "%s: %s: this build cannot do it", key, value).WithFix("%s", fix)
	}
	for _, s := range spec.Stages {
		switch {
		case s.Trainer.Backend == "torch":
			return no("trainer.backend", s.Trainer.Backend, "set trainer.backend: cpu or cuda")
		case s.Trainer.Backend != spec.Stages[0].Trainer.Backend:
			return grouse.Errorf(grouse.Invalid, "trainer.backend: stage %s has %s, stage %s %s: a run has one device", spec.Stages[0].Name, spec.Stages[0].Trainer.Backend, s.Name, s.Trainer.Backend).
				WithFix("set the same trainer.backend in all stages")
		case s.Trainer.Ranks != spec.Stages[0].Trainer.Ranks:
			return grouse.Errorf(grouse.Invalid, "trainer.ranks: stage %s has %d, stage %s %d: a run has the same ranks throughout", spec.Stages[0].Name, spec.Stages[0].Trainer.Ranks, s.Name, s.Trainer.Ranks).
				WithFix("set the same trainer.ranks in all stages")
		case s.Kind != grouse.StageSFT && s.Rollout.Engine != "local":
			return no("rollout.engine", s.Rollout.Engine, "set rollout.engine: local")
		}
	}
	if len(spec.Stages) == 0 {
		return nil
	}
	if err := devices.Check(backend(spec)); err != nil {
		return grouse.Errorf(grouse.KindOf(err), "trainer.backend: %s: %w", backend(spec), err).WithFix("%s", grouse.FixOf(err))
	}
	return nil
}

// backend is the device that a run's stages name.
func backend(spec *grouse.RunSpec) string { return spec.Stages[0].Trainer.Backend }

// ranksOf is how many processes share an update.
func ranksOf(spec *grouse.RunSpec) int {
	if len(spec.Stages) == 0 {
		return 1
	}
	return max(1, spec.Stages[0].Trainer.Ranks)
}

// OpenDevice opens the device of a run.
func OpenDevice(spec *grouse.RunSpec, threads int) (tensor.Device, error) {
	return devices.Open(backend(spec), threads)
}
