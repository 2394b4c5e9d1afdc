package cpu

import "unsafe"

// tileKernel runs the kernel of m <= 12 rows. With AVX2 more than 6 rows are two
// tiles: that changes no chain.
func tileKernel(m, k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc, load int, ahead *float32, step int) {
	if avx512 {
		tile512(m, k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
		return
	}
	if m > 6 {
		tile256(6, k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
		m -= 6
		a, c = skip(a, 6*rsa), skip(c, 6*ldc)
	}
	tile256(m, k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
}

// skip returns the address n elements on. The caller has checked the bounds.
func skip(p *float32, n int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*n))
}

func tile256(m, k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc, load int, ahead *float32, step int) {
	switch m {
	case 1:
		gemm1x16(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 2:
		gemm2x16(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 3:
		gemm3x16(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 4:
		gemm4x16(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 5:
		gemm5x16(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	default:
		gemm6x16(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	}
}

func tile512(m, k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc, load int, ahead *float32, step int) {
	switch m {
	case 1:
		gemm1x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 2:
		gemm2x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 3:
		gemm3x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 4:
		gemm4x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 5:
		gemm5x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 6:
		gemm6x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 7:
		gemm7x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 8:
		gemm8x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 9:
		gemm9x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 10:
		gemm10x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	case 11:
		gemm11x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	default:
		gemm12x16AVX512(k, a, rsa, csa, b, ldb, c, ldc, load, ahead, step)
	}
}

// pairKernel runs the AVX-512 kernel of m <= 12 rows and two panels.
func pairKernel(m, k int, a *float32, rsa, csa int, b, b1 *float32, ldb int, c, c1 *float32, ldc, load int, ahead, ahead1 *float32, step int) {
	switch m {
	case 1:
		gemm1x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 2:
		gemm2x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 3:
		gemm3x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 4:
		gemm4x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 5:
		gemm5x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 6:
		gemm6x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 7:
		gemm7x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 8:
		gemm8x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 9:
		gemm9x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 10:
		gemm10x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	case 11:
		gemm11x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	default:
		gemm12x32AVX512(k, a, rsa, csa, b, b1, ldb, c, c1, ldc, load, ahead, ahead1, step)
	}
}

// fewKernel runs the AVX-512 kernel of 2 <= m <= 4 rows and four panels.
func fewKernel(m, k int, a *float32, rsa int, b *[4]*float32, ldb int, c *float32, ldc, load int) {
	switch m {
	case 2:
		gemm2x64AVX512(k, a, rsa, b, ldb, c, ldc, load)
	case 3:
		gemm3x64AVX512(k, a, rsa, b, ldb, c, ldc, load)
	default:
		gemm4x64AVX512(k, a, rsa, b, ldb, c, ldc, load)
	}
}
