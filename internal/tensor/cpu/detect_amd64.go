package cpu

import "golang.org/x/sys/cpu"

// avx2 reports whether the assembly kernels can run here. It changes the speed,
// never a bit: tests run everything both ways.
var avx2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// hasPause: PAUSE is there on every amd64.
const hasPause = true
