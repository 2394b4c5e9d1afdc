package rng

// Stream reads the numbers of one key one after the other: word i of block n
// is Philox(key, {n, b, c, d})[i]. It is for work that consumes a count of numbers
// known only while it runs, such as a shuffle. The zero Stream is not useful;
// start one with Key.Stream. A Stream is a plain value: a copy continues on its
// own.
type Stream struct {
	key     Key
	counter Counter
	words   [4]uint32
	used    int // words of the current block handed out; 4: none left
}

// Stream returns the stream of a key for the last three counter words; the first
// one counts blocks. Streams with different (b, c, d) never overlap.
func (k Key) Stream(b, c, d uint32) Stream {
	return Stream{key: k, counter: Counter{0, b, c, d}, used: 4}
}

// Uint32 returns the next word.
func (s *Stream) Uint32() uint32 {
	if s.used == 4 {
		s.words = Philox(s.key, s.counter)
		s.counter[0]++
		s.used = 0
	}
	w := s.words[s.used]
	s.used++
	return w
}

// Uint64 returns the next two words, the first as the upper half.
func (s *Stream) Uint64() uint64 {
	hi := uint64(s.Uint32())
	return hi<<32 | uint64(s.Uint32())
}

// Float64 returns a number in [0, 1) with 53 bits, from two words.
func (s *Stream) Float64() float64 {
	hi := s.Uint32()
	return Uniform53(hi, s.Uint32())
}

// Below returns an integer in [0, n), every one equally likely (words that
// would favour the small ones are drawn again). It panics if n is 0.
func (s *Stream) Below(n uint64) uint64 {
	if n == 0 {
		panic("rng: Below(0)")
	}
	tail := -n % n // 2^64 mod n: how many of the smallest words are in excess
	for {
		if v := s.Uint64(); v >= tail {
			return v % n
		}
	}
}

// Perm returns a permutation of 0..n-1 (Fisher-Yates, from the end).
func (s *Stream) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	s.Shuffle(n, func(i, j int) { p[i], p[j] = p[j], p[i] })
	return p
}

// Shuffle permutes n elements through swap (Fisher-Yates, from the end).
func (s *Stream) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, int(s.Below(uint64(i+1))))
	}
}
