package logprob

import (
	"math"

	"github.com/grouse-rl/grouse/internal/rng"
)

// Block is how many vocabulary ids are reduced together: ids [b*Block,
// (b+1)*Block), the last block shorter.
const Block = 1024

// BlockSum is what a softmax needs to know of one block of scaled logits x = z/tau:
//
//	Max = max x            over the block; -Inf if every x is -Inf
//	Sum = sum exp(x - Max) at least 1; 0 if Max is -Inf
//	Dot = sum exp(x - Max) (x - Max), at most 0; terms with exp = 0 count 0
//
// A NaN or +Inf among the logits must make Sum a NaN: that is how it is noticed.
type BlockSum struct {
	Max, Sum, Dot float32
}

// Masses is a row of logits turned into unnormalized probabilities, by Fill or
// by an engine's kernel. Temperature is that of the sampler; a temperature of 0
// counts as 1.
type Masses struct {
	Exp    []float32  // [V], exp(x_v - Max of v's block)
	Blocks []BlockSum // [ceil(V/Block)]
}

// NumBlocks returns how many blocks a vocabulary of vocab ids has.
func NumBlocks(vocab int) int { return (vocab + Block - 1) / Block }

// Fill computes the masses of logits, reusing m's memory. It is the plain twin
// of the engine's kernel: x is divided in float32, exponentials are rounded to
// float32, and a block is added up in eight float32 lanes (lane l takes ids l,
// l+8, ...), then lanes 4 apart, 2 apart, 1 apart.
func (m *Masses) Fill(logits []float32, temperature float32) {
	m.Exp = grow(m.Exp, len(logits))
	m.Blocks = grow(m.Blocks, NumBlocks(len(logits)))
	for b := range m.Blocks {
		lo, hi := b*Block, min((b+1)*Block, len(logits))
		m.Blocks[b] = fillBlock(m.Exp[lo:hi], logits[lo:hi], divisor(temperature))
	}
}

func fillBlock(exp, logits []float32, tau float32) BlockSum {
	top := float32(math.Inf(-1))
	for _, z := range logits {
		if x := z / tau; x > top || x != x {
			top = x // a NaN stays: nothing is greater than it
		}
	}
	if math.IsInf(float64(top), -1) {
		clear(exp)
		return BlockSum{Max: top}
	}
	var sum, dot [8]float32
	for i, z := range logits {
		d := z/tau - top
		e := float32(rng.Exp(float64(d)))
		exp[i] = e
		sum[i%8] += e
		if e != 0 {
			dot[i%8] += float32(e * d)
		}
	}
	return BlockSum{Max: top, Sum: addLanes(sum), Dot: addLanes(dot)}
}

func addLanes(v [8]float32) float32 {
	for w := 4; w > 0; w /= 2 {
		for i := range w {
			v[i] += v[i+w]
		}
	}
	return v[0]
}

// Combine joins the blocks of a row, in ascending order, in float64:
//
//	top    = max_b Max_b
//	logSum = log sum_b Sum_b exp(Max_b - top)   so log-sum-exp is top + logSum
//	entropy of the whole distribution, nats
//
// logSum is NaN if a logit was NaN or +Inf, and top is -Inf if every logit was.
func Combine(blocks []BlockSum) (top float32, logSum, entropy float64) {
	top = float32(math.Inf(-1))
	for _, b := range blocks {
		if b.Max > top {
			top = b.Max
		}
	}
	var sum, dot float64
	for _, b := range blocks {
		if b.Sum == 0 {
			continue
		}
		d := float64(b.Max) - float64(top)
		f := rng.Exp(d)
		sum += float64(float64(b.Sum) * f)
		if f != 0 {
			dot += float64((float64(b.Dot) + float64(float64(b.Sum)*d)) * f)
		}
	}
	logSum = rng.Log(sum)
	return top, logSum, max(0, logSum-dot/sum)
}

// divisor returns what logits are divided by: 1 for greedy sampling.
func divisor(temperature float32) float32 {
	if temperature == 0 {
		return 1
	}
	return temperature
}

// grow returns s with length n, with fresh memory only if it is too small.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
