// Package trainer turns scored groups into the next version of the policy.
//
//	t, err := trainer.New(model, stage)
//	result, err := t.Step(ctx, groups)      // one GRPO step: several updates if the recipe says so
//	result, err := t.SFT(ctx, examples)     // one update on worked examples
//
// The maths is trainer/grpo (pure), the passes are internal/model over
// internal/tensor, the schedule is trainer/optim; this package lays batches out
// and joins them. It knows no Temporal, no NATS and no files: a plain loop can
// drive it (examples/loop).
//
// Several ranks (NewRank, ranks.go) share every update and keep a part of the moments each.
//
// What it promises: the next weights are a function of the weights, the
// optimizer's state and the batch; on the CPU the same bits for every
// micro_batch_tokens and every number of threads.
package trainer
