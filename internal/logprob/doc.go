// Package logprob says what the log-probability of a token is, for the engine
// that samples it and for the trainer that computes it again. Both call the
// functions here with the same logits, so both get the same float32, and the
// importance ratio on policy is exactly 1. There are two cases:
//
//   - a kept set (spec section 5): Kept, from the gathered logits in ascending
//     id, in float64;
//   - the whole vocabulary: Full, from one BlockSum for each Block ids. A kernel
//     that sees the vocabulary in tiles keeps V/Block of them and no [T, V]. How
//     it adds up within a block is its own affair, as long as engine and trainer
//     run the same kernel; Masses.Fill is the plain one.
package logprob
