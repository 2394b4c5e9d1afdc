//go:build cuda && cgo && linux && amd64

package devices

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/gpu"
)

// kernelSet are the kernels of the CUDA device.
func kernelSet() (gpu.Kernels, error) {
	return gpu.Kernels{}, grouse.Errorf(grouse.Invalid, "this version of grouse drives GPUs, but has no kernels for them").WithFix("compute on the processor: trainer.backend: cpu")
}

// construct makes the device of a driver.
func construct(*gpu.Device) tensor.Device { panic("devices: no kernels") }
