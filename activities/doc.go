// Package activities is what a run's workflow has others do: draw prompts,
// sample groups, score them, train, save, evaluate.
//
// Activities are thin. They fetch what a reference names, call one of the
// interfaces declared here (interfaces.go), store the result and return a
// reference and a few numbers. internal/worker joins the interfaces to the
// engine, the rewards and the trainer.
//
// Rollouts samples (queue grouse-rollout), Rewards scores (grouse-reward, or in
// the workflow's own process), Trainer is everything that owns the run's folder:
// weights, ledger, checkpoints, data (grouse-train-<run>).
//
// # Safe to repeat
//
// Every activity may be run again, at any time, after any crash. Its key is
// what the work is (run, stage, step, wave, range), never who did it when; the
// same key gives the same stored answer. Trainer.Train writes the batch to the
// ledger before the optimizer sees it, the step after; weights that were lost
// with a process come back from a checkpoint and the ledger's batches, with the
// chain of hashes checked at every step.
//
// # Errors
//
// What is returned to Temporal is an ApplicationError whose type is the
// grouse.Kind, or BatchMissing or PolicyMissing, which the workflow mends
// itself. Unavailable is tried again, the other kinds are not. The last line
// of a message says what to do.
package activities
