//go:build !amd64

package cpu

// There are no assembly kernels for this architecture: the plain Go ones give
// the same bits.
const avx2, avx512 = false, false

const hasPause = false
