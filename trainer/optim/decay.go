package optim

import "strings"

// Decays reports whether weight decay applies to a parameter: to matrices, not to
// biases and the weights of norms, whose pull towards 0 would only fight the data.
func Decays(name string, shape []int) bool {
	if len(shape) < 2 || strings.HasSuffix(name, "bias") {
		return false
	}
	return !strings.Contains(strings.ToLower(name), "norm")
}
