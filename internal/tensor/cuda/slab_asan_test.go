//go:build emu && asan

package cuda_test

// With AddressSanitizer every buffer is an allocation of its own, so that a step
// out of one is seen.
const slabBytes = 1
