package cpu

import (
	"fmt"
	"math"
	"testing"
)

func ramp(n int, seed uint32) []float32 {
	x := make([]float32, n)
	s := seed*2654435761 + 12345
	for i := range x {
		s = s*1664525 + 1013904223
		x[i] = float32(int32(s)>>8) / (1 << 23)
	}
	return x
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d: got %v want %v", what, i, got[i], want[i])
		}
	}
}

func TestProductsSameBitsAsPlainChains(t *testing.T) {
	sets := kernelSets()
	defer use(sets[0])
	for _, set := range sets {
		use(set)
		t.Run(set, productsAreChains)
	}
}

func productsAreChains(t *testing.T) {
	for _, c := range [][3]int{{1, 16, 1}, {1, 1, 3}, {6, 16, 8}, {7, 40, 300}, {11, 32, 40}, {12, 16, 5}, {13, 23, 519}, {400, 33, 17}, {64, 344, 128}, {50, 20, 1024}, {40, 1024, 20}} {
		M, N, K := c[0], c[1], c[2]
		x, w, dy := ramp(M*K, 1), ramp(N*K, 2), ramp(M*N, 3)
		wp := make([]float32, packedLen(N, K))
		pack(wp, w, N, K)
		d := New(2)
		y := make([]float32, M*N)
		d.Linear(Vec(y), Vec(x), Vec(wp), nil, M, N, K)
		dx := ramp(M*K, 4)
		wantX := ramp(M*K, 4)
		d.mulPackedT(dx, K, dy, N, wp, M, N, K, true)
		gp := make([]float32, packedLen(N, K))
		d.mulGrad(gp, dy, N, x, K, M, N, K)
		g := make([]float32, N*K)
		unpack(g, gp, N, K)
		wantY, wantG := make([]float32, M*N), make([]float32, N*K)
		for i := range M {
			for j := range N {
				for k := range K {
					wantY[i*N+j] = fma32(x[i*K+k], w[j*K+k], wantY[i*N+j])
					wantG[j*K+k] = fma32(dy[i*N+j], x[i*K+k], wantG[j*K+k])
					wantX[i*K+k] = fma32(dy[i*N+j], w[j*K+k], wantX[i*K+k])
				}
			}
		}
		name := fmt.Sprint(c)
		sameBits(t, name+" y", y, wantY)
		sameBits(t, name+" dw", g, wantG)
		sameBits(t, name+" dx", dx, wantX)
	}
}

func BenchmarkProduct(b *testing.B) {
	for _, c := range [][3]int{{1024, 1024, 1024}, {2048, 1536, 576}, {2048, 576, 1536}, {16, 1536, 576}, {256, 128, 128}, {256, 344, 128}} {
		M, N, K := c[0], c[1], c[2]
		x, w, dy := ramp(M*K, 1), ramp(packedLen(N, K), 2), ramp(M*N, 3)
		d := New(0)
		y, g := make([]float32, M*N), make([]float32, packedLen(N, K))
		for name, f := range map[string]func(){
			"forward": func() { d.Linear(Vec(y), Vec(x), Vec(w), nil, M, N, K) },
			"input":   func() { d.mulPackedT(x, K, dy, N, w, M, N, K, true) },
			"weight":  func() { d.mulGrad(g, dy, N, x, K, M, N, K) },
		} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, M, N, K), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(2*float64(M)*float64(N)*float64(K)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
