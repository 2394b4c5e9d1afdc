package cpu

import (
	"math"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// BF16 is memory of half the size: the upper 16 bits of a float32.
type BF16 []uint16

// Len returns the number of elements.
func (b BF16) Len() int { return len(b) }

// NewBF16 returns zeroed bfloat16 memory.
func (d *Device) NewBF16(n int) tensor.Buffer { return make(BF16, n) }

// Copy copies src, of the same length.
func (d *Device) Copy(dst, src tensor.Buffer) {
	switch dst := dst.(type) {
	case BF16:
		if src, ok := src.(BF16); ok {
			copy(dst, src)
			return
		}
		dst.round(vec(src))
	case Vec:
		if src, ok := src.(BF16); ok {
			src.widen(dst)
			return
		}
		from := vec(src)
		d.flat(len(dst), func(lo, hi int) { copy(dst[lo:hi], from[lo:hi]) })
	}
}

// widen sets dst = b, exactly.
func (b BF16) widen(dst []float32) {
	for i, v := range b {
		dst[i] = math.Float32frombits(uint32(v) << 16)
	}
}

// round sets b to the bfloat16 nearest to src, ties to even; NaN stays NaN.
func (b BF16) round(src []float32) {
	for i, v := range src {
		u := math.Float32bits(v)
		if v != v {
			b[i] = uint16(u>>16) | 0x40
			continue
		}
		b[i] = uint16((u + 0x7fff + u>>16&1) >> 16)
	}
}
