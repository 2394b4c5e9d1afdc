// Package cpu is the tensor.Device of ordinary processors: plain Go, with
// AVX2+FMA assembly where the processor has it, and no cgo.
//
// Both give the same bits (generic.go says how), so a run's hashes do not
// depend on the processor. Weights lie in panels of 16 outputs (gemm.go).
// Threads share the outputs of an operation, never a reduction.
package cpu

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg cpu"
