//go:build cuda && cgo && linux && amd64

package worker

import (
	"os"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/cudashim/fake"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/gpu"
)

// The stand-in's GPU has 4 GiB: a model of Qwen3-0.6B's sizes is refused with what it
// needs, a small one is not.
func TestTheGPUsMemoryDecides(t *testing.T) {
	if os.Getenv("GROUSE_TEST_GPU") == "1" {
		t.Skip("this process uses the real libraries")
	}
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", dir)
	if err := fake.Build(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(cudashim.EnvFolders, dir)
	t.Setenv("FAKE_CUDA_DEVICES", "1")
	t.Setenv("FAKE_CUDA_CC", "9.0")
	t.Setenv(gpu.EnvKernels, "ptx")
	r := recipeOf(t)
	_, err := CheckGPU(r, "", everything, "")
	if grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "stage rl: the GPU's memory is too small: needs 30.2 of 4.0 GiB: weights 3.3, ") || !strings.Contains(err.Error(), "take a smaller model or a larger GPU") {
		t.Errorf("%v", err)
	}
	r.Spec.Stages[2].Trainer.MicroBatchTokens, r.Spec.Stages[2].Rollout.MaxKVTokens = 512, 1<<14
	small := strings.NewReplacer(`"num_hidden_layers": 28`, `"num_hidden_layers": 2`, "151936", "8000").Replace(qwen06)
	if err := os.WriteFile(r.Spec.Model.Path+"/config.json", []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	line, err := CheckGPU(r, "", everything, "")
	if err != nil || !strings.HasPrefix(line, "GPU: needs ") || !strings.Contains(line, " of 4.0 GiB: weights 0.") {
		t.Errorf("%q, %v", line, err)
	}
}
