//go:build emu

package cuda_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor"
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
			tensortest.Run(t, cuda.New(emu.New(emu.Options{Order: order}), cuda.Options{Float32: true, SlabBytes: slabBytes, OffloadBytes: 4096}), float32Tolerance)
		})
	}
}

// The same in bfloat16, with tensor cores, a few rows of logits at a time, blocks
// shared by two system threads.
func TestDeviceBF16(t *testing.T) {
	for _, order := range []emu.Order{emu.Forward, emu.Reverse, emu.Scattered} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			tensortest.Run(t, cuda.New(emu.New(emu.Options{Order: order, Threads: 2}), cuda.Options{ChunkBytes: 20000, SlabBytes: slabBytes, OffloadBytes: 4096}), bf16Tolerance)
		})
	}
}

// What the engine reads from a cache is what the trainer computes in a batch, bit
// for bit, for every kind of head: with and without tensor cores, decoding and
// prefill.
func TestCachesAgreeWithBatches(t *testing.T) {
	for _, sh := range []tensor.AttentionShape{{Heads: 4, KVHeads: 2, KeyDim: 24, ValueDim: 12}, {Heads: 6, KVHeads: 2, KeyDim: 64, ValueDim: 64}, {Heads: 2, KVHeads: 1, KeyDim: 128, ValueDim: 128}, {Heads: 2, KVHeads: 2, KeyDim: 192, ValueDim: 128}} {
		sh.Scale = 0.15
		for _, f32 := range []bool{true, false} {
			const n = 70
			d := emulated(f32)
			upload := func(size, seed int) tensor.Buffer {
				b := d.New(size)
				d.Write(b, tensortest.Ramp(size, uint32(seed)))
				return b
			}
			kw, vw, qw, ow := sh.KVHeads*sh.KeyDim, sh.KVHeads*sh.ValueDim, sh.Heads*sh.KeyDim, sh.Heads*sh.ValueDim
			q, k, v := upload(n*qw, 1), upload(n*kw, 2), upload(n*vw, 3)
			seqs := &tensor.Seqs{}
			seqs.Add(29, seqs.Add(41, -1))
			o, lse := d.New(n*ow), d.New(n*sh.Heads)
			d.Attention(o, lse, q, k, v, sh, seqs)
			want, got := make([]float32, n*ow), make([]float32, n*ow)
			d.Read(want, o)

			c := d.NewCache(sh, 1, 6)
			blocks := []int32{4, 1, 0, 5, 2}
			var slots []tensor.Slot
			for p := range n {
				slots = append(slots, tensor.Slot{Block: blocks[p/tensor.BlockTokens], Offset: int32(p % tensor.BlockTokens)})
			}
			d.CacheWrite(c, 0, k, v, slots)
			d.CacheAttend(o, q, c, 0, []tensor.View{{Row: 0, Len: n - 1, Pos: 0, Blocks: blocks}, {Row: n - 1, Len: 1, Pos: n - 1, Blocks: blocks}}, nil)
			d.Read(got, o)
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%+v, float32 %v: element %d is %v from a cache, %v in a batch", sh, f32, i, got[i], want[i])
				}
			}
		}
	}
}
