// Command asm writes kernels_amd64.s and kernels_amd64.go: the AVX2+FMA and AVX-512 kernels
// of internal/tensor/cpu. It is a module of its own so that users of grouse do
// not download the generator. Run it by `go generate ./internal/tensor/cpu`.
//
// Every kernel has a twin in plain Go (kernels_generic.go) that gives the same
// bits. Two rules make that possible. A matrix product is one chain of fused
// multiply-adds along K for each output, lanes lie across outputs. A reduction
// along a row runs in 16 lanes (element i in lane i%16), then halves: lane i
// plus lane i+8, then i+4, i+2, i+1.
package main

import . "github.com/mmcloughlin/avo/build"

// text begins a kernel. None keeps an address that it is given, which the compiler
// must be told: else whatever is handed over is allocated.
func text(name, signature string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
}

func main() {
	ConstraintExpr("amd64")
	for m := 1; m <= 6; m++ {
		gemm(m)
	}
	for m := 1; m <= 12; m++ {
		gemm512(m, 1)
	}
	for m := 1; m <= 12; m++ {
		gemm512(m, 2)
	}
	for m := 2; m <= 4; m++ {
		few512(m)
	}
	gemv(2)
	gemv(4)
	rowMax()
	rowExp()
	rowDot()
	rowDot3()
	rowAdd()
	rowScale()
	rowAxpy(false)
	rowAxpy(true)
	rowNorm()
	rowNormBack()
	rowSwiGLU()
	rowSwiGLUBack()
	rowRope()
	rowSoftmaxBack()
	rowAdamW()
	transpose8()
	pause()
	Generate()
}
