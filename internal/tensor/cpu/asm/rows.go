package main

// Kernels along rows, and what they share.

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// loop16 emits a loop over n elements, 16 at a time; n must be a multiple of 16.
func loop16(n Register, ptrs []Register, body func()) {
	Label("loop")
	CMPQ(n, Imm(16))
	JL(LabelRef("done"))
	body()
	for _, p := range ptrs {
		ADDQ(Imm(64), p)
	}
	SUBQ(Imm(16), n)
	JMP(LabelRef("loop"))
	Label("done")
}

func zero() VecVirtual {
	y := YMM()
	VXORPS(y, y, y)
	return y
}

func at(p Register, half int) Mem { return Mem{Base: p, Disp: 32 * half} }

// halve reduces lo (lanes 0-7) and hi (lanes 8-15) to one number by op.
func halve(lo, hi VecVirtual, op func(a, b, dst Op)) Register {
	op(hi, lo, lo)
	x := XMM()
	VEXTRACTF128(Imm(1), lo, x)
	l := lo.AsX()
	op(x, l, l)
	VMOVHLPS(l, l, x)
	op(x, l, l)
	VSHUFPS(Imm(1), l, l, x)
	op(x, l, l)
	return l
}

func add(a, b, dst Op)  { VADDPS(a, b, dst) }
func max_(a, b, dst Op) { VMAXPS(a, b, dst) }

func broadcast(name string) VecVirtual {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	y := YMM()
	VBROADCASTSS(p.Addr, y)
	return y
}

var consts = map[uint32]Mem{}

// c8 is a constant in eight lanes.
func c8(v float32) Mem {
	return bits8(math.Float32bits(v))
}

func bits8(b uint32) Mem {
	if m, ok := consts[b]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("c%08x", b), RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(b))
	}
	consts[b] = m
	return m
}

// exp replaces x by e^x: x = n ln2 + r, a polynomial in r, 2^n by the exponent
// (Cephes' expf). 0 under -87.33, NaN stays.
func exp(x VecVirtual) VecVirtual {
	under, n, y := YMM(), YMM(), YMM()
	VCMPPS(Imm(1), c8(expLow), x, under) // x < low
	lim := YMM()
	VMOVUPS(c8(expHigh), lim)
	VMINPS(x, lim, x) // the second source is kept on NaN
	VMOVUPS(c8(expLow), lim)
	VMAXPS(x, lim, x)
	VMULPS(c8(math.Log2E), x, n)
	VROUNDPS(Imm(8), n, n)
	VFNMADD231PS(c8(ln2Hi), n, x)
	VFNMADD231PS(c8(ln2Lo), n, x)
	VMOVUPS(c8(expP[0]), y)
	for _, p := range expP[1:] {
		VFMADD213PS(c8(p), x, y) // y = y*x + p
	}
	sq := YMM()
	VMULPS(x, x, sq)
	VFMADD213PS(x, sq, y) // y = y*x^2 + x
	VADDPS(c8(1), y, y)
	VCVTPS2DQ(n, n)
	VPADDD(bits8(127), n, n)
	VPSLLD(Imm(23), n, n)
	VMULPS(n, y, y)
	VANDNPS(y, under, y)
	return y
}

const (
	expLow  = -87.33
	expHigh = 88.37
	ln2Hi   = 0.693359375
	ln2Lo   = -2.12194440e-4
)

var expP = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

