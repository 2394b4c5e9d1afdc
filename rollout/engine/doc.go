// Package engine generates completions with our own models: continuous
// batching over a paged key-value cache, the group's prompt computed once, every
// token with what training needs to know of it.
//
//	e := engine.New(dev, engine.Options{MaxKVTokens: 1 << 16})
//	defer e.Close()
//	e.SetPolicy(model, version)
//	rollouts, err := e.Generate(ctx, request)
//
// What it promises: a completion depends on the weights, the prompt, the sampling
// settings and the request's random key, step, candidate and sample, and on
// nothing else: not on what else is being generated, on memory, on threads or on
// timing. Its logprobs are bit for bit those that the trainer computes with the
// same weights. A request waits while memory is short; it does not fail.
//
// Tokens are drawn by package sampling, or with the same result by a device that can
// (tensor.Drawer). A device that can repeats passes that only decode (tensor.Replayer), also
// with the same result.
package engine
