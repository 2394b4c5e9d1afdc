package length

// SoftOverlong returns DAPO's length term, from -1 to 0 (arXiv:2503.14476, eq. 13):
//
//	0                             n <= max - cache
//	((max - cache) - n) / cache   max - cache < n <= max
//	-1                            n > max
//
// cache 0 leaves the hard step at max.
func SoftOverlong(n, maxTokens, cache int) float64 {
	switch soft := maxTokens - cache; {
	case n <= soft:
		return 0
	case n <= maxTokens:
		return float64(soft-n) / float64(cache)
	}
	return -1
}

// Kimi returns lam or min(0, lam), from -0.5 to 0.5, for a completion of n tokens
// in a group whose shortest has shortest and whose longest has longest tokens
// (Kimi k1.5's length reward):
//
//	lam = 0.5 - (n - shortest) / (longest - shortest)
//
// lam for a correct completion, min(0, lam) for a wrong one; 0 if all have the
// same length.
func Kimi(n, shortest, longest int, correct bool) float64 {
	if shortest == longest {
		return 0
	}
	lam := 0.5 - float64(n-shortest)/float64(longest-shortest)
	if !correct {
		return min(0, lam)
	}
	return lam
}
