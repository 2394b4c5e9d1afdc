package cpu

import (
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Sparse attention gathers the selected keys and values of a row into blocks of
// 16 in ascending order of position, and goes on as dense attention does. Rows
// that attend to everything take the dense path.

// picker gathers selected positions in a thread's memory.
type picker struct {
	blocks kvBlocks
	mem    []float32
	kRows  []float32 // [n][KeyDim]
	vRows  []float32 // [n][padded ValueDim]
	vT     []float32 // values as blocks [padded ValueDim][16], for gradients
	p, dp  []float32
}

// pick copies key(s) and value(s) of each selected s; value has the padded length.
func (g *picker) pick(sel []int32, sh *tensor.AttentionShape, key func(dst []float32, s int), value func(dst []float32, s int)) {
	nb, vd := (len(sel)+panel-1)/panel, pad16(sh.ValueDim)
	kl, vl := sh.KeyDim*panel, panel*vd
	mem, kRows, vRows := grow(&g.mem, nb*kl), grow(&g.kRows, nb*kl), grow(&g.vRows, nb*vl)
	for i, s := range sel {
		key(kRows[i*sh.KeyDim:(i+1)*sh.KeyDim], int(s))
		value(vRows[i*vd:(i+1)*vd], int(s))
	}
	g.blocks.k, g.blocks.v = g.blocks.k[:0], g.blocks.v[:0]
	for b := range nb {
		k := mem[b*kl : (b+1)*kl]
		toPanel(k, kRows[b*kl:(b+1)*kl], sh.KeyDim)
		g.blocks.k = append(g.blocks.k, k)
		g.blocks.v = append(g.blocks.v, vRows[b*vl:(b+1)*vl])
	}
}

// pickFrom gathers from a loaded sequence.
func (g *picker) pickFrom(all *gatherer, sel []int32, sh *tensor.AttentionShape) {
	vd := pad16(sh.ValueDim)
	g.pick(sel, sh, func(dst []float32, s int) { copy(dst, all.rows[s*sh.KeyDim:]) },
		func(dst []float32, s int) { copy(dst, all.blocks.v[s/panel][s%panel*vd:]) })
}

// SparseAttention is Attention over the selected positions.
func (d *Device) SparseAttention(o, lse, q, k, v tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs, choice tensor.Selection) {
	ov, lv, qv, kv, vv, sel := vec(o), vec(lse), vec(q), vec(k), vec(v), rowsOf(choice)
	per := sh.Heads / sh.KVHeads
	ps := make([]picker, d.pool.threads)
	d.pool.run(len(seqs.Start)*sh.KVHeads, func(thread, task int) {
		i, kh := task/sh.KVHeads, task%sh.KVHeads
		g, pk := &d.attention[thread].g, &ps[thread]
		g.load(i, kh, kv, vv, &sh, seqs)
		pos, start, n := seqs.Pos(i), seqs.Start[i], seqs.Len[i]
		s := d.scratch(thread, tileM*pad16(pos+n))
		attend := func(row, h int, last []int, b *kvBlocks) {
			at := row*sh.Heads + h
			var l []float32
			if lv != nil {
				l = lv[at:]
			}
			attendTile(ov[at*sh.ValueDim:], sh.Heads*sh.ValueDim, qv[at*sh.KeyDim:], sh.Heads*sh.KeyDim, last, b, &sh, s, l, sh.Heads)
		}
		dense := denseRows(sel, start, n)
		var last [tileM]int
		for h := kh * per; h < (kh+1)*per; h++ {
			rowTiles(0, dense, func(j, m int) {
				for r := range m {
					last[r] = pos + j + r
				}
				attend(start+j, h, last[:m], &g.blocks)
			})
		}
		for j := dense; j < n; j++ {
			pk.pickFrom(g, sel[start+j], &sh)
			last[0] = len(sel[start+j]) - 1
			for h := kh * per; h < (kh+1)*per; h++ {
				attend(start+j, h, last[:1], &pk.blocks)
			}
		}
	})
}

// denseRows returns how many of the rows from start on attend to everything: the
// first ones of a sequence.
func denseRows(sel selection, start, n int) int {
	for j := range n {
		if sel[start+j] != nil {
			return j
		}
	}
	return n
}

// SparseAttentionGrad is AttentionGrad over the selected positions, row by row
// in order.
func (d *Device) SparseAttentionGrad(dq, dk, dv, do, o, lse, q, k, v tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs, choice tensor.Selection) {
	a := attnGrad{
		dq: vec(dq), dk: vec(dk), dv: vec(dv), do: vec(do), o: vec(o), lse: vec(lse), q: vec(q), k: vec(k), v: vec(v),
		sh: sh, seqs: seqs,
	}
	sel := rowsOf(choice)
	var trees [][2]int
	seqs.Trees(func(lo, hi int) { trees = append(trees, [2]int{lo, hi}) })
	pickers := make([]picker, d.pool.threads)
	d.pool.run(len(trees)*sh.KVHeads, func(thread, task int) {
		t := trees[task/sh.KVHeads]
		for i := t[0]; i < t[1]; i++ {
			kh := task % sh.KVHeads
			dense := denseRows(sel, seqs.Start[i], seqs.Len[i])
			if dense > 0 {
				a.dense(&d.attention[thread], i, kh, dense)
			}
			if dense < seqs.Len[i] {
				a.sparse(&d.attention[thread], &pickers[thread], i, kh, dense, sel)
			}
		}
	})
}

// dense adds the gradients of the first n rows of a sequence.
func (a *attnGrad) dense(t *attnThread, i, kh, n int) {
	first := *a.seqs
	first.Len = append([]int(nil), first.Len...)
	first.Len[i] = n
	b := *a
	b.seqs = &first
	b.sequence(t, i, kh)
}

// sparse adds the gradients of a sequence's rows from j on.
func (a *attnGrad) sparse(t *attnThread, pk *picker, i, kh, from int, sel selection) {
	sh, seqs := &a.sh, a.seqs
	t.g.load(i, kh, a.k, a.v, sh, seqs)
	t.chain = seqs.Chain(t.chain[:0], i)
	rows := make([]int, 0, seqs.Pos(i)+seqs.Len[i]) // of each position
	for _, c := range t.chain {
		for r := range seqs.Len[c] {
			rows = append(rows, seqs.Start[c]+r)
		}
	}
	per, kd, vd := sh.Heads/sh.KVHeads, sh.KeyDim, pad16(sh.ValueDim)
	for j := from; j < seqs.Len[i]; j++ {
		row := seqs.Start[i] + j
		chosen := sel[row]
		pk.pickFrom(&t.g, chosen, sh)
		nb, n := len(pk.blocks.k), len(chosen)
		ld := nb * panel
		vT, p, dp := grow(&pk.vT, ld*vd), grow(&pk.p, ld), grow(&pk.dp, ld)
		for b := range nb {
			toPanel(vT[b*panel*vd:], pk.blocks.v[b], vd)
		}
		for h := kh * per; h < (kh+1)*per; h++ {
			at := row*sh.Heads + h
			q, do := a.q[at*kd:(at+1)*kd], a.do[at*sh.ValueDim:(at+1)*sh.ValueDim]
			for b := range nb {
				tile(1, panel, kd, q, kd, 1, pk.blocks.k[b], panel, p[b*panel:], ld, false)
				tile(1, panel, sh.ValueDim, do, sh.ValueDim, 1, vT[b*panel*vd:], panel, dp[b*panel:], ld, false)
			}
			rowExp(p[:n], p[:n], sh.Scale, a.lse[at])
			rowSoftmaxBack(p[:n], dp[:n], rowDot(do, a.o[at*sh.ValueDim:(at+1)*sh.ValueDim]), sh.Scale)
			for c := 0; c < kd; c += panel {
				w := min(panel, kd-c)
				tileColumns(w, n, dp, pk.kRows[c:], kd, a.dq[at*kd+c:])
			}
			for x, s := range chosen {
				r := rows[s]*sh.KVHeads + kh
				rowAxpy(a.dk[r*kd:(r+1)*kd], q, dp[x])
				rowAxpy(a.dv[r*sh.ValueDim:(r+1)*sh.ValueDim], do, p[x])
			}
		}
	}
}

// tileColumns adds a[0:n] times w <= 16 columns of b (rows ld apart) to c.
func tileColumns(w, n int, a, b []float32, ld int, c []float32) {
	if w == panel {
		tile(1, panel, n, a, n, 1, b, ld, c, panel, true)
		return
	}
	for j := range w {
		for i, x := range a[:n] {
			c[j] = fma32(x, b[i*ld+j], c[j])
		}
	}
}
