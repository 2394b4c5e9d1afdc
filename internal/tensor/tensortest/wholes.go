package tensortest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/tensor"
)

func wholes() []*whole {
	all := []*whole{
		{"Memory", memory}, {"Linears", linears}, {"LinearsGrad", linearsGrad}, {"SetGradients", setGradients}, {"Select", selects}, {"SumSquares", squares}, {"BlockSquares", blockSquares}, {"Logits", logits}, {"LogitsThatAreNotFinite", notFinite},
		{"Cache", caches}, {"CacheOfKeysWithValues", valuesInKeys}, {"CacheSelect", cacheSelect}, {"Replay", replays},
	}
	for _, half := range []bool{false, true} {
		all = append(all, &whole{fmt.Sprintf("AdamW/bf16=%v", half), func(t *testing.T, d device) [][]float32 { return adamW(d, half) }},
			&whole{fmt.Sprintf("Views/bf16=%v", half), func(t *testing.T, d device) [][]float32 { return views(t, d, half) }})
	}
	for i := range routers {
		all = append(all, &whole{fmt.Sprintf("RouteChoice/%d", i), func(t *testing.T, d device) [][]float32 { return routes(d, i) }})
	}
	for _, sparse := range []bool{false, true} {
		all = append(all, &whole{fmt.Sprintf("IndexLoss/sparse=%v", sparse), func(t *testing.T, d device) [][]float32 { return indexLoss(d, sparse) }})
	}
	return all
}

func upload(d device, x []float32) buf {
	b := d.New(len(x))
	d.Write(b, x)
	return b
}

func download(d device, b buf) []float32 {
	x := make([]float32, b.Len())
	d.Read(x, b)
	return x
}

// memory: zeroed, slices, matrices row-major, bfloat16 rounded to the nearest.
func memory(t *testing.T, d device) [][]float32 {
	b := d.New(1000)
	for i, v := range download(d, b) {
		if v != 0 {
			t.Fatalf("new memory: element %d is %v", i, v)
		}
	}
	x := Ramp(1000, 1)
	d.Write(b, x)
	part := b.(interface{ Slice(n int) buf }).Slice(10)
	d.Zero(part)
	copy(x, make([]float32, 10))
	if got := download(d, b); part.Len() != 10 || !slices.Equal(got, x) {
		t.Fatal("zeroing the first 10 elements")
	}
	m, w := d.NewMatrix(17, 5), Ramp(17*5, 2)
	d.WriteMatrix(m, w, 17, 5)
	got := make([]float32, len(w))
	if d.ReadMatrix(got, m, 17, 5); !slices.Equal(got, w) {
		t.Fatal("a matrix comes back changed")
	}
	odd := []float32{1, -2, 1.00390625, 1.01171875, 1.004, 3e38, float32(math.Inf(-1)), 0, 1e-40, math.MaxFloat32}
	half, back := d.NewBF16(len(odd)), d.New(len(odd))
	d.Copy(half, upload(d, odd))
	d.Copy(back, half)
	want := []float32{1, -2, 1, 1.015625, 1.0078125, 3.0040553e38, float32(math.Inf(-1)), 0, 9.1835e-41, float32(math.Inf(1))}
	if got := download(d, back); !slices.Equal(got, want) {
		t.Fatalf("bfloat16: %v, want %v", got, want)
	}
	d.Copy(half, upload(d, []float32{float32(math.NaN()), 0, 0, 0, 0, 0, 0, 0, 0, 0}))
	again := d.NewBF16(len(odd))
	d.Copy(again, half)
	if d.Copy(back, again); !math.IsNaN(float64(download(d, back)[0])) {
		t.Fatal("a NaN became a number")
	}
	for _, b := range []buf{b, m, half, again, back} {
		d.Free(b)
	}
	return nil
}

func squares(_ *testing.T, d device) [][]float32 {
	var out []float32
	for _, n := range []int{1, 100, 4096, 4097, 20000} {
		out = append(out, float32(d.SumSquares(upload(d, Ramp(n, uint32(n))))))
	}
	return [][]float32{out}
}

