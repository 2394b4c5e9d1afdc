package main

// Matrix products: one chain of fused multiply-adds for each output.

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// gemm is the product of m rows of A with one panel of 16 columns of B.
func gemm(m int) {
	text(fmt.Sprintf("gemm%dx16", m), "func(k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc int, load int, ahead *float32, step int)")
	Doc(fmt.Sprintf("gemm%dx16 computes C[i][j] (+)= sum_k A[i*rsa+k*csa] * B[k*ldb+j] for i < %d, j < 16.", m, m),
		"The sum starts from C if load is not 0. Strides are in elements; ahead is prefetched, step bytes on for each k.")
	k := Load(Param("k"), GP64())
	a := Load(Param("a"), GP64())
	rsa := Load(Param("rsa"), GP64())
	csa := Load(Param("csa"), GP64())
	b := Load(Param("b"), GP64())
	ldb := Load(Param("ldb"), GP64())
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	load := Load(Param("load"), GP64())
	ahead := Load(Param("ahead"), GP64())
	step := Load(Param("step"), GP64())
	for _, s := range []Register{rsa, csa, ldb, ldc} {
		SHLQ(Imm(2), s)
	}
	acc := make([][2]VecVirtual, m)
	for i := range acc {
		acc[i] = [2]VecVirtual{YMM(), YMM()}
	}
	a3 := GP64()
	if m > 3 {
		LEAQ(Mem{Base: a, Index: rsa, Scale: 2}, a3)
		ADDQ(rsa, a3)
	}
	row := func(i int) Mem {
		base := Mem{Base: a}
		if i >= 3 {
			base = Mem{Base: a3}
			i -= 3
		}
		if i > 0 {
			base.Index, base.Scale = rsa, uint8(i)
		}
		return base
	}
	// C rows are walked by a pointer.
	cp := GP64()
	TESTQ(load, load)
	JZ(LabelRef("zero"))
	MOVQ(c, cp)
	for i := range acc {
		VMOVUPS(Mem{Base: cp}, acc[i][0])
		VMOVUPS(Mem{Base: cp, Disp: 32}, acc[i][1])
		if i < m-1 {
			ADDQ(ldc, cp)
		}
	}
	JMP(LabelRef("loop4"))
	Label("zero")
	for i := range acc {
		VXORPS(acc[i][0], acc[i][0], acc[i][0])
		VXORPS(acc[i][1], acc[i][1], acc[i][1])
	}
	each := func() {
		b0, b1 := YMM(), YMM()
		VMOVUPS(Mem{Base: b}, b0)
		VMOVUPS(Mem{Base: b, Disp: 32}, b1)
		PREFETCHT0(Mem{Base: ahead})
		ADDQ(ldb, b)
		ADDQ(step, ahead)
		for i := range acc {
			x := YMM()
			VBROADCASTSS(row(i), x)
			VFMADD231PS(x, b0, acc[i][0])
			VFMADD231PS(x, b1, acc[i][1])
		}
		ADDQ(csa, a)
		if m > 3 {
			ADDQ(csa, a3)
		}
	}
	Label("loop4")
	CMPQ(k, Imm(4))
	JL(LabelRef("loop1"))
	for range 4 {
		each()
	}
	SUBQ(Imm(4), k)
	JMP(LabelRef("loop4"))
	Label("loop1")
	TESTQ(k, k)
	JZ(LabelRef("store"))
	each()
	DECQ(k)
	JMP(LabelRef("loop1"))
	Label("store")
	for i := range acc {
		VMOVUPS(acc[i][0], Mem{Base: c})
		VMOVUPS(acc[i][1], Mem{Base: c, Disp: 32})
		if i < m-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// gemm512 is gemm with AVX-512: a panel's 16 columns are one register. With one
// panel A is broadcast by the multiply-add itself, and loading is the limit; two at
// once take two multiply-adds for each number of A that is loaded.
func gemm512(m, n int) {
	name := fmt.Sprintf("gemm%dx%dAVX512", m, 16*n)
	if n == 1 {
		text(name, "func(k int, a *float32, rsa, csa int, b *float32, ldb int, c *float32, ldc int, load int, ahead *float32, step int)")
		Doc(fmt.Sprintf("%s is gemm%dx16's rule for i < %d, with AVX-512.", name, min(m, 6), m))
	} else {
		text(name, "func(k int, a *float32, rsa, csa int, b, b1 *float32, ldb int, c, c1 *float32, ldc int, load int, ahead, ahead1 *float32, step int)")
		Doc(fmt.Sprintf("%s is gemm%dx16AVX512 with two panels: b and c, b1 and c1.", name, m))
	}
	nth := func(name string, p int) string {
		if p > 0 {
			return fmt.Sprint(name, p)
		}
		return name
	}
	k := Load(Param("k"), GP64())
	rsa := Load(Param("rsa"), GP64())
	csa := Load(Param("csa"), GP64())
	ldc := Load(Param("ldc"), GP64())
	step := Load(Param("step"), GP64())
	b, ahead := make([]Register, n), make([]Register, n)
	for p := range n {
		b[p], ahead[p] = Load(Param(nth("b", p)), GP64()), Load(Param(nth("ahead", p)), GP64())
	}
	for _, s := range []Register{rsa, csa, ldc} {
		SHLQ(Imm(2), s)
	}
	bases := []GPVirtual{GP64()} // of rows 0, 3, 6, 9
	Load(Param("a"), bases[0])
	for i := 3; i < m; i += 3 {
		next := GP64()
		LEAQ(Mem{Base: bases[len(bases)-1], Index: rsa, Scale: 2}, next)
		ADDQ(rsa, next)
		bases = append(bases, next)
	}
	row := func(i int) Mem {
		at := Mem{Base: bases[i/3]}
		if i%3 > 0 {
			at.Index, at.Scale = rsa, uint8(i%3)
		}
		return at
	}
	acc := make([][]VecVirtual, n)
	for p := range acc {
		for range m {
			acc[p] = append(acc[p], ZMM())
		}
	}
	rows := func(each func(z VecVirtual, at Mem)) { // C rows are walked by a pointer
		for p := range n {
			cp := Load(Param(nth("c", p)), GP64())
			for i, z := range acc[p] {
				each(z, Mem{Base: cp})
				if i < m-1 {
					ADDQ(ldc, cp)
				}
			}
		}
	}
	load := Load(Param("load"), GP64())
	TESTQ(load, load)
	JZ(LabelRef("zero"))
	rows(func(z VecVirtual, at Mem) { VMOVUPS(at, z) })
	JMP(LabelRef("start"))
	Label("zero")
	for p := range acc {
		for _, z := range acc[p] {
			VPXORD(z, z, z)
		}
	}
	Label("start")
	ldb := Load(Param("ldb"), GP64())
	SHLQ(Imm(2), ldb)
	each := func() {
		col := make([]VecVirtual, n)
		for p := range n {
			col[p] = ZMM()
			VMOVUPS(Mem{Base: b[p]}, col[p])
			PREFETCHT0(Mem{Base: ahead[p]})
			ADDQ(ldb, b[p])
			ADDQ(step, ahead[p])
		}
		for i := range m {
			if n == 1 {
				VFMADD231PS_BCST(row(i), col[0], acc[0][i])
				continue
			}
			x := ZMM() // loaded once: two ports load, and two multiply-adds would load it twice
			VBROADCASTSS(row(i), x)
			for p := range n {
				VFMADD231PS(x, col[p], acc[p][i])
			}
		}
		for _, base := range bases {
			ADDQ(csa, base)
		}
	}
	Label("loop4")
	CMPQ(k, Imm(4))
	JL(LabelRef("loop1"))
	for range 4 {
		each()
	}
	SUBQ(Imm(4), k)
	JMP(LabelRef("loop4"))
	Label("loop1")
	TESTQ(k, k)
	JZ(LabelRef("store"))
	each()
	DECQ(k)
	JMP(LabelRef("loop1"))
	Label("store")
	rows(func(z VecVirtual, at Mem) { VMOVUPS(z, at) })
	VZEROUPPER()
	RET()
}

// gemv is one row of A with several panels at once: a single row's chain waits
// for every multiply-add, so several chains run side by side.
func gemv(n int) {
	text(fmt.Sprintf("gemv%dx16", n), "func(k int, a *float32, b *[4]*float32, ldb int, c *float32, load int)")
	Doc(fmt.Sprintf("gemv%dx16 computes C[16p+j] (+)= sum_k A[k] * B[p][k*ldb+j] for p < %d, j < 16, as gemm1x16 does.", n, n))
	k := Load(Param("k"), GP64())
	a := Load(Param("a"), GP64())
	bs := Load(Param("b"), GP64())
	ldb := Load(Param("ldb"), GP64())
	c := Load(Param("c"), GP64())
	load := Load(Param("load"), GP64())
	SHLQ(Imm(2), ldb)
	b := make([]GPVirtual, n)
	acc := make([][2]VecVirtual, n)
	for p := range b {
		b[p] = GP64()
		MOVQ(Mem{Base: bs, Disp: 8 * p}, b[p])
		acc[p] = [2]VecVirtual{YMM(), YMM()}
	}
	TESTQ(load, load)
	JZ(LabelRef("zero"))
	for p := range b {
		VMOVUPS(Mem{Base: c, Disp: 64 * p}, acc[p][0])
		VMOVUPS(Mem{Base: c, Disp: 64*p + 32}, acc[p][1])
	}
	JMP(LabelRef("loop"))
	Label("zero")
	for p := range b {
		VXORPS(acc[p][0], acc[p][0], acc[p][0])
		VXORPS(acc[p][1], acc[p][1], acc[p][1])
	}
	Label("loop")
	TESTQ(k, k)
	JZ(LabelRef("store"))
	x := YMM()
	VBROADCASTSS(Mem{Base: a}, x)
	for p := range b {
		VFMADD231PS(Mem{Base: b[p]}, x, acc[p][0])
		VFMADD231PS(Mem{Base: b[p], Disp: 32}, x, acc[p][1])
		ADDQ(ldb, b[p])
	}
	ADDQ(Imm(4), a)
	DECQ(k)
	JMP(LabelRef("loop"))
	Label("store")
	for p := range b {
		VMOVUPS(acc[p][0], Mem{Base: c, Disp: 64 * p})
		VMOVUPS(acc[p][1], Mem{Base: c, Disp: 64*p + 32})
	}
	VZEROUPPER()
	RET()
}

// few512 is m rows of A with four panels at once: the chains of few rows wait for
// every multiply-add, so many run side by side.
func few512(m int) {
	name := fmt.Sprintf("gemm%dx64AVX512", m)
	text(name, "func(k int, a *float32, rsa int, b *[4]*float32, ldb int, c *float32, ldc int, load int)")
	Doc(fmt.Sprintf("%s computes C[i][16p+j] (+)= sum_k A[i*rsa+k] * B[p][k*ldb+j] for i < %d, p < 4, j < 16, as gemm%dx16AVX512 does.", name, m, m))
	k := Load(Param("k"), GP64())
	a := Load(Param("a"), GP64())
	rsa := Load(Param("rsa"), GP64())
	bs := Load(Param("b"), GP64())
	ldb := Load(Param("ldb"), GP64())
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	load := Load(Param("load"), GP64())
	for _, s := range []Register{rsa, ldb, ldc} {
		SHLQ(Imm(2), s)
	}
	a3 := GP64()
	if m > 3 {
		LEAQ(Mem{Base: a, Index: rsa, Scale: 2}, a3)
		ADDQ(rsa, a3)
	}
	var b [4]GPVirtual
	for p := range b {
		b[p] = GP64()
		MOVQ(Mem{Base: bs, Disp: 8 * p}, b[p])
	}
	acc := make([][4]VecVirtual, m)
	rows := func(each func(z VecVirtual, at Mem)) {
		cp := GP64()
		MOVQ(c, cp)
		for i := range acc {
			for p := range b {
				each(acc[i][p], Mem{Base: cp, Disp: 64 * p})
			}
			if i < m-1 {
				ADDQ(ldc, cp)
			}
		}
	}
	for i := range acc {
		for p := range b {
			acc[i][p] = ZMM()
		}
	}
	TESTQ(load, load)
	JZ(LabelRef("zero"))
	rows(func(z VecVirtual, at Mem) { VMOVUPS(at, z) })
	JMP(LabelRef("loop"))
	Label("zero")
	for i := range acc {
		for _, z := range acc[i] {
			VPXORD(z, z, z)
		}
	}
	Label("loop")
	TESTQ(k, k)
	JZ(LabelRef("store"))
	var col [4]VecVirtual
	for p := range b {
		col[p] = ZMM()
		VMOVUPS(Mem{Base: b[p]}, col[p])
		ADDQ(ldb, b[p])
	}
	for i := range acc {
		at := Mem{Base: a}
		if i > 0 {
			at.Index, at.Scale = rsa, uint8(i)
		}
		if i == 3 {
			at = Mem{Base: a3}
		}
		x := ZMM()
		VBROADCASTSS(at, x)
		for p := range b {
			VFMADD231PS(x, col[p], acc[i][p])
		}
	}
	ADDQ(Imm(4), a)
	if m > 3 {
		ADDQ(Imm(4), a3)
	}
	DECQ(k)
	JMP(LabelRef("loop"))
	Label("store")
	rows(func(z VecVirtual, at Mem) { VMOVUPS(z, at) })
	VZEROUPPER()
	RET()
}
