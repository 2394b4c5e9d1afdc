package rng

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// Purpose says what a stream of numbers is for. Two purposes never share a
// stream, whatever their counters.
type Purpose string

const (
	Rollout Purpose = "rollout" // sampling of training completions
	Eval    Purpose = "eval"    // sampling of evaluation completions
	Data    Purpose = "data"    // shuffles and prompt draws
	Init    Purpose = "init"    // initial weights
	Reject  Purpose = "reject"  // sampling in a rejection_sampling stage
	Round   Purpose = "round"   // rounding of weights without float32 masters
)

// Purposes lists every Purpose.
var Purposes = [...]Purpose{Rollout, Eval, Data, Init, Reject, Round}

// NewKey returns the key of a purpose within a stage (its name) of a run with
// this seed: the first 8 bytes of SHA-256("grouse/1|purpose|stage|seed"), as
// two little-endian words. It panics on a purpose that is not listed, because a
// misspelled one would silently draw from a stream of its own.
func NewKey(purpose Purpose, stage string, seed uint64) Key {
	known := false
	for _, p := range Purposes {
		known = known || p == purpose
	}
	if !known {
		panic("rng: unknown purpose " + strconv.Quote(string(purpose)))
	}
	sum := sha256.Sum256([]byte("grouse/1|" + string(purpose) + "|" + stage + "|" + strconv.FormatUint(seed, 10)))
	return Key{binary.LittleEndian.Uint32(sum[0:4]), binary.LittleEndian.Uint32(sum[4:8])}
}

// Uniform returns (x0 >> 8) * 2^-24 in [0, 1) for the counter (position,
// sample, candidate, step): the number that draws one token. The value is exact
// in float32 and in float64.
func (k Key) Uniform(position, sample, candidate, step uint32) float32 {
	x := Philox(k, Counter{position, sample, candidate, step})
	return Uniform24(x[0])
}

// Uniform24 maps a random word to [0, 1) by its upper 24 bits.
func Uniform24(x uint32) float32 { return float32(x>>8) * 0x1p-24 }

// Uniform53 maps two random words to [0, 1) by 53 bits, for draws in float64.
func Uniform53(hi, lo uint32) float64 {
	return float64(uint64(hi)<<21^uint64(lo)>>11) * 0x1p-53
}
