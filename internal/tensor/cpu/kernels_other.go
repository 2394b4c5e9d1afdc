//go:build !amd64

package cpu

// Never called: avx2 is false here. They let the callers compile.

func tileKernel(m, k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc, load int, ahead *float32, step int) {
	panic("no AVX2 here")
}

func pairKernel(m, k int, a *float32, rsa, csa int, b, b1 *float32, ldb int, c, c1 *float32, ldc, load int, ahead, ahead1 *float32, step int) {
	panic("no AVX-512 here")
}

func fewKernel(m, k int, a *float32, rsa int, b *[4]*float32, ldb int, c *float32, ldc, load int) {
	panic("no AVX-512 here")
}

func gemv2x16(k int, a *float32, b *[4]*float32, ldb int, c *float32, load int) {
	panic("no AVX2 here")
}

func gemv4x16(k int, a *float32, b *[4]*float32, ldb int, c *float32, load int) {
	panic("no AVX2 here")
}

func rowMaxAVX2(n int, x *float32) float32 {
	panic("no AVX2 here")
}

func rowExpAVX2(n int, dst *float32, x *float32, scale float32, shift float32) float32 {
	panic("no AVX2 here")
}

func rowDotAVX2(n int, x *float32, y *float32) float32 {
	panic("no AVX2 here")
}

func rowDot3AVX2(n int, w *float32, x *float32, y *float32) float32 {
	panic("no AVX2 here")
}

func rowAddAVX2(n int, dst *float32, x *float32, y *float32) {
	panic("no AVX2 here")
}

func rowScaleAVX2(n int, dst *float32, x *float32, a float32) {
	panic("no AVX2 here")
}

func rowAxpyAVX2(n int, dst *float32, x *float32, a float32) {
	panic("no AVX2 here")
}

func rowReluAxpyAVX2(n int, dst *float32, x *float32, a float32) {
	panic("no AVX2 here")
}

func rowNormAVX2(n int, dst *float32, x *float32, w *float32, inv float32) {
	panic("no AVX2 here")
}

func rowNormBackAVX2(n int, dx *float32, dw *float32, dy *float32, x *float32, w *float32, inv float32, k float32) {
	panic("no AVX2 here")
}

func rowSwiGLUAVX2(n int, dst *float32, gate *float32, up *float32) {
	panic("no AVX2 here")
}

func rowSwiGLUBackAVX2(n int, dg *float32, du *float32, dy *float32, gate *float32, up *float32) {
	panic("no AVX2 here")
}

func rowRopeAVX2(n int, x1 *float32, x2 *float32, cos *float32, sin *float32, sign float32) {
	panic("no AVX2 here")
}

func rowSoftmaxBackAVX2(n int, p *float32, dp *float32, delta float32, scale float32) {
	panic("no AVX2 here")
}

func rowAdamWAVX2(n int, p *float32, grad *float32, m *float32, v *float32, c *[9]float32) {
	panic("no AVX2 here")
}

func transpose8AVX2(dst *float32, ldd int, src *float32, lds int) {
	panic("no AVX2 here")
}

func pauseAVX2(n int) {
	panic("no AVX2 here")
}
