package main

import (
	"math"
	"slices"
	"strconv"

	"github.com/grouse-rl/grouse/internal/rng"
)

// estimate is a mean over prompts with its 95% confidence interval.
type estimate struct{ Value, Low, High float64 }

// passAtK is the unbiased estimate of the probability that one of k completions
// is right, given that c of n were (Chen et al., arXiv:2107.03374, eq. 1):
//
//	1 - C(n-c, k) / C(n, k)
func passAtK(n, c, k int) float64 {
	if n-c < k {
		return 1
	}
	miss := 1.0
	for i := n - c + 1; i <= n; i++ {
		miss *= 1 - float64(k)/float64(i)
	}
	return 1 - miss
}

// passes returns avg@n and pass@k for every k from 1 to n, by name, of prompts
// of which right[i] of n completions are right.
func passes(right []int, n int) map[string]estimate {
	out := map[string]estimate{}
	values := make([]float64, len(right))
	for i, c := range right {
		values[i] = float64(c) / float64(n)
	}
	out["avg@"+strconv.Itoa(n)] = interval(values)
	for k := 1; k <= n; k++ {
		for i, c := range right {
			values[i] = passAtK(n, c, k)
		}
		out["pass@"+strconv.Itoa(k)] = interval(values)
	}
	return out
}

// z95 is the normal distribution's 97.5% point.
const z95 = 1.959963984540054

// interval estimates the mean of values in [0, 1], one for each prompt. Shares of
// prompts (values 0 and 1) get Wilson's interval; others the percentiles of a
// bootstrap over prompts, always of the same resamples. Values without spread say
// nothing of it, so they get Wilson's too.
func interval(values []float64) estimate {
	e := estimate{Value: mean(values)}
	binary := !slices.ContainsFunc(values, func(v float64) bool { return v != 0 && v != 1 })
	if binary || slices.Min(values) == slices.Max(values) {
		e.Low, e.High = wilson(e.Value, len(values))
		return e
	}
	e.Low, e.High = bootstrap(values)
	return e
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// wilson is the score interval of a share p of n (Wilson, 1927).
func wilson(p float64, n int) (low, high float64) {
	m, z2 := float64(n), z95*z95
	centre := (p + z2/(2*m)) / (1 + z2/m)
	half := z95 / (1 + z2/m) * math.Sqrt(p*(1-p)/m+z2/(4*m*m))
	return max(0, centre-half), min(1, centre+half)
}

// resamples is how many means the bootstrap draws.
const resamples = 2000

func bootstrap(values []float64) (low, high float64) {
	stream := rng.NewKey(rng.Eval, "bootstrap", 0).Stream(0, 0, 0)
	means := make([]float64, resamples)
	for r := range means {
		sum := 0.0
		for range values {
			sum += values[stream.Below(uint64(len(values)))]
		}
		means[r] = sum / float64(len(values))
	}
	slices.Sort(means)
	return means[resamples*25/1000], means[resamples*975/1000-1]
}
