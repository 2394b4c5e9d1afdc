//go:build emu && !asan

package cuda_test

const slabBytes = 8 << 20