// blockSquares: the same bits on every device, also of a view.
func blockSquares(t *testing.T, d device) [][]float32 {
	for _, n := range []int{1, 127, 128, 129, 5000} {
		x := Ramp(n+256, uint32(n))
		got := make([]float64, (n+127)/128)
		d.BlockSquares(got, d.View(upload(d, x), 256, n), 128)
		for i, g := range got {
			want := 0.0
			for _, v := range x[256+128*i : 256+min(n, 128*(i+1))] {
				want += float64(v) * float64(v)
			}
			if math.Float64bits(g) != math.Float64bits(want) {
				t.Fatalf("block %d of %d elements: %v, want %v", i, n, g, want)
			}
		}
	}
	return nil
}

// offloaded does updates with moments in the host's memory, two weights of different sizes
// in turn, one of them twice running, and a part of one: weights and moments are those of
// moments on the device, bit for bit.
func offloaded(t *testing.T, d tensor.Offloader, bf16 bool) {
	type weight struct{ p, g, m, v buf }
	there := func(n int) buf { return d.NewOffloaded(n, bf16) }
	here := func(n int) buf {
		if bf16 {
			return d.NewBF16(n)
		}
		return d.New(n)
	}
	wide := func(b buf) []float32 {
		x := d.New(b.Len())
		d.Copy(x, b)
		return download(d, x)
	}
	const large, small, from = 5003, 130, 256
	var ends [2][][]float32
	for i, moment := range []func(n int) buf{here, there} {
		var all []weight
		for _, n := range []int{large, small} {
			w := weight{upload(d, Ramp(n, 1)), upload(d, Ramp(n, 2)), moment(n), moment(n)}
			if slices.Max(wide(w.m)) != 0 || slices.Min(wide(w.m)) != 0 {
				t.Fatal("new moments are not zero")
			}
			d.Copy(w.m, upload(d, Ramp(n, 3)))
			all = append(all, w)
		}
		for u, k := range []int{0, 1, 0, 0, 1, 1} {
			w := all[k]
			d.AdamW(w.p, w.g, w.m, w.v, tensor.AdamWStep{Scale: 0.5, Beta1: 0.9, OneSubBeta1: 0.1, Beta2: 0.99, OneSubBeta2: 0.01, Shrink: 0.999, Rate: 0.05, InvRootBias2: 3.1 / float32(u+1), Eps: 1e-6})
		}
		w, part := all[0], func(b buf) buf { return d.View(b, from, large-from) }
		d.AdamW(part(w.p), part(w.g), part(w.m), part(w.v), tensor.AdamWStep{Scale: 1, Beta1: 0.9, OneSubBeta1: 0.1, Beta2: 0.99, OneSubBeta2: 0.01, Shrink: 1, Rate: 0.05, InvRootBias2: 1, Eps: 1e-6})
		d.Copy(all[1].v, upload(d, Ramp(small, 4)))
		for _, w := range all {
			ends[i] = append(ends[i], download(d, w.p), wide(w.m), wide(w.v))
			d.Free(w.m)
			d.Free(w.v)
		}
	}
	for i, want := range ends[0] {
		for j, x := range want {
			if math.Float32bits(ends[1][i][j]) != math.Float32bits(x) {
				t.Fatalf("result %d, element %d: %v with offloaded moments, %v without", i, j, ends[1][i][j], x)
			}
		}
	}
}

// adamW does three updates of a matrix that a product is taken with in between.
func adamW(d device, half bool) [][]float32 {
	const out, in = 33, 40
	w, g := d.NewMatrix(out, in), d.NewMatrix(out, in)
	d.WriteMatrix(w, Ramp(out*in, 1), out, in)
	d.WriteMatrix(g, Ramp(out*in, 2), out, in)
	m, v := d.NewMatrix(out, in), d.NewMatrix(out, in)
	if half {
		m, v = d.NewBF16(w.Len()), d.NewBF16(w.Len())
	}
	x, y := upload(d, Ramp(5*in, 3)), d.New(5*out)
	var all [][]float32
	for i := range 3 {
		d.AdamW(w, g, m, v, tensor.AdamWStep{Scale: 0.5, Beta1: 0.9, OneSubBeta1: 0.1, Beta2: 0.99, OneSubBeta2: 0.01, Shrink: 0.999, Rate: 0.05, InvRootBias2: 3.1 / float32(i+1), Eps: 1e-6})
		d.Linear(y, x, w, nil, 5, out, in)
		now := make([]float32, out*in)
		d.ReadMatrix(now, w, out, in)
		all = append(all, now, download(d, y))
	}
	return all
}

