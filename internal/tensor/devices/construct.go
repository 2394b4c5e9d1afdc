//go:build cuda && cgo && linux && amd64

package devices

import (
	"os"

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

// EnvGraphs set to 0 makes every pass of decoding ask for its operations one by one.
const EnvGraphs = "GROUSE_CUDA_GRAPHS"

// construct makes the device of a driver. One that waits after each call, to name the kernel
// that fails, has no graphs: they are one call.
func construct(g *gpu.Device) tensor.Device {
	return cuda.New(g, cuda.Options{NoGraphs: os.Getenv(EnvGraphs) == "0" || g.Synchronous()})
}
