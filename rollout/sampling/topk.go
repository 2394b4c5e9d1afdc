package sampling

// entry is a token that may survive.
type entry struct {
	logit float32
	id    int32
}

// before reports whether a comes first in descending order: the larger logit,
// among equals the lower id.
func (a entry) before(b entry) bool {
	return a.logit > b.logit || (a.logit == b.logit && a.id < b.id)
}

// largest returns the k first entries of logits in descending order, ties to the
// lower id, in h's memory. It keeps a heap of the best k, the worst on top, and
// sees each logit once: V comparisons and, for logits in random order, about
// k ln(V/k) insertions.
func largest(h []entry, logits []float32, k int) []entry {
	h = grow(h, k)
	for i := range h {
		h[i] = entry{logits[i], int32(i)}
	}
	for i := k/2 - 1; i >= 0; i-- {
		sink(h, i)
	}
	for i := k; i < len(logits); i++ {
		if logits[i] > h[0].logit { // an equal one has the higher id: it stays out
			h[0] = entry{logits[i], int32(i)}
			sink(h, 0)
		}
	}
	for n := k - 1; n > 0; n-- { // the worst to the end, again and again
		h[0], h[n] = h[n], h[0]
		sink(h[:n], 0)
	}
	return h
}

// sink restores the heap below i: a parent comes after both its children in
// descending order.
func sink(h []entry, i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c].before(h[c+1]) {
			c++
		}
		if h[c].before(h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// grow returns s with length n, with fresh memory only if it is too small.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
