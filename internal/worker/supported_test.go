package worker

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

func TestSettingsWithoutEffectAreRefused(t *testing.T) {
	good := func() *grouse.RunSpec {
		return &grouse.RunSpec{Stages: []grouse.Stage{{Kind: grouse.StageRL, Rollout: grouse.RolloutSpec{Engine: "local"}, Trainer: grouse.TrainerSpec{Backend: "cpu"}}}}
	}
	if err := Supported(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*grouse.RunSpec){
		"torch": func(s *grouse.RunSpec) { s.Stages[0].Trainer.Backend = "torch" },
		"two": func(s *grouse.RunSpec) {
			s.Stages = append(s.Stages, s.Stages[0])
			s.Stages[1].Trainer.Backend = "cuda"
		},
		"ranks": func(s *grouse.RunSpec) {
			s.Stages = append(s.Stages, s.Stages[0])
			s.Stages[1].Trainer.Ranks = 2
		},
		"vllm": func(s *grouse.RunSpec) { s.Stages[0].Rollout.Engine = "vllm" },
	} {
		s := good()
		change(s)
		if err := Supported(s); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A device that the build or the machine lacks is refused as devices says.
func TestADeviceThatIsNotThereIsRefused(t *testing.T) {
	s := &grouse.RunSpec{Stages: []grouse.Stage{{Kind: grouse.StageSFT, Trainer: grouse.TrainerSpec{Backend: devices.CUDA}}}}
	want := devices.Check(devices.CUDA)
	err := Supported(s)
	if want == nil {
		if err != nil {
			t.Errorf("a machine with a GPU: %v", err)
		}
		return
	}
	if grouse.KindOf(err) != grouse.KindOf(want) || err.Error() != "trainer.backend: cuda: "+want.Error() || grouse.FixOf(err) != grouse.FixOf(want) {
		t.Errorf("%v; %s", err, grouse.FixOf(err))
	}
	if _, err := OpenDevice(s, 0); err == nil || err.Error() != want.Error() {
		t.Errorf("OpenDevice: %v", err)
	}
}
