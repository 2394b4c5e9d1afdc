//go:build !cuda

package devices

import (
	"context"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor"
)

const build = "build one with `make cuda` on linux/amd64 with gcc (no CUDA toolkit is needed; docs/cuda.md)"

func openCUDA() (tensor.Device, error) { return nil, checkCUDA() }

func groupCUDA(context.Context, *collective.Star) (collective.Group, error) { return nil, checkCUDA() }

func versionNCCL() (string, error) { return "", checkCUDA() }

func checkCUDA() error {
	return grouse.Errorf(grouse.Invalid, "this build of grouse has no CUDA").WithFix("%s, or compute on the processor: trainer.backend: cpu", build)
}

func describeCUDA() Report {
	return Report{Problem: "this build has no CUDA", Fix: build}
}
