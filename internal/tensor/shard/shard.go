// Package shard says which rank keeps the optimizer states of what, in data
// parallelism with sharded states (ZeRO stage 1; Rajbhandari et al., arXiv:1910.02054,
// §5.1). It is arithmetic only.
//
// All parameters, in their order, are one flat row of numbers, each beginning at a
// multiple of Align, cut into as many stretches of one length as there are ranks; a
// stretch may begin and end within a parameter. In an update each rank
//
//  1. adds up its stretch of all ranks' gradients (a reduce-scatter),
//  2. updates its stretch of the parameters, with the moments that only it has,
//  3. hands its stretch to all others (an all-gather).
//
// The update of a number depends on its gradient, moments and value only, and on
// the global norm, whose order of sums Norm fixes: so for given gradients the result
// is the same bits for any number of ranks. The sum of gradients over ranks is not:
// its order is that of the ranks.
package shard

import "fmt"

// Align is what the beginnings of parameters and the length of a stretch are multiples
// of, in elements: pieces then begin at multiples of it in their parameter, and their
// addresses, bfloat16 and float32, are multiples of 256 bytes.
const Align = 128

// Plan is the flat row of parameters, cut for some ranks.
type Plan struct {
	Ranks  int
	Sizes  []int // of the parameters, in elements
	starts []int // of the parameters in the row
	Length int   // of a stretch; Ranks*Length is at least what the parameters take, the rest is padding
}

// New plans for parameters of the sizes.
func New(sizes []int, ranks int) (*Plan, error) {
	if ranks < 1 {
		return nil, fmt.Errorf("shard: %d ranks", ranks)
	}
	p := &Plan{Ranks: ranks, Sizes: sizes, starts: make([]int, len(sizes))}
	total := 0
	for i, n := range sizes {
		if n < 0 {
			return nil, fmt.Errorf("shard: parameter %d has %d elements", i, n)
		}
		p.starts[i] = total
		total += aligned(n)
	}
	p.Length = aligned((total + ranks - 1) / ranks)
	return p, nil
}

func aligned(n int) int { return (n + Align - 1) / Align * Align }

// Padded is the length of the row with its padding: what a rank's flat gradients
// must hold.
func (p *Plan) Padded() int { return p.Ranks * p.Length }

// Start is where a parameter begins in the row.
func (p *Plan) Start(param int) int { return p.starts[param] }

// Piece is a part of one parameter within one rank's stretch.
type Piece struct {
	Param    int
	From, To int // elements of the parameter
	At       int // where From lies in the stretch
}

// Owned are the pieces of a rank, in order of parameters.
func (p *Plan) Owned(rank int) []Piece {
	begin, end := rank*p.Length, (rank+1)*p.Length
	var out []Piece
	for i, n := range p.Sizes {
		from, to := max(begin, p.starts[i]), min(end, p.starts[i]+n)
		if from < to {
			out = append(out, Piece{Param: i, From: from - p.starts[i], To: to - p.starts[i], At: from - begin})
		}
	}
	return out
}

// Owner returns who keeps element i of a parameter.
func (p *Plan) Owner(param, i int) (rank int) { return (p.starts[param] + i) / p.Length }

// Block is the unit of the global norm: squares are added up within blocks of the
// flat row, in order, and then the blocks' sums in order. Stretches and parameters are
// whole numbers of blocks, so the order does not depend on the ranks.
const Block = Align

// BlockSums are the sums of squares of a stretch's blocks, to be gathered from all
// ranks for Norm: the plain twin of tensor.Device.BlockSquares. row is a rank's stretch [Length], its padding zero.
func BlockSums(row []float32) []float64 {
	out := make([]float64, (len(row)+Block-1)/Block)
	for b := range out {
		var sum float64
		for _, x := range row[b*Block : min(len(row), (b+1)*Block)] {
			sum += float64(x) * float64(x)
		}
		out[b] = sum
	}
	return out
}

// Norm adds up the gathered sums of all ranks, in order: the square of the global
// norm. Padding adds zeros, which change nothing.
func Norm(sums []float64) float64 {
	var total float64
	for _, s := range sums {
		total += s
	}
	return total
}

// Reduce adds up one stretch of the ranks' gradients in order of ranks, which is
// what a reduction on the host must do to repeat itself: dst [n], parts[r] [n].
func Reduce(dst []float32, parts [][]float32) {
	for i := range dst {
		sum := parts[0][i]
		for _, p := range parts[1:] {
			sum += p[i]
		}
		dst[i] = sum
	}
}
