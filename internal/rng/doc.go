// Package rng is the one source of randomness in grouse: the counter-based
// generator Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as
// 1, 2, 3", SC 2011), checked against Random123's known answers.
//
// A counter-based generator has no state: a number is a pure function of a key
// and a counter. The key says what the numbers are for, the counter says which
// token of which completion of which prompt of which step draws. So a draw does
// not depend on who draws, when, or next to whom, and a resumed run repeats
// exactly what the interrupted one did.
//
//	key := rng.NewKey(rng.Rollout, stage.Name, spec.Seed)
//	u := key.Uniform(position, sample, candidate, step) // in [0,1)
//
// # Contract
//
// The key is the first 8 bytes of SHA-256("grouse/1|" + purpose + "|" + stage +
// "|" + seed), seed in decimal, read as two little-endian uint32 words. The
// counter is (position, sample, candidate, step). A uniform number is
// (x0 >> 8) * 2^-24: 24 bits, exact in float32, never 1.
//
// Permutations and normal variates use only integer arithmetic and operations
// that IEEE 754 rounds exactly (add, multiply, divide, square root), never
// math.Log or math.Cos, whose last bit differs between processors: same key and
// counter, same bits on every machine.
//
// Those elementary functions (Exp, Expm1, Log) are exported, because sampling and
// the loss need the same promise.
//
// The package is not for cryptography.
package rng