// views does an update of a matrix in two parts, with a product after each: the product
// is that of the weights as they are then, the end is that of one update. Gradients and
// moments are views, too.
func views(t *testing.T, d device, half bool) [][]float32 {
	const out, in = 33, 40
	x, y, want := upload(d, Ramp(5*in, 3)), d.New(5*out), d.New(5*out)
	step := tensor.AdamWStep{Scale: 0.5, Beta1: 0.9, OneSubBeta1: 0.1, Beta2: 0.99, OneSubBeta2: 0.01, Shrink: 0.999, Rate: 0.05, InvRootBias2: 3.1, Eps: 1e-6}
	moment := func(n int) buf {
		if half {
			return d.NewBF16(n)
		}
		return d.New(n)
	}
	matrix := func(seed uint32) buf {
		b := d.NewMatrix(out, in)
		d.WriteMatrix(b, Ramp(out*in, seed), out, in)
		return b
	}
	read := func(b buf) []float32 {
		x := make([]float32, out*in)
		d.ReadMatrix(x, b, out, in)
		return x
	}
	w, g, whole := matrix(1), matrix(2), matrix(1)
	n := w.Len()
	m, v := moment(n), moment(n)
	row, m2, v2 := d.New(n+256), moment(n+128), moment(n+128)
	grad := d.View(row, 128, n)
	d.Copy(grad, g)
	for range 2 {
		d.AdamW(whole, g, m, v, step)
		for _, part := range [][2]int{{0, 512}, {512, n}} {
			from, size := part[0], part[1]-part[0]
			mine := d.View(d.View(w, 256, n-256), 0, n-256)
			if from < 256 {
				mine = w
			} else {
				from -= 256
			}
			at := part[0]
			d.AdamW(d.View(mine, from, size), d.View(grad, at, size), d.View(m2, 128+at, size), d.View(v2, 128+at, size), step)
			now := d.NewMatrix(out, in)
			d.WriteMatrix(now, read(w), out, in)
			d.Linear(y, x, w, nil, 5, out, in)
			d.Linear(want, x, now, nil, 5, out, in)
			if !slices.Equal(download(d, y), download(d, want)) {
				t.Fatalf("a product after elements %d to %d were updated is of other weights", part[0], part[1])
			}
		}
		if !slices.Equal(read(w), read(whole)) {
			t.Fatal("an update in two parts is another than a whole one")
		}
	}
	if a, b := d.SumSquares(grad), d.SumSquares(g); a != b {
		t.Fatalf("the squares of a view: %v, want %v", a, b)
	}
	d.Zero(d.View(row, 128+512, n-512))
	left := download(d, row)
	d.Read(left[128:128+512], d.View(g, 0, 512))
	if got := download(d, row); !slices.Equal(got, left) || slices.Max(left[128+512:]) != 0 {
		t.Fatal("zeroing a view")
	}
	d.Write(d.View(row, 128, 3), []float32{1, 2, 3})
	if got := download(d, d.View(row, 127, 5)); got[0] != 0 || got[1] != 1 || got[3] != 3 || got[4] != left[131] {
		t.Fatalf("writing a view: %v", got)
	}
	return [][]float32{read(w)}
}

// positions lists what rows select as numbers, -1 for everything.
func positions(sel tensor.Selection, rows int) []float32 {
	var out []float32
	for i := range rows {
		if sel.Row(i) == nil {
			out = append(out, -1)
		}
		for _, p := range sel.Row(i) {
			out = append(out, float32(p))
		}
	}
	return out
}

// exactly multiplies choices so that one that differs is beyond any tolerance.
func exactly(x []float32) []float32 {
	for i := range x {
		x[i] *= 1e6
	}
	return append(x, 0.1)
}

