//go:build emu

package cuda_test

import (
	"fmt"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/emu"
	"github.com/grouse-rl/grouse/internal/tensor/tensortest"
)

// Sums of float32 in another order than the CPU device's: a few hundred units.
const float32Tolerance = 1e-5

// Operands of products have 8 bits: 2^-8 each, and a sum of them.
const bf16Tolerance = 2e-2

// The suite on the emulated device, in float32, in the three orders of threads.
func TestDevice(t *testing.T) {
	for _, order := range []emu.Order{emu.Forward, emu.Reverse, emu.Scattered} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			tensortest.Run(t, cuda.New(emu.New(emu.Options{Order: order}), cuda.Options{Float32: true, SlabBytes: slabBytes}), float32Tolerance)
		})
	}
}

// The same in bfloat16, with tensor cores, a few rows of logits at a time, blocks
// shared by two system threads.
func TestDeviceBF16(t *testing.T) {
	for _, order := range []emu.Order{emu.Forward, emu.Reverse, emu.Scattered} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			tensortest.Run(t, cuda.New(emu.New(emu.Options{Order: order, Threads: 2}), cuda.Options{ChunkBytes: 20000, SlabBytes: slabBytes}), bf16Tolerance)
		})
	}
}