func rowMax() {
	text("rowMaxAVX2", "func(n int, x *float32) float32")
	Doc("rowMaxAVX2 returns the largest of x[0:n], n a positive multiple of 16.")
	n, x := Load(Param("n"), GP64()), Load(Param("x"), GP64())
	lo, hi := YMM(), YMM()
	VMOVUPS(at(x, 0), lo)
	VMOVUPS(at(x, 1), hi)
	loop16(n, []Register{x}, func() {
		VMAXPS(at(x, 0), lo, lo)
		VMAXPS(at(x, 1), hi, hi)
	})
	Store(halve(lo, hi, max_), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func rowExp() {
	text("rowExpAVX2", "func(n int, dst, x *float32, scale, shift float32) float32")
	Doc("rowExpAVX2 sets dst[i] = exp(x[i]*scale - shift) and returns the sum; dst may be x.")
	n, dst, x := Load(Param("n"), GP64()), Load(Param("dst"), GP64()), Load(Param("x"), GP64())
	scale, shift := broadcast("scale"), broadcast("shift")
	sums := [2]VecVirtual{zero(), zero()}
	loop16(n, []Register{dst, x}, func() {
		for h := range 2 {
			v := YMM()
			VMOVUPS(at(x, h), v)
			VFMSUB213PS(shift, scale, v) // v*scale - shift
			e := exp(v)
			VADDPS(e, sums[h], sums[h])
			VMOVUPS(e, at(dst, h))
		}
	})
	Store(halve(sums[0], sums[1], add), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func rowDot() {
	text("rowDotAVX2", "func(n int, x, y *float32) float32")
	Doc("rowDotAVX2 returns the sum of x[i]*y[i].")
	n, x, y := Load(Param("n"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64())
	sums := [2]VecVirtual{zero(), zero()}
	loop16(n, []Register{x, y}, func() {
		for h := range 2 {
			v := YMM()
			VMOVUPS(at(x, h), v)
			VFMADD231PS(at(y, h), v, sums[h])
		}
	})
	Store(halve(sums[0], sums[1], add), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func rowDot3() {
	text("rowDot3AVX2", "func(n int, w, x, y *float32) float32")
	Doc("rowDot3AVX2 returns the sum of (w[i]*x[i])*y[i].")
	n, w, x, y := Load(Param("n"), GP64()), Load(Param("w"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64())
	sums := [2]VecVirtual{zero(), zero()}
	loop16(n, []Register{w, x, y}, func() {
		for h := range 2 {
			v := YMM()
			VMOVUPS(at(w, h), v)
			VMULPS(at(x, h), v, v)
			VFMADD231PS(at(y, h), v, sums[h])
		}
	})
	Store(halve(sums[0], sums[1], add), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func rowAdd() {
	text("rowAddAVX2", "func(n int, dst, x, y *float32)")
	Doc("rowAddAVX2 sets dst[i] = x[i] + y[i].")
	binary(func(x, y, dst Op) { VADDPS(x, y, dst) })
}

func binary(op func(x, y, dst Op)) {
	n, dst, x, y := Load(Param("n"), GP64()), Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64())
	loop16(n, []Register{dst, x, y}, func() {
		for h := range 2 {
			v := YMM()
			VMOVUPS(at(x, h), v)
			op(at(y, h), v, v)
			VMOVUPS(v, at(dst, h))
		}
	})
	VZEROUPPER()
	RET()
}

func rowScale() {
	text("rowScaleAVX2", "func(n int, dst, x *float32, a float32)")
	Doc("rowScaleAVX2 sets dst[i] = a*x[i].")
	n, dst, x := Load(Param("n"), GP64()), Load(Param("dst"), GP64()), Load(Param("x"), GP64())
	a := broadcast("a")
	loop16(n, []Register{dst, x}, func() {
		for h := range 2 {
			v := YMM()
			VMULPS(at(x, h), a, v)
			VMOVUPS(v, at(dst, h))
		}
	})
	VZEROUPPER()
	RET()
}

// rowAxpy adds a multiple of x, or of its positive part.
func rowAxpy(relu bool) {
	name, what := "rowAxpyAVX2", "x[i]"
	if relu {
		name, what = "rowReluAxpyAVX2", "max(x[i], 0)"
	}
	text(name, "func(n int, dst, x *float32, a float32)")
	Doc(name + " sets dst[i] += a*" + what + ", rounded once.")
	n, dst, x := Load(Param("n"), GP64()), Load(Param("dst"), GP64()), Load(Param("x"), GP64())
	a, none := broadcast("a"), YMM()
	VXORPS(none, none, none)
	loop16(n, []Register{dst, x}, func() {
		for h := range 2 {
			v, sum := YMM(), YMM()
			VMOVUPS(at(x, h), v)
			if relu {
				VMAXPS(v, none, v)
			}
			VMOVUPS(at(dst, h), sum)
			VFMADD231PS(v, a, sum)
			VMOVUPS(sum, at(dst, h))
		}
	})
	VZEROUPPER()
	RET()
}

func rowNorm() {
	text("rowNormAVX2", "func(n int, dst, x, w *float32, inv float32)")
	Doc("rowNormAVX2 sets dst[i] = (x[i]*inv)*w[i].")
	n, dst, x, w := Load(Param("n"), GP64()), Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("w"), GP64())
	inv := broadcast("inv")
	loop16(n, []Register{dst, x, w}, func() {
		for h := range 2 {
			v := YMM()
			VMULPS(at(x, h), inv, v)
			VMULPS(at(w, h), v, v)
			VMOVUPS(v, at(dst, h))
		}
	})
	VZEROUPPER()
	RET()
}

func rowNormBack() {
	text("rowNormBackAVX2", "func(n int, dx, dw, dy, x, w *float32, inv, k float32)")
	Doc("rowNormBackAVX2 sets dx[i] += (w[i]*dy[i])*inv - x[i]*k and dw[i] += dy[i]*(x[i]*inv).")
	n, dx, dw := Load(Param("n"), GP64()), Load(Param("dx"), GP64()), Load(Param("dw"), GP64())
	dy, x, w := Load(Param("dy"), GP64()), Load(Param("x"), GP64()), Load(Param("w"), GP64())
	inv, k := broadcast("inv"), broadcast("k")
	loop16(n, []Register{dx, dw, dy, x, w}, func() {
		for h := range 2 {
			d, xv, t, u := YMM(), YMM(), YMM(), YMM()
			VMOVUPS(at(dy, h), d)
			VMOVUPS(at(x, h), xv)
			VMULPS(at(w, h), d, t)
			VMULPS(k, xv, u)
			VFMSUB213PS(u, inv, t) // t*inv - u
			VADDPS(at(dx, h), t, t)
			VMOVUPS(t, at(dx, h))
			VMULPS(inv, xv, xv)
			VMOVUPS(at(dw, h), u)
			VFMADD231PS(xv, d, u)
			VMOVUPS(u, at(dw, h))
		}
	})
	VZEROUPPER()
	RET()
}

// sigmoid returns 1/(1+exp(-g)).
func sigmoid(g VecVirtual) VecVirtual {
	neg := YMM()
	VXORPS(bits8(1<<31), g, neg)
	e := exp(neg)
	one := YMM()
	VMOVUPS(c8(1), one)
	VADDPS(one, e, e)
	VDIVPS(e, one, e)
	return e
}

func rowSwiGLU() {
	text("rowSwiGLUAVX2", "func(n int, dst, gate, up *float32)")
	Doc("rowSwiGLUAVX2 sets dst[i] = (gate*sigmoid(gate))*up.")
	n, dst, g, u := Load(Param("n"), GP64()), Load(Param("dst"), GP64()), Load(Param("gate"), GP64()), Load(Param("up"), GP64())
	loop16(n, []Register{dst, g, u}, func() {
		for h := range 2 {
			v := YMM()
			VMOVUPS(at(g, h), v)
			s := sigmoid(v)
			VMULPS(at(g, h), s, s)
			VMULPS(at(u, h), s, s)
			VMOVUPS(s, at(dst, h))
		}
	})
	VZEROUPPER()
	RET()
}

func rowSwiGLUBack() {
	text("rowSwiGLUBackAVX2", "func(n int, dg, du, dy, gate, up *float32)")
	Doc("rowSwiGLUBackAVX2 sets du[i] = dy*(gate*s) and dg[i] = (dy*up)*(s*(1+gate*(1-s))), s = sigmoid(gate).")
	n, dg, du := Load(Param("n"), GP64()), Load(Param("dg"), GP64()), Load(Param("du"), GP64())
	dy, g, u := Load(Param("dy"), GP64()), Load(Param("gate"), GP64()), Load(Param("up"), GP64())
	loop16(n, []Register{dg, du, dy, g, u}, func() {
		for h := range 2 {
			gv := YMM()
			VMOVUPS(at(g, h), gv)
			s := sigmoid(gv)
			gs, d, t := YMM(), YMM(), YMM()
			VMOVUPS(at(dy, h), d)
			VMOVUPS(at(g, h), gv)
			VMULPS(s, gv, gs)
			VMULPS(at(u, h), d, t) // before du is written: du may be u
			VMULPS(gs, d, d)
			VMOVUPS(d, at(du, h))
			one := YMM()
			VMOVUPS(c8(1), one)
			VSUBPS(s, one, d)       // 1-s
			VFMADD213PS(one, gv, d) // d*g + 1
			VMULPS(s, d, d)
			VMULPS(d, t, t)
			VMOVUPS(t, at(dg, h))
		}
	})
	VZEROUPPER()
	RET()
}

func rowRope() {
	text("rowRopeAVX2", "func(n int, x1, x2, cos, sin *float32, sign float32)")
	Doc("rowRopeAVX2 rotates the pairs (x1[i], x2[i]) in place: x1*c - x2*(sign*s), x2*c + x1*(sign*s). n is a multiple of 8.")
	n, x1, x2 := Load(Param("n"), GP64()), Load(Param("x1"), GP64()), Load(Param("x2"), GP64())
	cos, sin := Load(Param("cos"), GP64()), Load(Param("sin"), GP64())
	sign := broadcast("sign")
	Label("loop")
	CMPQ(n, Imm(8))
	JL(LabelRef("done"))
	a, b, c, s, t := YMM(), YMM(), YMM(), YMM(), YMM()
	VMOVUPS(at(x1, 0), a)
	VMOVUPS(at(x2, 0), b)
	VMOVUPS(at(cos, 0), c)
	VMULPS(at(sin, 0), sign, s)
	VMULPS(s, b, t)
	VMULPS(s, a, s)
	VFMSUB213PS(t, c, a) // a*c - b*s
	VFMADD213PS(s, c, b) // b*c + a*s
	VMOVUPS(a, at(x1, 0))
	VMOVUPS(b, at(x2, 0))
	for _, p := range []Register{x1, x2, cos, sin} {
		ADDQ(Imm(32), p)
	}
	SUBQ(Imm(8), n)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

func rowSoftmaxBack() {
	text("rowSoftmaxBackAVX2", "func(n int, p, dp *float32, delta, scale float32)")
	Doc("rowSoftmaxBackAVX2 sets dp[i] = (p[i]*(dp[i]-delta))*scale.")
	n, p, dp := Load(Param("n"), GP64()), Load(Param("p"), GP64()), Load(Param("dp"), GP64())
	delta, scale := broadcast("delta"), broadcast("scale")
	loop16(n, []Register{p, dp}, func() {
		for h := range 2 {
			v := YMM()
			VMOVUPS(at(dp, h), v)
			VSUBPS(delta, v, v)
			VMULPS(at(p, h), v, v)
			VMULPS(scale, v, v)
			VMOVUPS(v, at(dp, h))
		}
	})
	VZEROUPPER()
	RET()
}

func rowAdamW() {
	text("rowAdamWAVX2", "func(n int, p, grad, m, v *float32, c *[9]float32)")
	Doc("rowAdamWAVX2 is one AdamW update; c holds gscale, beta1, 1-beta1, beta2, 1-beta2, 1/sqrt(1-beta2^t), eps, lr/(1-beta1^t), 1-lr*decay.")
	n, p, g := Load(Param("n"), GP64()), Load(Param("p"), GP64()), Load(Param("grad"), GP64())
	m, v, c := Load(Param("m"), GP64()), Load(Param("v"), GP64()), Load(Param("c"), GP64())
	k := make([]VecVirtual, 9)
	for i := range k {
		k[i] = YMM()
		VBROADCASTSS(Mem{Base: c, Disp: 4 * i}, k[i])
	}
	loop16(n, []Register{p, g, m, v}, func() {
		for h := range 2 {
			gv, mv, vv := YMM(), YMM(), YMM()
			VMULPS(at(g, h), k[0], gv)
			VMULPS(at(m, h), k[1], mv)
			VFMADD231PS(gv, k[2], mv) // beta1*m + (1-beta1)*g
			VMOVUPS(mv, at(m, h))
			VMULPS(at(v, h), k[3], vv)
			VMULPS(gv, gv, gv)
			VFMADD231PS(gv, k[4], vv)
			VMOVUPS(vv, at(v, h))
			VSQRTPS(vv, vv)
			VFMADD213PS(k[6], k[5], vv) // sqrt(v)/sqrt(bc2) + eps
			VMULPS(k[7], mv, mv)
			VDIVPS(vv, mv, mv)
			VMULPS(at(p, h), k[8], gv)
			VSUBPS(mv, gv, gv)
			VMOVUPS(gv, at(p, h))
		}
	})
	VZEROUPPER()
	RET()
}

func transpose8() {
	text("transpose8AVX2", "func(dst *float32, ldd int, src *float32, lds int)")
	Doc("transpose8AVX2 sets dst[j*ldd+i] = src[i*lds+j] for i, j < 8.")
	dst, ldd := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64())
	src, lds := Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	SHLQ(Imm(2), ldd)
	SHLQ(Imm(2), lds)
	r := make([]VecVirtual, 8)
	for i := range r {
		r[i] = YMM()
		VMOVUPS(Mem{Base: src}, r[i])
		if i < 7 {
			ADDQ(lds, src)
		}
	}
	t := YMM()
	for i := 0; i < 8; i += 2 { // interleave pairs of rows
		VMOVAPS(r[i], t)
		VUNPCKLPS(r[i+1], t, r[i])
		VUNPCKHPS(r[i+1], t, r[i+1])
	}
	for i := 0; i < 8; i += 4 {
		// r[i], r[i+2] low pairs; r[i+1], r[i+3] high pairs
		VMOVAPS(r[i], t)
		VSHUFPS(Imm(0x44), r[i+2], t, r[i])
		VSHUFPS(Imm(0xee), r[i+2], t, r[i+2])
		VMOVAPS(r[i+1], t)
		VSHUFPS(Imm(0x44), r[i+3], t, r[i+1])
		VSHUFPS(Imm(0xee), r[i+3], t, r[i+3])
	}
	// columns 0..3 (and 4..7 in the high halves) lie in order 0, 2, 1, 3
	order := []int{0, 2, 1, 3}
	for half := range 2 {
		for _, c := range order {
			VPERM2F128(Imm(uint64(0x20+0x11*half)), r[4+c], r[c], t)
			VMOVUPS(t, Mem{Base: dst})
			ADDQ(ldd, dst)
		}
	}
	VZEROUPPER()
	RET()
}

func pause() {
	text("pauseAVX2", "func(n int)")
	Doc("pauseAVX2 waits for n PAUSE instructions: a spinning thread leaves the core's resources to others.")
	n := Load(Param("n"), GP64())
	Label("loop")
	PAUSE()
	DECQ(n)
	JNZ(LabelRef("loop"))
	RET()
}