func selects(t *testing.T, d device) [][]float32 {
	var all [][]float32
	seqs := tree()
	rows := seqs.Rows()
	for _, sh := range []tensor.IndexShape{{Heads: 4, Dim: 16, TopK: 6}, {Heads: 7, Dim: 12, TopK: 17}, {Heads: 1, Dim: 5, TopK: 1}, {Heads: 2, Dim: 8, TopK: 100}} {
		sh.Scale = float32(1 / math.Sqrt(float64(sh.Heads*sh.Dim)))
		q, k, w := coarse(rows*sh.Heads*sh.Dim, 1), coarse(rows*sh.Dim, 2), coarse(rows*sh.Heads, 3)
		sel := d.Select(upload(d, q), upload(d, k), upload(d, w), sh, seqs)
		got := positions(sel, rows)
		all = append(all, exactly(got))
	}
	// Ties, and zeros of both signs, go to the lower position.
	one := &tensor.Seqs{}
	one.Add(300, -1)
	k := make([]float32, 300)
	for i := range k {
		k[i] = float32(i*7%5) - 1
	}
	q, w := make([]float32, 300), make([]float32, 300)
	for i := range q {
		q[i], w[i] = 1, float32(i%3)-1
	}
	sel := d.Select(upload(d, q), upload(d, k), upload(d, w), tensor.IndexShape{Heads: 1, Dim: 1, TopK: 40, Scale: 1}, one)
	return append(all, exactly(positions(sel, 300)))
}

// coarse returns multiples of 1/16: products and sums of them are exact in float32,
// and the numbers in bfloat16, so that choices cannot hang on rounding.
func coarse(n int, seed uint32) []float32 {
	x := Ramp(n, seed)
	for i := range x {
		x[i] = float32(math.Round(float64(x[i])*16)) / 16
	}
	return x
}

func routes(d device, i int) [][]float32 {
	const rows = 37
	r := &routers[i]
	z, experts := upload(d, Ramp(rows*r.E, uint32(i))), make([]int32, rows*r.TopK)
	for i := range experts {
		experts[i] = -1
		if i/r.TopK%3 == 1 { // forced
			experts[i] = int32((i/r.TopK + 2*(i%r.TopK)) % r.E)
		}
	}
	var bias buf
	if r.biased {
		bias = upload(d, Ramp(r.E, 9))
	}
	free := slices.Clone(experts)
	gates := d.New(rows * r.TopK)
	d.Route(gates, experts, z, bias, &r.Router, rows, r.E)
	d.Route(nil, free, z, bias, &r.Router, rows, r.E)
	var out []float32
	for _, e := range slices.Concat(experts, free) {
		out = append(out, float32(e))
	}
	ties := []int32{-1, -1}
	d.Route(nil, ties, d.New(8), nil, &tensor.Router{Sigmoid: true, TopK: 2, Groups: 2, TopGroups: 1, Scale: 1}, 1, 8)
	out = append(out, float32(ties[0]), float32(ties[1]))
	return [][]float32{exactly(out), download(d, gates)}
}

func indexLoss(d device, sparse bool) [][]float32 {
	seqs := tree()
	rows := seqs.Rows()
	ix := tensor.IndexShape{Heads: 3, Dim: 8, TopK: 5, Scale: float32(1 / math.Sqrt(24))}
	sh := tensor.AttentionShape{Heads: 4, KVHeads: 2, KeyDim: 16, ValueDim: 16, Scale: 0.4}
	q, k, w := upload(d, coarse(rows*ix.Heads*ix.Dim, 1)), upload(d, coarse(rows*ix.Dim, 2)), upload(d, coarse(rows*ix.Heads, 3))
	mq, mk, mv := upload(d, coarse(rows*sh.Heads*sh.KeyDim, 4)), upload(d, coarse(rows*sh.KVHeads*sh.KeyDim, 5)), upload(d, coarse(rows*sh.KVHeads*sh.ValueDim, 6))
	o, lse := d.New(rows*sh.Heads*sh.ValueDim), d.New(rows*sh.Heads)
	var sel tensor.Selection
	if sparse {
		sel = d.Select(q, k, w, ix, seqs)
		d.SparseAttention(o, lse, mq, mk, mv, sh, seqs, sel)
	} else {
		d.Attention(o, lse, mq, mk, mv, sh, seqs)
	}
	loss := make([]float64, rows)
	dq, dk, dw := upload(d, Ramp(q.Len(), 7)), upload(d, Ramp(k.Len(), 8)), upload(d, Ramp(w.Len(), 9))
	d.IndexLossGrad(loss, dq, dk, dw, q, k, w, ix, 0.25, mq, mk, lse, sh, seqs, sel)
	narrow := make([]float32, rows)
	for i, v := range loss {
		narrow[i] = float32(v)
	}
	return [][]float32{download(d, lse), narrow, download(d, dq), download(d, dk), download(d, dw)}
}

