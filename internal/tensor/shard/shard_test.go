package shard

import (
	"math/rand/v2"
	"testing"
)

// Every element of every parameter has one owner, who has it at the place where
// the flat row says.
func TestEveryElementHasOneOwner(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		sizes := make([]int, 1+rng.IntN(8))
		total, taken := 0, 0 // elements, with padding between parameters
		for i := range sizes {
			sizes[i] = rng.IntN(700)
			total += sizes[i]
			taken += (sizes[i] + Align - 1) / Align * Align
		}
		ranks := 1 + rng.IntN(9)
		p, err := New(sizes, ranks)
		if err != nil {
			t.Fatal(err)
		}
		if p.Length%Align != 0 || p.Padded() < taken || p.Padded() >= taken+ranks*(Align+1) {
			t.Fatalf("sizes %v, %d ranks: stretches of %d", sizes, ranks, p.Length)
		}
		seen := make([]int, p.Padded())
		for rank := range ranks {
			before := 0
			for _, piece := range p.Owned(rank) {
				if piece.At < before || piece.From >= piece.To || piece.To > sizes[piece.Param] {
					t.Fatalf("rank %d has %+v", rank, piece)
				}
				before = piece.At + piece.To - piece.From
				if piece.From%Align != 0 || piece.At%Align != 0 {
					t.Fatalf("rank %d has %+v, which is not aligned", rank, piece)
				}
				for i := piece.From; i < piece.To; i++ {
					flat := rank*p.Length + piece.At + i - piece.From
					if flat != p.Start(piece.Param)+i || p.Owner(piece.Param, i) != rank {
						t.Fatalf("element %d of parameter %d is at %d of rank %d", i, piece.Param, flat, rank)
					}
					seen[flat]++
				}
			}
			if before > p.Length {
				t.Fatalf("rank %d's pieces end at %d of %d", rank, before, p.Length)
			}
		}
		owned := 0
		for i, n := range seen {
			if n > 1 {
				t.Fatalf("element %d of the row has %d owners", i, n)
			}
			owned += n
		}
		if owned != total {
			t.Fatalf("%d of %d elements have an owner", owned, total)
		}
	}
	for _, c := range []struct {
		sizes []int
		ranks int
	}{{nil, 0}, {[]int{-1}, 1}} {
		if _, err := New(c.sizes, c.ranks); err == nil {
			t.Errorf("%v was taken", c)
		}
	}
	if p, err := New(nil, 4); err != nil || p.Padded() != 0 || len(p.Owned(0)) != 0 {
		t.Errorf("no parameters: %+v, %v", p, err)
	}
}

// A step by ranks gives the bits of a step by one, for the same summed gradients.
func TestTheNormAndTheUpdateDoNotDependOnTheRanks(t *testing.T) {
	sizes := []int{1000, 3, 0, 517, 64}
	rng := rand.New(rand.NewPCG(3, 4))
	var flat []float32
	for _, n := range sizes {
		for range n {
			flat = append(flat, float32(rng.NormFloat64()))
		}
	}
	update := func(x, norm float64) float32 { return float32(x / (1 + norm)) }
	var want []float32
	var wantNorm float64
	for _, ranks := range []int{1, 2, 3, 5, 8, 16} {
		p, err := New(sizes, ranks)
		if err != nil {
			t.Fatal(err)
		}
		row, at := make([]float32, p.Padded()), 0
		for i, n := range sizes {
			copy(row[p.Start(i):], flat[at:at+n])
			at += n
		}
		var sums []float64
		for r := range ranks {
			sums = append(sums, BlockSums(row[r*p.Length:(r+1)*p.Length])...)
		}
		norm := Norm(sums)
		got := make([]float32, (len(flat)/Align+len(sizes)+1)*Align)
		for r := range ranks {
			for _, piece := range p.Owned(r) {
				for i := piece.From; i < piece.To; i++ {
					at := p.Start(piece.Param) + i
					got[at] = update(float64(row[at]), norm)
				}
			}
		}
		if ranks == 1 {
			want, wantNorm = got, norm
			continue
		}
		if norm != wantNorm {
			t.Errorf("%d ranks: norm² %v, one rank %v", ranks, norm, wantNorm)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%d ranks: element %d is %v, one rank %v", ranks, i, got[i], want[i])
			}
		}
	}
}

func TestReduceGoesByRank(t *testing.T) {
	big, one := float32(1<<24), float32(1)
	dst := make([]float32, 2)
	Reduce(dst, [][]float32{{big, one}, {one, one}, {-big, big}})
	if dst[0] != 0 || dst[1] != float32(1<<24)+2 { // (2²⁴ + 1) - 2²⁴ and (1 + 1) + 2²⁴
		t.Errorf("%v", dst)
	}
}
