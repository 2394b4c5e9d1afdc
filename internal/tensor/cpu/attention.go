package cpu

import (
	"math"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// Attention in blocks of 16 positions, aligned to absolute positions: keys are
// kept transposed, [dim][16], so that scores are products with a panel; values
// as [16][dim], so that the output is one chain over positions. Nothing about a
// query's result depends on which other queries are computed with it, or on
// whether keys come from the batch or from a cache.

// kvBlocks are the blocks of one key-value head of one sequence.
type kvBlocks struct {
	k, v [][]float32 // k[b] is [KeyDim][16], v[b] is [16][padded ValueDim]
}

func pad16(n int) int { return (n + panel - 1) &^ (panel - 1) }

// Lanes of a block after the last position may hold anything: scores are lane by
// lane, and those are thrown away.

// attendTile computes m <= tileM query rows of one head: row i stands at q[i*ldq:]
// and o[i*ldo:] and sees positions 0..last[i]. s is scratch of tileM*pad16(keys).
func attendTile(o []float32, ldo int, q []float32, ldq int, last []int, b *kvBlocks, sh *tensor.AttentionShape, s []float32, lse []float32, ldl int) {
	m, top := len(last), 0
	for _, l := range last {
		top = max(top, l)
	}
	blocks := top/panel + 1
	ld := blocks * panel
	if m <= few {
		tileFew(m, blocks, sh.KeyDim, q, ldq, func(p int) []float32 { return b.k[p] }, panel, s, ld, false)
	} else {
		for p := range blocks {
			tile(m, panel, sh.KeyDim, q, ldq, 1, b.k[p], panel, s[p*panel:], ld, false)
		}
	}
	var inv [tileM]float32
	for i, l := range last {
		row := s[i*ld : (i+1)*ld]
		shift := float32(rowMax(row[:l+1]) * sh.Scale)
		for j := l + 1; j < ld; j++ {
			row[j] = float32(math.Inf(-1))
		}
		sum := rowExp(row, row, sh.Scale, shift)
		inv[i] = 1 / sum
		if lse != nil {
			lse[i*ldl] = float32(float64(shift) + math.Log(float64(sum)))
		}
	}
	vd := pad16(sh.ValueDim)
	for p := range blocks {
		n := min(panel, top+1-p*panel)
		if m <= few && sh.ValueDim == vd {
			tileFew(m, vd/panel, n, s[p*panel:], ld, func(c int) []float32 { return b.v[p][c*panel:] }, vd, o, ldo, p > 0)
			continue
		}
		for c := 0; c < sh.ValueDim; c += panel {
			tile(m, min(panel, sh.ValueDim-c), n, s[p*panel:], ld, 1, b.v[p][c:], vd, o[c:], ldo, p > 0)
		}
	}
	for i := range m {
		row := o[i*ldo : i*ldo+sh.ValueDim]
		rowScale(row, row, inv[i])
	}
}

// gatherer builds the blocks of a sequence of a batch in a thread's scratch.
type gatherer struct {
	blocks kvBlocks
	chain  []int
	mem    []float32
	rows   []float32 // keys before they are transposed
}

// load copies head kv's keys and values of sequence i, its prefixes included.
func (g *gatherer) load(i, kv int, k, v []float32, sh *tensor.AttentionShape, seqs *tensor.Seqs) {
	g.chain = seqs.Chain(g.chain[:0], i)
	n := seqs.Pos(i) + seqs.Len[i]
	nb, vd := (n+panel-1)/panel, pad16(sh.ValueDim)
	kl, vl := sh.KeyDim*panel, panel*vd
	if len(g.mem) < nb*(kl+vl) {
		g.mem = make([]float32, nb*(kl+vl))
	}
	g.blocks.k, g.blocks.v = g.blocks.k[:0], g.blocks.v[:0]
	for b := range nb {
		g.blocks.k = append(g.blocks.k, g.mem[b*kl:(b+1)*kl])
		g.blocks.v = append(g.blocks.v, g.mem[nb*kl+b*vl:nb*kl+(b+1)*vl])
	}
	rows := grow(&g.rows, nb*kl+panel) // a panel of the last key's columns may end beyond it
	pos := 0
	for _, c := range g.chain {
		for r := seqs.Start[c]; r < seqs.Start[c]+seqs.Len[c]; r++ {
			copy(rows[pos*sh.KeyDim:(pos+1)*sh.KeyDim], k[(r*sh.KVHeads+kv)*sh.KeyDim:])
			copyPad(g.blocks.v[pos/panel][pos%panel*vd:][:vd], v[(r*sh.KVHeads+kv)*sh.ValueDim:][:sh.ValueDim])
			pos++
		}
	}
	for b := range nb {
		toPanel(g.blocks.k[b], rows[b*kl:(b+1)*kl], sh.KeyDim)
	}
}

// toPanel transposes a block of keys, [16][dim] to [dim][16].
func toPanel(dst, src []float32, dim int) {
	if avx2 && dim%8 == 0 {
		_, _ = dst[dim*panel-1], src[dim*panel-1]
		for j := 0; j < dim; j += 8 {
			transpose8AVX2(&dst[j*panel], panel, &src[j], dim)
			transpose8AVX2(&dst[j*panel+8], panel, &src[8*dim+j], dim)
		}
		return
	}
	for i := range panel {
		for j := range dim {
			dst[j*panel+i] = src[i*dim+j]
		}
	}
}

// Attention runs over the sequences of a batch.
func (d *Device) Attention(o, lse, q, k, v tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs) {
	ov, lv, qv, kv, vv := vec(o), vec(lse), vec(q), vec(k), vec(v)
	n := len(seqs.Start)
	per := sh.Heads / sh.KVHeads
	d.pool.run(n*sh.KVHeads, func(thread, task int) {
		i, kh := task/sh.KVHeads, task%sh.KVHeads
		g := &d.attention[thread].g
		g.load(i, kh, kv, vv, &sh, seqs)
		pos := seqs.Pos(i)
		s := d.scratch(thread, tileM*pad16(pos+seqs.Len[i]))
		for h := kh * per; h < (kh+1)*per; h++ {
			var last [tileM]int
			rowTiles(0, seqs.Len[i], func(j, m int) {
				for r := range m {
					last[r] = pos + j + r
				}
				row := (seqs.Start[i]+j)*sh.Heads + h
				var l []float32
				if lv != nil {
					l = lv[row:]
				}
				attendTile(ov[row*sh.ValueDim:], sh.Heads*sh.ValueDim, qv[row*sh.KeyDim:], sh.Heads*sh.KeyDim, last[:m], &g.blocks, &sh, s, l, sh.Heads)
			})
		}
	})
}

// AttentionGrad recomputes the scores tile by tile. With P the probabilities,
// dP = dO Vᵀ and delta = rowsum(dO ∘ O):
//
//	dS = P ∘ (dP - delta) scale,  dQ += dS K,  dK += dSᵀ Q,  dV += Pᵀ dO
//
// A tree of sequences that share a prefix is one task for each key-value head:
// the prefix's gradients are summed over its continuations in order.
func (d *Device) AttentionGrad(dq, dk, dv, do, o, lse, q, k, v tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs) {
	a := attnGrad{
		dq: vec(dq), dk: vec(dk), dv: vec(dv), do: vec(do), o: vec(o), lse: vec(lse), q: vec(q), k: vec(k), v: vec(v),
		sh: sh, seqs: seqs,
	}
	var trees [][2]int
	seqs.Trees(func(lo, hi int) { trees = append(trees, [2]int{lo, hi}) })
	d.pool.run(len(trees)*sh.KVHeads, func(thread, task int) {
		t := trees[task/sh.KVHeads]
		for i := t[0]; i < t[1]; i++ {
			a.sequence(&d.attention[thread], i, task%sh.KVHeads)
		}
	})
}

type attnGrad struct {
	dq, dk, dv, do, o, lse, q, k, v []float32
	sh                              tensor.AttentionShape
	seqs                            *tensor.Seqs
}

// attnThread is a thread's memory for attention.
type attnThread struct {
	g             gatherer
	chain         []int
	vT            []float32 // values in transposed panels [D][16]
	p, dp         []float32
	qTile, doTile []float32
}

func grow(b *[]float32, n int) []float32 {
	if len(*b) < n {
		*b = make([]float32, n)
	}
	return (*b)[:n]
}

// gradTile is how many queries are taken at once.
const gradTile = 48

func (a *attnGrad) sequence(t *attnThread, i, kh int) {
	sh, seqs := &a.sh, a.seqs
	t.g.load(i, kh, a.k, a.v, sh, seqs)
	t.chain = seqs.Chain(t.chain[:0], i)
	pos := seqs.Pos(i)
	nb, vd := len(t.g.blocks.k), pad16(sh.ValueDim)
	grow(&t.vT, nb*panel*vd)
	for b, v := range t.g.blocks.v {
		toPanel(t.vT[b*panel*vd:], v, vd)
	}
	grow(&t.p, gradTile*nb*panel)
	grow(&t.dp, gradTile*nb*panel)
	per := sh.Heads / sh.KVHeads
	for h := kh * per; h < (kh+1)*per; h++ {
		for j := 0; j < seqs.Len[i]; j += gradTile {
			a.queries(t, seqs.Start[i]+j, min(gradTile, seqs.Len[i]-j), pos+j, h)
		}
	}
}

// queries adds the gradients of m queries from row on, the first at position pos.
func (a *attnGrad) queries(t *attnThread, row, m, pos, h int) {
	sh := &a.sh
	top := pos + m // keys that some query sees
	nb := (top + panel - 1) / panel
	ld, vd := nb*panel, pad16(sh.ValueDim)
	p, dp, vT, kRows := t.p, t.dp, t.vT, t.g.rows
	q, ldq := a.q[(row*sh.Heads+h)*sh.KeyDim:], sh.Heads*sh.KeyDim
	do, o, ldo := a.do[(row*sh.Heads+h)*sh.ValueDim:], a.o[(row*sh.Heads+h)*sh.ValueDim:], sh.Heads*sh.ValueDim
	rowTiles(0, m, func(i, mm int) {
		for b := range nb {
			tile(mm, panel, sh.KeyDim, q[i*ldq:], ldq, 1, t.g.blocks.k[b], panel, p[i*ld+b*panel:], ld, false)
			tile(mm, panel, sh.ValueDim, do[i*ldo:], ldo, 1, vT[b*panel*vd:], panel, dp[i*ld+b*panel:], ld, false)
		}
	})
	for i := range m {
		pr, dpr := p[i*ld:(i+1)*ld], dp[i*ld:(i+1)*ld]
		for j := pos + i + 1; j < ld; j++ {
			pr[j] = float32(math.Inf(-1))
			dpr[j] = 0
		}
		rowExp(pr, pr, sh.Scale, a.lse[(row+i)*sh.Heads+h])
		delta := rowDot(do[i*ldo:][:sh.ValueDim], o[i*ldo:][:sh.ValueDim])
		rowSoftmaxBack(pr, dpr, delta, sh.Scale)
	}
	// dQ: one chain over the keys.
	dq := a.dq[(row*sh.Heads+h)*sh.KeyDim:]
	rowTiles(0, m, func(i, mm int) {
		for c := 0; c < sh.KeyDim; c += panel {
			tile(mm, min(panel, sh.KeyDim-c), top, dp[i*ld:], ld, 1, kRows[c:], sh.KeyDim, dq[i*ldq+c:], ldq, true)
		}
	})
	// dK and dV: one chain over the queries.
	kh := h / (sh.Heads / sh.KVHeads)
	qs, ldq := queryPanels(&t.qTile, q, ldq, m, sh.KeyDim)
	dos, ldo := queryPanels(&t.doTile, do, ldo, m, sh.ValueDim)
	first := 0
	for _, c := range t.chain {
		keys := min(a.seqs.Len[c], top-first)
		at := a.seqs.Start[c]*sh.KVHeads + kh
		addOuter(a.dk[at*sh.KeyDim:], sh.KVHeads*sh.KeyDim, dp[first:], ld, qs, ldq, keys, m, sh.KeyDim)
		addOuter(a.dv[at*sh.ValueDim:], sh.KVHeads*sh.ValueDim, p[first:], ld, dos, ldo, keys, m, sh.ValueDim)
		first += keys
	}
}

// queryPanels returns m rows of n numbers whose panels may be read whole: few rows
// where they lie, if n is whole panels, or a copy.
func queryPanels(buf *[]float32, x []float32, ldx, m, n int) ([]float32, int) {
	if m <= few && n%panel == 0 {
		return x, ldx
	}
	ld := pad16(n)
	rows := grow(buf, m*ld)
	for i := range m {
		copyPad(rows[i*ld:(i+1)*ld], x[i*ldx:][:n])
	}
	return rows, ld
}

// addOuter adds to c [keys,n] (ldc) the transpose of s [m,keys] times x [m,n].
func addOuter(c []float32, ldc int, s []float32, lds int, x []float32, ldx, keys, m, n int) {
	rowTiles(0, keys, func(j, mm int) {
		for col := 0; col < n; col += panel {
			tile(mm, min(panel, n-col), m, s[j:], 1, lds, x[col:], ldx, c[j*ldc+col:], ldc, true)
		}
	})
}

func copyPad(dst, src []float32) {
	copy(dst, src)
	clear(dst[len(src):])
}