// rowsOfLogits runs Logits and returns the logits, the masses and what combines
// from the blocks.
func rowsOfLogits(d device, h, w buf, rows, dim, vocab int, temperature float32) [][]float32 {
	logits, masses, rest := make([]float32, rows*vocab), make([]float32, rows*vocab), make([]float32, 3*rows)
	d.Logits(h, w, rows, dim, vocab, temperature, func(i int, z []float32, m *logprob.Masses) {
		copy(logits[i*vocab:], z)
		copy(masses[i*vocab:(i+1)*vocab], m.Exp)
		top, logSum, entropy := logprob.Combine(m.Blocks)
		rest[3*i], rest[3*i+1], rest[3*i+2] = top, float32(logSum), float32(entropy)
	})
	return [][]float32{logits, masses, rest}
}

func logits(t *testing.T, d device) [][]float32 {
	var all [][]float32
	for _, c := range []struct {
		rows, dim, vocab int
		temperature      float32
	}{{3, 16, 5, 0}, {5, 24, 1024, 0.7}, {9, 8, 2500, 1}} {
		h, w := upload(d, Ramp(c.rows*c.dim, 1)), d.NewMatrix(c.vocab, c.dim)
		d.WriteMatrix(w, Ramp(c.vocab*c.dim, 2), c.vocab, c.dim)
		all = append(all, rowsOfLogits(d, h, w, c.rows, c.dim, c.vocab, c.temperature)...)
	}
	return all
}

// notFinite: a NaN or an infinite logit must show in the sum.
func notFinite(t *testing.T, d device) [][]float32 {
	const dim, vocab = 4, 1100
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		for _, at := range []int{0, 700, 1099} {
			weights := Ramp(vocab*dim, 2)
			for c := range dim {
				weights[at*dim+c] = bad
			}
			w := d.NewMatrix(vocab, dim)
			d.WriteMatrix(w, weights, vocab, dim)
			rest := rowsOfLogits(d, upload(d, []float32{1, 1, 1, 1}), w, 1, dim, vocab, 1)[2]
			if !math.IsNaN(float64(rest[1])) {
				t.Fatalf("logit %d is %v, and the sum of the row is %v", at, bad, rest[1])
			}
			d.Free(w)
		}
	}
	return nil
}

// slots are the places of n positions in blocks.
func slots(blocks []int32, from, n int) []tensor.Slot {
	var out []tensor.Slot
	for p := from; p < from+n; p++ {
		out = append(out, tensor.Slot{Block: blocks[p/tensor.BlockTokens], Offset: int32(p % tensor.BlockTokens)})
	}
	return out
}

// caches: sequences written token by token and in one go, a shared and a copied
// block, decoding and prefill, dense and sparse. A view ends where its sequence
// ends: a block that is not full is some device's business.
func caches(t *testing.T, d device) [][]float32 {
	var all [][]float32
	for _, sh := range shapes {
		const layers = 2
		c := d.NewCache(sh, layers, 8)
		kw, vw, qw, ow := sh.KVHeads*sh.KeyDim, sh.KVHeads*sh.ValueDim, sh.Heads*sh.KeyDim, sh.Heads*sh.ValueDim
		first, second := []int32{6, 2, 0}, []int32{5, 2, 7} // they share block 2
		for l := range layers {
			k, v := Ramp(37*kw, uint32(1+l)), Ramp(37*vw, uint32(3+l))
			d.CacheWrite(c, l, upload(d, k[:32*kw]), upload(d, v[:32*vw]), slots(first, 0, 32))
			for p := 32; p < 37; p++ {
				d.CacheWrite(c, l, upload(d, k[p*kw:(p+1)*kw]), upload(d, v[p*vw:(p+1)*vw]), slots(first, p, 1))
			}
			d.CacheWrite(c, l, upload(d, Ramp(16*kw, 5)), upload(d, Ramp(16*vw, 6)), slots(second, 0, 16))
			d.CacheWrite(c, l, upload(d, Ramp(2*kw, 15)), upload(d, Ramp(2*vw, 16)), slots([]int32{1}, 0, 2))
		}
		c.CopyBlock(7, 0)
		for l := range layers {
			d.CacheWrite(c, l, upload(d, Ramp(kw, 7)), upload(d, Ramp(vw, 8)), slots(second, 36, 1))
		}
		q := upload(d, Ramp(14*qw, 9))
		views := []tensor.View{{Row: 0, Len: 1, Pos: 36, Blocks: first}, {Row: 1, Len: 1, Pos: 36, Blocks: second}, {Row: 2, Len: 10, Pos: 27, Blocks: second}, {Row: 12, Len: 2, Pos: 0, Blocks: []int32{1}}}
		for l := range layers {
			o := d.New(14 * ow)
			d.CacheAttend(o, q, c, l, views, nil)
			all = append(all, download(d, o))
		}
		// The rows of a view that select are its last ones.
		ix := tensor.IndexShape{Heads: 1, Dim: sh.KeyDim, TopK: 19, Scale: 1}
		keys := d.NewCache(tensor.AttentionShape{Heads: 1, KVHeads: 1, KeyDim: sh.KeyDim}, 1, 8)
		d.CacheWrite(keys, 0, upload(d, coarse(37*sh.KeyDim, 11)), nil, slots(first, 0, 37))
		d.CacheWrite(keys, 0, upload(d, coarse(16*sh.KeyDim, 12)), nil, slots(second, 0, 16))
		d.CacheWrite(keys, 0, upload(d, coarse(5*sh.KeyDim, 17)), nil, slots(second, 32, 5))
		sel := d.CacheSelect(upload(d, coarse(14*sh.KeyDim, 13)), upload(d, coarse(14, 14)), ix, keys, 0, views)
		o := d.New(14 * ow)
		d.CacheAttend(o, q, c, 1, views, sel)
		all = append(all, exactly(positions(sel, 14)), download(d, o))
	}
	return all
}

