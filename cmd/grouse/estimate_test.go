package main

import (
	"math"
	"testing"
)

// 1 - C(n-c,k)/C(n,k), by hand.
func TestPassAtK(t *testing.T) {
	for _, c := range []struct {
		n, c, k int
		want    float64
	}{
		{4, 2, 1, 0.5}, {4, 2, 2, 5.0 / 6}, {4, 2, 3, 1}, {4, 1, 3, 0.75}, {4, 0, 4, 0}, {4, 4, 1, 1}, {10, 3, 5, 1 - 21.0/252}, {1, 1, 1, 1}, {1, 0, 1, 0},
	} {
		if got := passAtK(c.n, c.c, c.k); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("pass@%d of %d right among %d: %v, want %v", c.k, c.c, c.n, got, c.want)
		}
	}
}

// The mean over all subsets of k completions is the same number: the slow twin.
func TestPassAtKIsTheMeanOverSubsets(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for c := 0; c <= n; c++ {
			hits, all := map[int]int{}, map[int]int{}
			for set := range 1 << n {
				k, hit := 0, 0
				for i := range n {
					if set>>i&1 == 1 {
						k++
						if i < c {
							hit = 1
						}
					}
				}
				all[k]++
				hits[k] += hit
			}
			for k := 1; k <= n; k++ {
				if got, want := passAtK(n, c, k), float64(hits[k])/float64(all[k]); math.Abs(got-want) > 1e-12 {
					t.Errorf("n %d, c %d, k %d: %v, want %v", n, c, k, got, want)
				}
			}
		}
	}
}

func TestIntervals(t *testing.T) {
	// Wilson's interval of 8 in 10 and of 0 in 10 (scipy's binomtest(...).proportion_ci).
	for _, c := range []struct {
		p         float64
		n         int
		low, high float64
	}{{0.8, 10, 0.49016247153664183, 0.9433178485456247}, {0, 10, 0, 0.27753279986288694}} {
		if low, high := wilson(c.p, c.n); math.Abs(low-c.low) > 1e-9 || math.Abs(high-c.high) > 1e-9 {
			t.Errorf("%v of %d: %v to %v, want %v to %v", c.p, c.n, low, high, c.low, c.high)
		}
	}
	got := passes([]int{4, 0, 2, 1}, 4)
	for name, want := range map[string]float64{"avg@4": 7.0 / 16, "pass@1": 7.0 / 16, "pass@2": (1 + 0 + 5.0/6 + 0.5) / 4, "pass@3": (1 + 0 + 1 + 0.75) / 4, "pass@4": 0.75} {
		if e := got[name]; math.Abs(e.Value-want) > 1e-12 || !(e.Low < e.Value && e.Value < e.High) || e.Low < 0 || e.High > 1 {
			t.Errorf("%s is %+v, want %v", name, e, want)
		}
	}
	// The bootstrap over many prompts is the normal interval, nearly.
	values := make([]float64, 400)
	for i := range values {
		values[i] = float64(i%5) / 4
	}
	e := interval(values)
	half := z95 * math.Sqrt(0.125/400)
	if math.Abs(e.Low-(0.5-half)) > 0.1*half || math.Abs(e.High-(0.5+half)) > 0.1*half || e != interval(values) {
		t.Errorf("%+v, want %v to %v", e, 0.5-half, 0.5+half)
	}
	// No spread is no certainty.
	if e := interval([]float64{0.5, 0.5, 0.5}); !(e.Low < 0.4 && e.High > 0.6) {
		t.Errorf("%+v", e)
	}
}
