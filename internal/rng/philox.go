package rng

import (
	"math/bits"
)

// Constants of Philox4x32: two multipliers and the Weyl increments of the key.
const (
	philoxM0 = 0xD2511F53
	philoxM1 = 0xCD9E8D57
	philoxW0 = 0x9E3779B9
	philoxW1 = 0xBB67AE85

	philoxRounds = 10
)

// Key selects one stream of numbers.
type Key [2]uint32

// Counter names one draw within a stream: (position, sample, candidate, step)
// wherever completions are sampled.
type Counter [4]uint32

// Philox returns the four random words of Philox4x32-10 for counter c under key k.
func Philox(k Key, c Counter) [4]uint32 {
	k0, k1 := k[0], k[1]
	for round := range philoxRounds {
		if round > 0 {
			k0 += philoxW0
			k1 += philoxW1
		}
		hi0, lo0 := bits.Mul32(philoxM0, c[0])
		hi1, lo1 := bits.Mul32(philoxM1, c[2])
		c = Counter{hi1 ^ c[1] ^ k0, lo1, hi0 ^ c[3] ^ k1, lo0}
	}
	return c
}
