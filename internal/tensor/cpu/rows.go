package cpu

// The row kernels over slices of any length: whole blocks of 16 by the fast
// kernel, the rest through a padded buffer, so that element i is in lane i%16
// whatever the length. All slices of a call have the length of the first.

const panel = 16 // outputs in a panel of packed weights, and lanes of a reduction

func rowMax(x []float32) float32 {
	if n := len(x) &^ 15; avx2 && n > 0 {
		m := rowMaxAVX2(n, &x[0])
		for _, v := range x[n:] {
			if v > m || v != v {
				m = v
			}
		}
		return m
	}
	return rowMaxGeneric(x)
}

// rowExp sets dst[i] = exp(x[i]*scale - shift) and returns the sum; dst may be x.
func rowExp(dst, x []float32, scale, shift float32) float32 {
	if !avx2 {
		return rowExpGeneric(dst, x, scale, shift)
	}
	n := len(x) &^ 15
	if n == len(x) {
		if n == 0 {
			return 0
		}
		return rowExpAVX2(n, &dst[0], &x[0], scale, shift)
	}
	// A tail: the sum needs all lanes at once, so it is taken over the
	// exponentials, a product with 1 being exact.
	if n > 0 {
		rowExpAVX2(n, &dst[0], &x[0], scale, shift)
	}
	var t, e [16]float32
	copy(t[:], x[n:])
	rowExpAVX2(16, &e[0], &t[0], scale, shift)
	copy(dst[n:], e[:len(x)-n])
	return rowSum(dst[:len(x)])
}

// rowSum adds x in 16 lanes.
func rowSum(x []float32) float32 {
	var l lanes
	for len(x) >= 16 {
		for i, v := range x[:16] {
			l[i] += v
		}
		x = x[16:]
	}
	for i, v := range x {
		l[i] += v
	}
	return l.sum()
}

func rowDot(x, y []float32) float32 {
	if n := len(x); avx2 && n&15 == 0 && n > 0 {
		return rowDotAVX2(n, &x[0], &y[:n][0])
	}
	return rowDotGeneric(x, y)
}

func rowDot3(w, x, y []float32) float32 {
	if n := len(x); avx2 && n&15 == 0 && n > 0 {
		return rowDot3AVX2(n, &w[:n][0], &x[0], &y[:n][0])
	}
	return rowDot3Generic(w, x, y)
}

func rowAdd(dst, x, y []float32) {
	n := 0
	if avx2 {
		if n = len(x) &^ 15; n > 0 {
			rowAddAVX2(n, &dst[:n][0], &x[0], &y[:n][0])
		}
	}
	rowAddGeneric(dst[n:], x[n:], y[n:])
}

func rowScale(dst, x []float32, a float32) {
	n := 0
	if avx2 {
		if n = len(x) &^ 15; n > 0 {
			rowScaleAVX2(n, &dst[:n][0], &x[0], a)
		}
	}
	rowScaleGeneric(dst[n:], x[n:], a)
}

// rowAxpy sets dst[i] += a*x[i].
func rowAxpy(dst, x []float32, a float32) {
	n := 0
	if avx2 {
		if n = len(x) &^ 15; n > 0 {
			rowAxpyAVX2(n, &dst[:n][0], &x[0], a)
		}
	}
	rowAxpyGeneric(dst[n:], x[n:], a)
}

// rowReluAxpy sets dst[i] += a*max(x[i], 0).
func rowReluAxpy(dst, x []float32, a float32) {
	n := 0
	if avx2 {
		if n = len(x) &^ 15; n > 0 {
			rowReluAxpyAVX2(n, &dst[:n][0], &x[0], a)
		}
	}
	rowReluAxpyGeneric(dst[n:], x[n:], a)
}

func rowNorm(dst, x, w []float32, inv float32) {
	n := 0
	if avx2 {
		if n = len(x) &^ 15; n > 0 {
			rowNormAVX2(n, &dst[:n][0], &x[0], &w[:n][0], inv)
		}
	}
	rowNormGeneric(dst[n:], x[n:], w[n:], inv)
}

func rowNormBack(dx, dw, dy, x, w []float32, inv, k float32) {
	n := 0
	if avx2 {
		if n = len(x) &^ 15; n > 0 {
			rowNormBackAVX2(n, &dx[:n][0], &dw[:n][0], &dy[:n][0], &x[0], &w[:n][0], inv, k)
		}
	}
	rowNormBackGeneric(dx[n:], dw[n:], dy[n:], x[n:], w[n:], inv, k)
}

func rowSwiGLU(dst, g, u []float32) {
	n := 0
	if avx2 {
		if n = len(g) &^ 15; n > 0 {
			rowSwiGLUAVX2(n, &dst[:n][0], &g[0], &u[:n][0])
		}
	}
	rowSwiGLUGeneric(dst[n:], g[n:], u[n:])
}

func rowSwiGLUBack(dg, du, dy, g, u []float32) {
	n := 0
	if avx2 {
		if n = len(g) &^ 15; n > 0 {
			rowSwiGLUBackAVX2(n, &dg[:n][0], &du[:n][0], &dy[:n][0], &g[0], &u[:n][0])
		}
	}
	rowSwiGLUBackGeneric(dg[n:], du[n:], dy[n:], g[n:], u[n:])
}

// rowRope rotates the pairs (x1[i], x2[i]) by the angles; sign -1 rotates back.
func rowRope(x1, x2, cos, sin []float32, sign float32) {
	n := 0
	if avx2 {
		if n = len(x1) &^ 7; n > 0 {
			rowRopeAVX2(n, &x1[0], &x2[:n][0], &cos[:n][0], &sin[:n][0], sign)
		}
	}
	rowRopeGeneric(x1[n:], x2[n:], cos[n:], sin[n:], sign)
}

func rowSoftmaxBack(p, dp []float32, delta, scale float32) {
	n := 0
	if avx2 {
		if n = len(p) &^ 15; n > 0 {
			rowSoftmaxBackAVX2(n, &p[0], &dp[:n][0], delta, scale)
		}
	}
	rowSoftmaxBackGeneric(p[n:], dp[n:], delta, scale)
}

func rowAdamW(p, g, m, v []float32, c *[9]float32) {
	n := 0
	if avx2 {
		if n = len(p) &^ 15; n > 0 {
			rowAdamWAVX2(n, &p[0], &g[:n][0], &m[:n][0], &v[:n][0], c)
		}
	}
	rowAdamWGeneric(p[n:], g[n:], m[n:], v[n:], c)
}
