package tensor

import "math"

// RopeTable holds cos and sin of position × inverse frequency, [positions,
// Dim/2], for rotary embeddings of Dim dimensions that start at Offset of each
// head. Interleaved pairs dimensions (2i, 2i+1), else (i, i+Dim/2).
type RopeTable struct {
	Dim, Offset int
	Interleaved bool
	Cos, Sin    []float32
	inv         []float64
	scale       float64
}

// NewRopeTable makes a table for inverse frequencies inv [Dim/2]; cos and sin
// are multiplied by scale (YaRN's attention factor, else 1).
func NewRopeTable(inv []float64, scale float64) *RopeTable {
	return &RopeTable{Dim: 2 * len(inv), inv: inv, scale: scale}
}

// Extend makes the table hold at least n positions.
func (t *RopeTable) Extend(n int) {
	half := len(t.inv)
	have := len(t.Cos) / max(half, 1)
	if n <= have {
		return
	}
	n = max(n, 2*have, 256)
	for p := have; p < n; p++ {
		for _, f := range t.inv {
			// torch computes the angle in float32
			s, c := math.Sincos(float64(float32(p) * float32(f)))
			t.Cos = append(t.Cos, float32(c*t.scale))
			t.Sin = append(t.Sin, float32(s*t.scale))
		}
	}
}
