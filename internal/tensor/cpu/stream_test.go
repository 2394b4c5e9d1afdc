package cpu

import (
	"fmt"
	"testing"
)

// Few rows against weights that no cache holds: what decoding waits for.
func BenchmarkStream(b *testing.B) {
	const N, K, layers = 1536, 576, 160
	d := New(0)
	var ws []Vec
	all := make(Vec, layers*N*K)
	for i := range all {
		all[i] = float32(i%7) - 3
	}
	for i := range layers {
		ws = append(ws, all[i*N*K:(i+1)*N*K])
	}
	for _, M := range []int{1, 4, 8, 12, 16, 32} {
		x, y := ramp(M*K, 1), make([]float32, M*N)
		b.Run(fmt.Sprintf("rows%d", M), func(b *testing.B) {
			i := 0
			for b.Loop() {
				d.Linear(Vec(y), Vec(x), Vec(ws[i%layers]), nil, M, N, K)
				i++
			}
			b.ReportMetric(4*float64(N)*K*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
			b.ReportMetric(2*float64(M)*float64(N)*K*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