// valuesInKeys: a cache whose values are the first numbers of its keys attends
// like one that has both.
func valuesInKeys(t *testing.T, d device) [][]float32 {
	with := tensor.AttentionShape{Heads: 5, KVHeads: 1, KeyDim: 28, ValueDim: 20, Scale: 0.4}
	within := with
	within.ValuesInKeys = true
	const n = 37
	a, b := d.NewCache(with, 1, 3), d.NewCache(within, 1, 3)
	k, v := Ramp(n*with.KeyDim, 1), make([]float32, n*with.ValueDim)
	for i := range n {
		copy(v[i*with.ValueDim:(i+1)*with.ValueDim], k[i*with.KeyDim:])
	}
	blocks := []int32{2, 1, 0}
	d.CacheWrite(a, 0, upload(d, k), upload(d, v), slots(blocks, 0, n))
	d.CacheWrite(b, 0, upload(d, k), nil, slots(blocks, 0, n))
	q := upload(d, Ramp(9*with.Heads*with.KeyDim, 3))
	views := []tensor.View{{Row: 0, Len: 1, Pos: 36, Blocks: blocks}, {Row: 1, Len: 8, Pos: 29, Blocks: blocks}}
	x, y := d.New(9*with.Heads*with.ValueDim), d.New(9*with.Heads*with.ValueDim)
	d.CacheAttend(x, q, a, 0, views, nil)
	d.CacheAttend(y, q, b, 0, views, nil)
	got, want := download(d, y), download(d, x)
	if !slices.Equal(got, want) {
		t.Error("values within keys change the result")
	}
	return [][]float32{want}
}

func cacheSelect(t *testing.T, d device) [][]float32 {
	var all [][]float32
	for _, sh := range []tensor.IndexShape{{Heads: 4, Dim: 16, TopK: 6, Scale: 0.125}, {Heads: 3, Dim: 5, TopK: 20, Scale: 0.25}} {
		c := d.NewCache(tensor.AttentionShape{Heads: 1, KVHeads: 1, KeyDim: sh.Dim}, 2, 4)
		blocks := []int32{3, 0, 2}
		d.CacheWrite(c, 1, upload(d, coarse(40*sh.Dim, 1)), nil, slots(blocks, 0, 40))
		views := []tensor.View{{Row: 0, Len: 3, Pos: 2, Blocks: blocks}, {Row: 3, Len: 9, Pos: 31, Blocks: blocks}}
		sel := d.CacheSelect(upload(d, coarse(12*sh.Heads*sh.Dim, 2)), upload(d, coarse(12*sh.Heads, 3)), sh, c, 1, views)
		all = append(all, exactly(positions(sel, 12)))
	}
	return all
}
