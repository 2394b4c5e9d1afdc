// Package proof is DeepSeekMath-V2's rewards for natural-language proofs
// (spec 7.5): what a verifier, a meta-verifier and a proof generator must write,
// how their scores are read, and how a proof, a self-evaluation and an evaluation
// are rewarded. It is arithmetic and parsing; who judges is the caller's affair.
//
// Scores are 1 (complete and rigorous), 0.5 (sound, with minor errors or omitted
// details) and 0 (fatal errors or gaps). Everything is read from what follows the
// last </think>; an unclosed <think> is a format failure.
package proof
