package worker

import (
	"testing"

	"github.com/grouse-rl/grouse"
)

func TestSettingsWithoutEffectAreRefused(t *testing.T) {
	good := func() *grouse.RunSpec {
		return &grouse.RunSpec{Stages: []grouse.Stage{{Kind: grouse.StageRL, Rollout: grouse.RolloutSpec{Engine: "local"}, Trainer: grouse.TrainerSpec{Backend: "cpu"}}}}
	}
	if err := Supported(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*grouse.RunSpec){
		"cuda": func(s *grouse.RunSpec) { s.Stages[0].Trainer.Backend = "cuda" },
		"vllm": func(s *grouse.RunSpec) { s.Stages[0].Rollout.Engine = "vllm" },
	} {
		s := good()
		change(s)
		if err := Supported(s); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
