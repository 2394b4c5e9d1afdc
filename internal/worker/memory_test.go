package worker_test

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/worker"
)

// What is needed, by hand, from the number of parameters.
func TestLeastMemory(t *testing.T) {
	cfg := model.Published("deepseek-ai/DeepSeek-V3-Base")
	n, err := cfg.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	all := []string{worker.RoleWorkflows, worker.RoleRollout, worker.RoleReward, worker.RoleTrainer}
	sft := grouse.Stage{Kind: grouse.StageSFT}
	warmup := grouse.Stage{Kind: grouse.StageSFT, Trainer: grouse.TrainerSpec{TrainIndexer: grouse.IndexerWarmup}}
	rl := grouse.Stage{Kind: grouse.StageRL, Trainer: grouse.TrainerSpec{BF16Moments: true}, Algorithm: grouse.Algorithm{KLEstimator: "k3", Beta: 0.001}, Domains: []grouse.Domain{{Name: "d"}}}
	for _, c := range []struct {
		name   string
		roles  []string
		stages []grouse.Stage
		bytes  int64 // a parameter
	}{
		{"all, sft", all, []grouse.Stage{sft}, 16}, {"all, sft, then rl with a reference", all, []grouse.Stage{sft, rl}, 20}, {"rl with short moments", all, []grouse.Stage{rl}, 16},
		{"indexers alone", all, []grouse.Stage{warmup}, 4}, {"rollout", all[:3], []grouse.Stage{rl}, 4}, {"rewards", []string{worker.RoleReward}, []grouse.Stage{rl}, 0}, {"none", []string{"none"}, []grouse.Stage{rl}, 0},
	} {
		m, err := worker.LeastMemory(cfg, &grouse.RunSpec{Stages: c.stages}, c.roles)
		if err != nil || m.Bytes != c.bytes*n {
			t.Errorf("%s: %d bytes, %v; want %d a parameter", c.name, m.Bytes, err, c.bytes)
		}
	}
}

// The full-size recipes are refused before anything is fetched or started; their
// versions in small are not.
func TestFullSizesAreRefusedHere(t *testing.T) {
	const total = 24 << 30
	roles := []string{worker.RoleWorkflows, worker.RoleRollout, worker.RoleReward, worker.RoleTrainer}
	for _, name := range []string{"v32", "speciale", "r1"} {
		r, err := config.Load(name, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = worker.CheckMemory(r, t.TempDir(), roles, total)
		if grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "67") || !strings.Contains(err.Error(), "TiB") || !strings.Contains(err.Error(), "24.0 GiB") || grouse.FixOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if err := worker.CheckMemory(r, t.TempDir(), []string{worker.RoleReward}, total); err != nil {
			t.Errorf("%s, rewards only: %v", name, err)
		}
		if err := worker.CheckMemory(r, t.TempDir(), roles, 32<<40); err != nil {
			t.Errorf("%s, with 32 TiB: %v", name, err)
		}
	}
	for _, name := range []string{"quickstart", "v32-tiny", "qwen3-moe-tiny", "mla-tiny"} {
		r, err := config.Load(name, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.CheckMemory(r, t.TempDir(), roles, 1<<30); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
