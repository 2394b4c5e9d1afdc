package cpu

import "testing"

// The update with bfloat16 moments is the float32 one with its moments rounded.
func TestAdamWWithBF16Moments(t *testing.T) {
	const n = 1300 // over two blocks, the last of them short
	d := New(2)
	c := [9]float32{0.5, 0.9, 0.1, 0.999, 0.001, 3.1, 1e-8, 1e-3, 0.999}
	p, g, m, v := ramp(n, 1), ramp(n, 2), d.NewBF16(n).(BF16), d.NewBF16(n).(BF16)
	m.round(ramp(n, 3))
	square := ramp(n, 4)
	for i := range square {
		square[i] *= square[i]
	}
	v.round(square)
	wantP, wantM, wantV := append([]float32(nil), p...), make([]float32, n), make([]float32, n)
	m.widen(wantM)
	v.widen(wantV)
	rowAdamW(wantP, g, wantM, wantV, &c)
	rowAdamWBF16(p, g, m, v, &c)
	sameBits(t, "weights", p, wantP)
	rounded := make(BF16, n)
	for name, pair := range map[string]struct {
		got  BF16
		want []float32
	}{"m": {m, wantM}, "v": {v, wantV}} {
		rounded.round(pair.want)
		for i := range rounded {
			if rounded[i] != pair.got[i] {
				t.Fatalf("%s[%d] is %#x, want %#x", name, i, pair.got[i], rounded[i])
			}
		}
	}
}
