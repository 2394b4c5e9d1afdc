package cpu

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// both runs f with every kernel set of this processor and compares what it
// returns, bit for bit. The last set is plain Go.
func both(t *testing.T, name string, f func() []float32) {
	t.Helper()
	sets := kernelSets()
	defer use(sets[0])
	use(sets[len(sets)-1])
	want := f()
	for _, set := range sets {
		use(set)
		sameBits(t, name+" with "+set, f(), want)
	}
}

// What was tested here is said: a processor without AVX-512 leaves a set out.
func TestKernelSets(t *testing.T) { t.Logf("kernel sets of this processor: %v", kernelSets()) }

func TestKernelsHaveTwins(t *testing.T) {
	for _, n := range []int{1, 7, 8, 15, 16, 17, 31, 48, 100, 1024, 1031} {
		x, y, z, w, u := ramp(n, 1), ramp(n, 2), ramp(n, 3), ramp(n, 4), ramp(n, 5)
		for i := range x { // large and small exponents, infinities
			x[i] *= float32(math.Exp2(float64(i%19 - 9)))
		}
		if n > 20 {
			x[3], x[11], x[19] = float32(math.Inf(-1)), 200, -200
		}
		c := slices.Clone[[]float32]
		name := func(s string) string { return fmt.Sprintf("%s of %d", s, n) }
		both(t, name("max"), func() []float32 { return []float32{rowMax(x)} })
		both(t, name("exp"), func() []float32 {
			d := make([]float32, n)
			s := rowExp(d, x, 0.7, 0.3)
			return append(d, s)
		})
		both(t, name("dot"), func() []float32 { return []float32{rowDot(y, z), rowDot3(w, y, z)} })
		both(t, name("add"), func() []float32 { d := c(x); rowAdd(d, d, y); return d })
		both(t, name("scale"), func() []float32 { d := c(y); rowScale(d, d, 0.3); return d })
		both(t, name("axpy"), func() []float32 { d := c(y); rowAxpy(d, x, 0.3); return d })
		both(t, name("relu axpy"), func() []float32 { d := c(y); rowReluAxpy(d, x, -0.3); return d })
		both(t, name("norm"), func() []float32 { d := make([]float32, n); rowNorm(d, y, w, 1.7); return d })
		both(t, name("norm gradient"), func() []float32 {
			dx, dw := c(z), c(u)
			rowNormBack(dx, dw, y, z, w, 1.3, 0.2)
			return append(dx, dw...)
		})
		both(t, name("swiglu"), func() []float32 { d := make([]float32, n); rowSwiGLU(d, x, y); return d })
		both(t, name("swiglu gradient"), func() []float32 {
			dg, du := make([]float32, n), make([]float32, n)
			rowSwiGLUBack(dg, du, z, x, y)
			return append(dg, du...)
		})
		both(t, name("rope"), func() []float32 { a, b := c(y), c(z); rowRope(a, b, w, u, -1); return append(a, b...) })
		both(t, name("softmax gradient"), func() []float32 { d := c(z); rowSoftmaxBack(y, d, 0.1, 0.5); return d })
		both(t, name("adamw"), func() []float32 {
			p, m, v := c(y), c(z), make([]float32, n)
			for i := range v {
				v[i] = w[i] * w[i]
			}
			rowAdamW(p, u, m, v, &[9]float32{0.5, 0.9, 0.1, 0.999, 0.001, 3.1, 1e-8, 1e-3, 0.999})
			return append(append(p, m...), v...)
		})
	}
	for _, dim := range []int{8, 24, 12, 64} {
		src := ramp(dim*panel, 9)
		both(t, fmt.Sprintf("panel of %d", dim), func() []float32 { d := make([]float32, dim*panel); toPanel(d, src, dim); return d })
		for m := 1; m <= few; m++ {
			for _, load := range []bool{false, true} {
				both(t, fmt.Sprintf("%d rows of %d, %v", m, dim, load), func() []float32 {
					d := ramp(m*7*panel, 3)
					tileFew(m, 7, dim, src, dim, func(p int) []float32 { return src[p:] }, 1, d, 7*panel, load)
					return d
				})
			}
		}
	}
	both(t, "transpose", func() []float32 {
		src, d := ramp(panel*panel, 4), make([]float32, panel*panel)
		transpose16(d, src, panel)
		return d
	})
}

func TestExpIsWithinTwoUnits(t *testing.T) {
	for i := range 40000 {
		x := float32(i-20000) / 20000 * 87
		want := math.Exp(float64(x))
		got := float64(exp32(x))
		if math.Abs(got-want) > 2.5e-7*want {
			t.Fatalf("exp(%v) = %v, want %v", x, got, want)
		}
	}
	if exp32(-100) != 0 || exp32(float32(math.Inf(-1))) != 0 || !math.IsNaN(float64(exp32(float32(math.NaN())))) {
		t.Error("ends of the range")
	}
}

// fma32 rounds once, also where float64 arithmetic would round twice.
func TestFMARoundsOnce(t *testing.T) {
	x, y := ramp(200000, 1), ramp(200000, 2)
	z := ramp(200000, 3)
	d := make([]float32, panel)
	for i := range x {
		z[i] *= float32(math.Exp2(float64(i%60 - 30)))
		if !avx2 {
			break
		}
		b := make([]float32, panel)
		b[0] = y[i]
		clear(d)
		d[0] = z[i]
		tile(1, panel, 1, x[i:i+1], 1, 1, b, panel, d, panel, true)
		if got := fma32(x[i], y[i], z[i]); math.Float32bits(got) != math.Float32bits(d[0]) {
			t.Fatalf("fma(%v, %v, %v) = %v, the processor says %v", x[i], y[i], z[i], got, d[0])
		}
	}
}
