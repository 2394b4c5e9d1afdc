// Package moe is the router of mixture-of-experts layers in plain float64: which
// experts a token goes to, with which weights, and the gradient with respect to
// the router's logits when the choice is forced ("keep routing", spec section 4).
// It is the reference that the tensor kernels are judged by.
//
// Two families: sigmoid scores with a correction bias and groups (DeepSeek-V3),
// and softmax scores with or without renormalization (Qwen3-MoE). E is the number
// of experts, K the experts of a token. Ties go to the lower index.
package moe
