//go:build cuda && cgo && linux && amd64

package devices

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/gpu"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/kernels"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/kernels/ptx"
)

// kernelSet are the kernels of the CUDA device.
func kernelSet() (gpu.Kernels, error) {
	return gpu.Kernels{Files: kernels.Files, Main: kernels.Main, Names: kernels.Names(), Flags: ptx.Flags, PTX: ptx.Embedded.Read, Archs: ptx.Embedded.Archs()}, nil
}

// construct makes the device of a driver.
func construct(g *gpu.Device) tensor.Device { return cuda.New(g, cuda.Options{}) }
