// Package grpo is the maths of group relative policy optimization and its
// relatives (GRPO, DAPO, Dr. GRPO, GSPO, DeepSeek-V3.2, Olmo 3): rewards to
// advantages, logprobs to the loss and its gradient with respect to every
// logprob. It is pure: no model, no tensor, no clock.
//
//	o, err := grpo.New(&stage.Algorithm)
//	o.Advantages(advantages, rewards)          // one group
//	var norm grpo.Normalizers                  // of the whole optimizer update
//	for i := range seqs {
//		norm.Add(seqs[i].Tokens())
//	}
//	for i := range seqs {                      // in any split into micro-batches
//		stats[i] = grpo.Loss(o, norm, &seqs[i], grad[i], nil)
//	}
//	metrics := grpo.LossMetrics(stats)
//
// # Letters
//
// A sequence i has T response tokens; the mask m_it says which count, n_i = sum_t
// m_it. Four logprobs belong to a token: lp of the policy being trained, old of
// the trainer with the weights that made the rollout, roll of the engine that
// sampled it, ref of the reference policy; all under the processed distribution
// (spec 1.1), in nats.
//
//	loss = sum_it weight_it * ( -obj_it * M_i * w_it  +  beta_i * kl_it )
//
//	obj  clipped surrogate        ratio.go, clip.go          spec 1.3, 1.4, 1.6
//	M    off-policy sequence mask offpolicymask.go           spec 3
//	w    engine correction        correction.go              spec 6
//	kl   KL to the reference      kl.go                      spec 2
//	weight                        aggregate.go               spec 1.5
//
// # Precision and order
//
// Everything is float64 inside: float32 logprobs are widened on entry and the
// gradient is rounded once on exit. A sequence's terms depend on that sequence
// and the update's Normalizers only, so a split into micro-batches changes no
// bit, as long as the caller adds statistics up in batch order (LossMetrics does).
package grpo
