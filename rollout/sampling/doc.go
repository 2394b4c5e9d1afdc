// Package sampling draws one token from one row of logits and says what
// training needs to know about the draw: the logprob under the processed
// distribution, the kept set, the entropy. It is pure: a row, the settings and a
// uniform number in; a token out.
//
//	s, err := sampling.New(spec.Rollout.Sampling, vocab)
//	draw, err := s.Sample(logits, key.Uniform(position, sample, candidate, step), nil)
//
// The order of the filters is temperature, top-k, top-p over the renormalized
// survivors, min-p (spec section 5). Ties go to the lower id everywhere.
//
// # The same bits in the trainer
//
// A logprob that training computes again from the same logits must be the same
// float32, so that the importance ratio on policy is exactly 1. Each of the two
// cases therefore has one function, which the engine and the trainer both call:
//
//   - a kept set: KeptLogprob, from the gathered logits in ascending id, in float64;
//   - the whole vocabulary: FullLogprob, from a BlockSum for each Block ids. A
//     streaming kernel that sees the vocabulary in tiles keeps V/Block of them and
//     no [T, V]; how a kernel adds up within a block is its own affair as long as
//     engine and trainer run the same kernel. Masses.Fill is the plain one.
//
// # Who does what
//
// A Sampler allocates nothing after its first calls and is not safe for
// concurrent use: an engine has one for each sequence it is decoding or for each
// goroutine.
package sampling
