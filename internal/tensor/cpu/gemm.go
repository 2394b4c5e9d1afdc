package cpu

// Matrix products. Weights lie in panels of 16 outputs: W[out,in] is stored as
// P[out/16][in][16], zero-padded to whole panels. The forward product streams
// it, and gradients and optimizer moments have the same layout, so nothing is
// ever repacked. Each output is one chain of fused multiply-adds along the
// reduction, in ascending order, whatever the blocking, batch or thread count.

const (
	blockK  = 256 // reduction steps between two visits of an output tile: 16 KiB of a panel, in L1
	blockM  = 384 // rows of the left side kept in L2 while panels pass by
	streamK = 96  // reduction steps of a product with few rows: two panels are 12 KiB
	streamM = 32  // rows that are few
	tileM   = 12  // rows of an output tile: one of AVX-512, two of AVX2
)

// tile computes an m×n block of C (m <= 12, n <= 16) from m rows of A and one panel.
func tile(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, load bool) {
	tileAhead(m, n, k, a, rsa, csa, b, ldb, c, ldc, load, nil, 0)
}

// tileAhead prefetches: from ahead on, step bytes for each k.
func tileAhead(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, load bool, ahead *float32, step int) {
	if k == 0 {
		if !load {
			for i := range m {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	if n < panel {
		var t [tileM * panel]float32
		if load {
			for i := range m {
				copy(t[i*panel:i*panel+n], c[i*ldc:i*ldc+n])
			}
		}
		tileAhead(m, panel, k, a, rsa, csa, b, ldb, t[:], panel, load, ahead, step)
		for i := range m {
			copy(c[i*ldc:i*ldc+n], t[i*panel:i*panel+n])
		}
		return
	}
	if !avx2 {
		gemmGeneric(m, k, a, rsa, csa, b, ldb, c, ldc, load)
		return
	}
	_, _, _ = a[(m-1)*rsa+(k-1)*csa], b[(k-1)*ldb+panel-1], c[(m-1)*ldc+panel-1]
	if ahead == nil {
		ahead = &b[0]
	}
	tileKernel(m, k, &a[0], rsa, csa, &b[0], ldb, &c[0], ldc, flag(load), ahead, step)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pair is two panels of B. With n <= 16 columns there is only the first.
type pair struct {
	n             int // columns of both
	b, b1         []float32
	ldb           int
	apart         int      // from the first panel's block of C to the second's
	ahead, ahead1 *float32 // what to prefetch, nil: nothing
	step          int      // bytes of it for each k
}

// tiles is tile for a pair.
func (p *pair) tiles(m, k int, a []float32, rsa, csa int, c []float32, ldc int, load bool) {
	if p.n == 2*panel && avx512 && k > 0 {
		c1 := c[p.apart:]
		_, _, _ = a[(m-1)*rsa+(k-1)*csa], p.b[(k-1)*p.ldb+panel-1], p.b1[(k-1)*p.ldb+panel-1]
		_, _ = c[(m-1)*ldc+panel-1], c1[(m-1)*ldc+panel-1]
		ahead, ahead1 := p.ahead, p.ahead1
		if ahead == nil {
			ahead = &p.b[0]
		}
		if ahead1 == nil {
			ahead1 = &p.b[0]
		}
		pairKernel(m, k, &a[0], rsa, csa, &p.b[0], &p.b1[0], p.ldb, &c[0], &c1[0], ldc, flag(load), ahead, ahead1, p.step)
		return
	}
	tileAhead(m, min(panel, p.n), k, a, rsa, csa, p.b, p.ldb, c, ldc, load, p.ahead, p.step)
	if p.n > panel {
		tileAhead(m, p.n-panel, k, a, rsa, csa, p.b1, p.ldb, c[p.apart:], ldc, load, p.ahead1, p.step)
	}
}

// few is the most rows that tileFew takes.
const few = 4

// tileFew computes m <= few rows (rsa apart, and ldc) against n panels of 16 whole
// columns: c[16p:] (+)= a·b(p). It is tile for each panel, several side by side.
func tileFew(m, n, k int, a []float32, rsa int, b func(p int) []float32, ldb int, c []float32, ldc int, load bool) {
	p := 0
	if avx2 && k > 0 {
		l := flag(load)
		_, _ = a[(m-1)*rsa+k-1], c[(m-1)*ldc+n*panel-1]
		var at [4]*float32
		for p < n-1 {
			w := 4
			if n-p < 4 {
				w = 2
			}
			if m > 1 && (w < 4 || !avx512) {
				break
			}
			for i := range w {
				bp := b(p + i)
				_ = bp[(k-1)*ldb+panel-1]
				at[i] = &bp[0]
			}
			switch {
			case m > 1:
				fewKernel(m, k, &a[0], rsa, &at, ldb, &c[p*panel], ldc, l)
			case w == 4:
				gemv4x16(k, &a[0], &at, ldb, &c[p*panel], l)
			default:
				gemv2x16(k, &a[0], &at, ldb, &c[p*panel], l)
			}
			p += w
		}
	}
	for ; p < n; p++ {
		tile(m, panel, k, a, rsa, 1, b(p), ldb, c[p*panel:], ldc, load)
	}
}

// panels returns the number of panels of n outputs.
func panels(n int) int { return (n + panel - 1) / panel }

// packedLen returns the length of a packed [out,in] matrix.
func packedLen(out, in int) int { return panels(out) * panel * in }

// pack writes w [out,in] row-major into panels.
func pack(dst, w []float32, out, in int) {
	clear(dst)
	for o := range out {
		d := dst[o/panel*panel*in+o%panel:]
		for k, v := range w[o*in : (o+1)*in] {
			d[k*panel] = v
		}
	}
}

// unpack is the inverse of pack.
func unpack(w, src []float32, out, in int) {
	for o := range out {
		s := src[o/panel*panel*in+o%panel:]
		row := w[o*in : (o+1)*in]
		for k := range row {
			row[k] = s[k*panel]
		}
	}
}

// rowTile returns the rows of each tile of so many rows: tiles of nearly the same
// height, for AVX2 of whole kernels.
func rowTile(rows int) int {
	if !avx512 && rows > 6 {
		return tileM
	}
	return evenly(rows, tileM)
}

// evenly returns the height of the fewest tiles of at most top rows.
func evenly(rows, top int) int {
	n := max(1, (rows+top-1)/top)
	return (rows + n - 1) / n
}

// rowTiles calls fn for tiles of at most tileM of the rows lo..hi-1.
func rowTiles(lo, hi int, fn func(i, m int)) {
	step := rowTile(hi - lo)
	for i := lo; i < hi; i += step {
		fn(i, min(step, hi-i))
	}
}

// pairGrain is how many pairs of panels make a task worth handing out: fewer rows
// wait for memory as long.
func pairGrain(M, K int) int { return max(1, 1<<13/max(1, max(M, 8)*K*panel/32)) }

// mulPanels computes Y[M,N] (ldy) (+)= X[M,K] (ldx) times the panels lo..hi-1 of the packed
// [N,K] matrix's transpose.
func mulPanels(y []float32, ldy int, x []float32, ldx int, w []float32, M, N, K, lo, hi int, load bool) {
	if M <= streamM {
		streamPanels(y, ldy, x, ldx, w, M, N, K, lo, hi, load)
		return
	}
	for i0 := 0; i0 < M; i0 += blockM {
		i1 := min(M, i0+blockM)
		for k0 := 0; k0 < K; k0 += blockK {
			kn := min(blockK, K-k0)
			for p := lo; p < hi; p += 2 {
				t := pairOf(w, N, K, p, hi, k0)
				rowTiles(i0, i1, func(i, m int) {
					t.tiles(m, kn, x[i*ldx+k0:], ldx, 1, y[i*ldy+p*panel:], ldy, load || k0 > 0)
				})
			}
		}
	}
}

// spaced calls fn with stretches of X's rows, i of them gone before. The rows of a tile
// that lie a multiple of a page apart fall on one set of the first cache, which holds
// fewer of them than the tile has: those are copied to lie otherwise.
func (d *Device) spaced(x []float32, ldx, M, K int, fn func(i, m int, x []float32, ldx int)) {
	const page, most = 1024, 1 << 22 // floats
	if ldx%page != 0 || M <= streamM {
		fn(0, M, x, ldx)
		return
	}
	ld := K + panel
	step := max(blockM, most/ld)
	buf := d.shared(min(step, M) * ld)
	for i0 := 0; i0 < M; i0 += step {
		m := min(step, M-i0)
		d.pool.split(m, rowGrain(K), func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				copy(buf[i*ld:], x[(i0+i)*ldx:][:K])
			}
		})
		fn(i0, m, buf, ld)
	}
}

// streamPanels is mulPanels for so few rows that the memory which the weights
// come from is the limit: it takes them in the order in which they lie, in steps
// small enough that the next one is fetched into the first cache meanwhile, a
// part by each tile of rows.
func streamPanels(y []float32, ldy int, x []float32, ldx int, w []float32, M, N, K, lo, hi int, load bool) {
	top := tileM
	if !avx512 {
		top = 6 // one kernel, so that each fetches its own part
	}
	rows := evenly(M, top)
	parts := (M + rows - 1) / rows
	for p := lo; p < hi; p += 2 {
		for k0 := 0; k0 < K; k0 += streamK {
			kn := min(streamK, K-k0)
			t := pairOf(w, N, K, p, hi, k0)
			next, at := p, k0+kn
			if at == K {
				next, at = p+2, 0
			}
			t.step = 4 * panel / parts
			for part := range parts {
				from := at + part*kn/parts
				if next < hi && from < K {
					t.ahead = &w[(next*K+from)*panel]
				}
				if next+1 < hi && from < K {
					t.ahead1 = &w[((next+1)*K+from)*panel]
				}
				i := part * rows
				t.tiles(min(rows, M-i), kn, x[i*ldx+k0:], ldx, 1, y[i*ldy+p*panel:], ldy, load || k0 > 0)
			}
		}
	}
}

// pairOf returns panels p and p+1 < hi of a packed [N,K] matrix from k on.
func pairOf(w []float32, N, K, p, hi, k int) pair {
	t := pair{n: min(2*panel, N-p*panel, (hi-p)*panel), b: w[(p*K+k)*panel:], ldb: panel, apart: panel}
	if p+1 < hi {
		t.b1 = w[((p+1)*K+k)*panel:]
	}
	return t
}

// mulPackedT computes DX[M,K] (+)= DY[M,N] times the packed [N,K] matrix: the
// gradient of a product with respect to X.
func (d *Device) mulPackedT(dx []float32, ldx int, dy []float32, ldy int, w []float32, M, N, K int, load bool) {
	d.spaced(dy, ldy, M, N, func(i, m int, dy []float32, ldy int) {
		d.pool.split((panels(K)+1)/2, 1, func(thread, lo, hi int) {
			d.mulPanelsT(thread, dx[i*ldx:], ldx, dy, ldy, w, m, N, K, 2*lo, min(2*hi, panels(K)), load)
		})
	})
}

// mulPanelsT is mulPackedT for the panels lo..hi-1 of DX. Panels of the matrix are transposed on the way.
func (d *Device) mulPanelsT(thread int, dx []float32, ldx int, dy []float32, ldy int, w []float32, M, N, K, lo, hi int, load bool) {
	buf := d.scratch(thread, 2*blockK*panel)
	t := pair{b: buf, b1: buf[blockK*panel:], ldb: panel, apart: panel}
	for i0 := 0; i0 < M; i0 += blockM {
		i1 := min(M, i0+blockM)
		for n0 := 0; n0 < N; n0 += blockK {
			nn := min(blockK, N-n0)
			for p := lo; p < hi; p += 2 {
				t.n = min(2*panel, K-p*panel, (hi-p)*panel)
				for q := 0; q < nn; q += panel {
					src := w[(n0+q)*K+p*panel*panel:]
					transpose16(t.b[q*panel:], src, min(panel, t.n))
					if t.n > panel {
						transpose16(t.b1[q*panel:], src[panel*panel:], t.n-panel)
					}
				}
				rowTiles(i0, i1, func(i, m int) {
					t.tiles(m, nn, dy[i*ldy+n0:], ldy, 1, dx[i*ldx+p*panel:], ldx, load || n0 > 0)
				})
			}
		}
	}
}

// transpose16 sets dst[j*16+i] = src[i*16+j] for i < n, j < 16; rows n.. are 0.
func transpose16(dst, src []float32, n int) {
	if n == panel && avx2 {
		_, _ = dst[255], src[255]
		transpose8AVX2(&dst[0], panel, &src[0], panel)
		transpose8AVX2(&dst[8*panel], panel, &src[8], panel)
		transpose8AVX2(&dst[8], panel, &src[8*panel], panel)
		transpose8AVX2(&dst[8*panel+8], panel, &src[8*panel+8], panel)
		return
	}
	for i := range panel {
		for j := range panel {
			v := float32(0)
			if i < n {
				v = src[i*panel+j]
			}
			dst[j*panel+i] = v
		}
	}
}

// mulGrad computes the packed DW[N,K] += DY[M,N] transposed times X[M,K]: the
// gradient of a product with respect to W, one chain along the rows.
func (d *Device) mulGrad(dw []float32, dy []float32, ldy int, x []float32, ldx int, M, N, K int) {
	pairs := (panels(N) + 1) / 2
	d.eachColumns(x, ldx, M, K, pairs, func(thread, lo, hi int, c columns) {
		d.gradPanels(thread, dw, dy, ldy, c, N, K, 2*lo, min(2*hi, panels(N)))
	})
}

// columns are tiles of tileM columns of X: element (r, c) of tile t lies at
// x[t*next+r*apart+c]. The rows are those from r0 on.
type columns struct {
	x           []float32
	next, apart int
	r0, rows    int
}

// eachColumns calls fn for stretches of 0..n-1 with all of X[M,K], in stretches of rows.
func (d *Device) eachColumns(x []float32, ldx, M, K, n int, fn func(thread, lo, hi int, c columns)) {
	if K <= direct {
		d.pool.split(n, 1, func(thread, lo, hi int) {
			for r0 := 0; r0 < M; r0 += blockK {
				fn(thread, lo, hi, columns{x[r0*ldx:], tileM, ldx, r0, min(blockK, M-r0)})
			}
		})
		return
	}
	tiles := (K + tileM - 1) / tileM
	for r0 := 0; r0 < M; r0 += blockK {
		rows := min(blockK, M-r0)
		xt := d.shared(rows * tiles * tileM)
		d.pool.split(tiles, 8, func(_, lo, hi int) { packColumns(xt, x[r0*ldx:], ldx, rows, K, lo, hi) })
		d.pool.split(n, 1, func(thread, lo, hi int) { fn(thread, lo, hi, columns{xt, rows * tileM, tileM, r0, rows}) })
	}
}

// gradPanels adds to the panels lo..hi-1 of DW what the rows of c come to.
func (d *Device) gradPanels(thread int, dw []float32, dy []float32, ldy int, c columns, N, K, lo, hi int) {
	for p := lo; p < hi; p += 2 {
		by := d.columnsOf(thread, dy[c.r0*ldy+p*panel:], ldy, c.rows, min(2*panel, N-p*panel, (hi-p)*panel))
		by.apart = K * panel
		for t := range (K + tileM - 1) / tileM {
			by.tiles(min(tileM, K-t*tileM), c.rows, c.x[t*c.next:], 1, c.apart, dw[(p*K+t*tileM)*panel:], panel, true)
		}
	}
}

// direct is the widest matrix that mulGrad reads where it lies. The rows of wider ones
// fall upon each other in the caches: copying them together costs less.
const direct = 384

// packColumns copies tiles lo..hi-1 of tileM columns of X[rows,K]: [K/12][rows][12].
func packColumns(dst, x []float32, ldx, rows, K, lo, hi int) {
	for t := lo; t < hi; t++ {
		c := t * tileM
		to := dst[c*rows:][:rows*tileM]
		if m := K - c; m < tileM {
			for r := range rows {
				copy(to[r*tileM:], x[r*ldx+c:r*ldx+K])
			}
			continue
		}
		for r := range rows {
			a := *(*[tileM]float32)(x[r*ldx+c:]) // in registers: it cannot overlap
			*(*[tileM]float32)(to[r*tileM:]) = a
		}
	}
}

// columnsOf returns n <= 32 columns of Y[rows] as panels: where they lie, or in the
// thread's memory, padded to whole ones.
func (d *Device) columnsOf(thread int, y []float32, ldy, rows, n int) pair {
	by := pair{n: pad16(n), b: y, ldb: ldy} // padding is computed too
	if n > panel {
		by.b1 = y[panel:]
	}
	if n < by.n || ldy > direct {
		buf := d.scratch(thread, 2*blockK*panel)
		by.b, by.b1, by.ldb = buf, buf[blockK*panel:], panel
		packRows(by.b, y, ldy, rows, min(panel, n))
		if n > panel {
			packRows(by.b1, y[panel:], ldy, rows, n-panel)
		}
	}
	return by
}

// packRows copies n columns of rows rows of src (ld) into rows of 16, zero-padded.
func packRows(dst, src []float32, ld, rows, n int) {
	if n == panel {
		for r := range rows {
			a := *(*[panel]float32)(src[r*ld:])
			*(*[panel]float32)(dst[r*panel:]) = a
		}
		return
	}
	for r := range rows {
		row := dst[r*panel : (r+1)*panel]
		copy(row, src[r*ld:r*ld+n])
		clear(row[n:])
	}
}
