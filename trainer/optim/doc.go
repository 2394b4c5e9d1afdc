// Package optim is the optimizer's arithmetic apart from its inner loop: which
// parameters decay, the learning rate of an update, the scale that clips the
// gradient, the scalars of an AdamW update, and what happens when a gradient is
// not finite. The loop over a tensor's elements is a kernel of internal/tensor;
// Update is its plain twin.
//
//	s := optim.State{}                                  // saved with a checkpoint
//	norm := math.Sqrt(sum of squares of every gradient)
//	step, ok := s.Next(spec, totalUpdates, norm)        // !ok: not finite, skip this update
//	c := step.Coefficients(optim.Decays(name, shape))   // per tensor
//	optim.Update(c, weight, grad, m, v)
//
// The conventions are PyTorch's (torch.optim.AdamW, clip_grad_norm_), checked
// against numbers that PyTorch wrote. Powers and cosines are computed with fixed
// bits, like everything that a run's weights depend on.
package optim
