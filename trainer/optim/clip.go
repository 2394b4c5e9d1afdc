package optim

import "math"

// ClipScale returns what every gradient is multiplied with so that their global
// 2-norm does not exceed max: min(1, max/(norm + 1e-6)), as PyTorch's
// clip_grad_norm_. max 0 means no clipping.
func ClipScale(norm, max float64) float64 {
	if max == 0 {
		return 1
	}
	return math.Min(1, max/(norm+1e-6))
}

// SumSquares adds the squares of x, in order, in float64: the plain twin of the
// kernel that the global norm is made from.
func SumSquares(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v) // exact in float64: no fusing can change it
	}
	return sum
}
