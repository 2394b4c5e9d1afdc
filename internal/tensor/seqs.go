package tensor

// Seqs lays the rows of a batch out as sequences. A sequence may continue
// another one, its prefix: then it attends to all of the prefix's positions,
// and several continuations of one prompt compute the prompt once. A prefix
// stands before its continuations.
type Seqs struct {
	Start  []int // first row
	Len    []int // rows
	Prefix []int // index of the sequence this one continues, -1: none
	pos    []int // position of the first row
}

// Add appends a sequence of n rows after the last one and returns its index.
func (s *Seqs) Add(n, prefix int) int {
	start, pos := 0, 0
	if i := len(s.Start) - 1; i >= 0 {
		start = s.Start[i] + s.Len[i]
	}
	if prefix >= 0 {
		pos = s.pos[prefix] + s.Len[prefix]
	}
	s.Start = append(s.Start, start)
	s.Len = append(s.Len, n)
	s.Prefix = append(s.Prefix, prefix)
	s.pos = append(s.pos, pos)
	return len(s.Start) - 1
}

// Rows returns the number of rows of all sequences.
func (s *Seqs) Rows() int {
	i := len(s.Start) - 1
	if i < 0 {
		return 0
	}
	return s.Start[i] + s.Len[i]
}

// Pos returns the position of sequence i's first row.
func (s *Seqs) Pos(i int) int { return s.pos[i] }

// Positions returns the position of every row.
func (s *Seqs) Positions() []int32 {
	out := make([]int32, 0, s.Rows())
	for i, n := range s.Len {
		for j := range n {
			out = append(out, int32(s.pos[i]+j))
		}
	}
	return out
}

// Chain appends to dst the sequences that sequence i consists of: its prefixes
// from the first on, then i itself.
func (s *Seqs) Chain(dst []int, i int) []int {
	if p := s.Prefix[i]; p >= 0 {
		dst = s.Chain(dst, p)
	}
	return append(dst, i)
}

// Trees calls fn for each maximal run of sequences that hang together: lo is a
// sequence without prefix, lo+1..hi-1 continue it. Gradients of keys and values
// flow within a tree only.
func (s *Seqs) Trees(fn func(lo, hi int)) {
	for lo := 0; lo < len(s.Start); {
		hi := lo + 1
		for hi < len(s.Start) && s.Prefix[hi] >= 0 {
			hi++
		}
		fn(lo, hi)
		lo = hi
	}
}
