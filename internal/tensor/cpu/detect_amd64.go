package cpu

import "golang.org/x/sys/cpu"

// avx2 and avx512 report which assembly kernels can run here. They change the
// speed, never a bit: tests run everything in every way. avx512 implies avx2.
var (
	avx2   = cpu.X86.HasAVX2 && cpu.X86.HasFMA
	avx512 = avx2 && cpu.X86.HasAVX512F
)

// hasPause: PAUSE is there on every amd64.
const hasPause = true
