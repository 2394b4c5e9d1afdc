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
// Logprobs are those of internal/logprob, which the trainer calls too: the same
// logits give the same bits.
//
// # Who does what
//
// A Sampler allocates nothing after its first calls and is not safe for
// concurrent use: an engine has one for each sequence it is decoding or for each
// goroutine.
package sampling
