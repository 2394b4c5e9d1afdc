package worker

import "github.com/grouse-rl/grouse"

// Supported refuses what a recipe may say but this build cannot do, before
// anything starts: a setting is never left without its effect.
func Supported(spec *grouse.RunSpec) error {
	no := func(key, value, fix string) error {
		return grouse.Errorf(grouse.Invalid, "%s: %s: this build cannot do it", key, value).WithFix("%s", fix)
	}
	for _, s := range spec.Stages {
		switch {
		case s.Trainer.Backend != "cpu":
			return no("trainer.backend", s.Trainer.Backend, "set trainer.backend: cpu")
		case s.Kind != grouse.StageSFT && s.Rollout.Engine != "local":
			return no("rollout.engine", s.Rollout.Engine, "set rollout.engine: local")
		}
	}
	return nil
}
