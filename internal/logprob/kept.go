package logprob

import (
	"math"

	"github.com/grouse-rl/grouse/internal/rng"
)

// Kept returns the logprob, in nats, of the token at place target of a
// kept set, renormalized over that set:
//
//	x = z/tau,  logprob = (x_target - max x) - log sum exp(x - max x)
//
// logits are those of the kept ids, gathered in ascending id. The maximum is
// taken first, then the exponentials are added in ascending id, all in float64;
// the result is rounded once. Engine and trainer both call this function: same
// logits, same bits. A temperature of 0 counts as 1. It panics if target is not
// a place of logits.
func Kept(logits []float32, target int, temperature float32) float32 {
	tau := float64(divisor(temperature))
	top, sum := KeptSum(logits, tau)
	return KeptFrom(top, sum, logits[target], tau)
}

// KeptFrom is Kept after KeptSum, for one of the set's logits.
func KeptFrom(top, sum float64, logit float32, tau float64) float32 {
	return float32((float64(logit)/tau - top) - rng.Log(sum))
}

// KeptSum returns max x and sum exp(x - max x), x = z/tau, in ascending order.
func KeptSum(logits []float32, tau float64) (top, sum float64) {
	top = math.Inf(-1)
	for _, z := range logits {
		if x := float64(z) / tau; x > top {
			top = x
		}
	}
	for _, z := range logits {
		sum += rng.Exp(float64(z)/tau - top)
	}
	return top, sum
}

// KeptGrad writes d(coef * Kept)/d logits to dst, which is as long as
// logits:
//
//	dst_v = coef * (1[v = target] - p_v) / tau,   p = softmax(z/tau) over the set
func KeptGrad(dst []float64, logits []float32, target int, temperature float32, coef float64) {
	if len(dst) != len(logits) {
		panic("logprob: KeptGrad: lengths differ")
	}
	tau := float64(divisor(temperature))
	top, sum := KeptSum(logits, tau)
	for v, z := range logits {
		p := rng.Exp(float64(z)/tau-top) / sum
		if v == target {
			dst[v] = coef * (1 - p) / tau
		} else {
			dst[v] = coef * -p / tau
		}
	}
}

// Full returns the logprob, in nats, of a token over the whole
// vocabulary, from its logit and the blocks of its row. A temperature of 0
// counts as 1.
func Full(blocks []BlockSum, logit, temperature float32) float32 {
	top, logSum, _ := Combine(blocks)
	return FullFrom(top, logSum, logit, temperature)
}

// FullFrom is Full after Combine.
func FullFrom(top float32, logSum float64, logit, temperature float32) float32 {
	x := logit / divisor(temperature)
	return float32((float64(x) - float64(top)) - logSum)
}
