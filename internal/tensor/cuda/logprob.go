package cuda

import (
	"slices"

	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// The vocabulary product and what follows it. Logits exist for a chunk of rows at
// a time, in one buffer of ChunkBytes; the gradient computes them again.

// vocabRows is how many rows of logits exist at a time.
func (d *Device) vocabRows(vocab int) int {
	return int(max(1, min(65535, d.opts.ChunkBytes/(4*int64(vocab)))))
}

// Logprob computes log-probabilities chunk by chunk.
func (d *Device) Logprob(lp []float32, lse []float64, h, w tensor.Buffer, t *tensor.Targets, rows, dim, vocab int) {
	defer d.begin()()
	d.keptForward(lp, h, w, t, rows, dim)
	full := fullRows(t, rows)
	n, blocks := len(full), logprob.NumBlocks(vocab)
	if n == 0 {
		return
	}
	x, weight := d.operand(d.rowsOf(in(h), full, rows, dim), n, dim), d.weight(w, dim)
	chunk := min(n, d.vocabRows(vocab))
	z, sums, logits := d.floats(chunk*vocab), d.floats(3*n*blocks), d.floats(n)
	ids := d.ints(pick(t.IDs, full))
	for r := 0; r < n; r += chunk {
		m := min(chunk, n-r)
		d.mulForward(z, row(x, r), weight, m, vocab, dim)
		d.vocabSums(sums+driver.Ptr(12*r*blocks), 0, z, 1/t.Temperature, m, vocab)
		d.each("target_logits", m, logits+driver.Ptr(4*r), z, ids+driver.Ptr(4*r), int64(m), i32(vocab))
	}
	hostSums, target := make([]float32, 3*n*blocks), make([]float32, n)
	check(d.drv.Download(bytes(hostSums), sums))
	check(d.drv.Download(bytes(target), logits))
	row := make([]logprob.BlockSum, blocks)
	for i, r := range full {
		blockSums(row, hostSums[3*i*blocks:])
		top, logSum, _ := logprob.Combine(row)
		lp[r] = logprob.FullFrom(top, logSum, target[i], t.Temperature)
		lse[r] = float64(top) + logSum
	}
}

func (d *Device) vocabSums(sums, exps, z driver.Ptr, scale float32, rows, vocab int) {
	dims := driver.Dims{Grid: [3]int{logprob.NumBlocks(vocab), rows}, Block: [3]int{threads(min(vocab, logprob.Block) / 4)}}
	d.drv.Launch("vocab_sums", dims, sums, exps, z, scale, i32(vocab))
}

func blockSums(dst []logprob.BlockSum, src []float32) {
	for b := range dst {
		dst[b] = logprob.BlockSum{Max: src[3*b], Sum: src[3*b+1], Dot: src[3*b+2]}
	}
}

// fullRows lists the rows whose softmax runs over the whole vocabulary.
func fullRows(t *tensor.Targets, rows int) []int32 {
	var full []int32
	for i := range rows {
		if t.Kept == nil || t.Kept[i] == nil {
			full = append(full, int32(i))
		}
	}
	return full
}

func pick[T any](x []T, rows []int32) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = x[r]
	}
	return out
}

// rowsOf returns the rows of h, a copy unless they are all of them.
func (d *Device) rowsOf(h driver.Ptr, which []int32, rows, dim int) driver.Ptr {
	if len(which) == rows {
		return h
	}
	p := d.floats(len(which) * dim)
	d.gather(p, h, which, dim)
	return p
}

// LogprobGrad adds to dh and dw. Rows of coefficient 0 are left out.
func (d *Device) LogprobGrad(dh, dw tensor.Buffer, coef []float32, lse []float64, h, w tensor.Buffer, t *tensor.Targets, rows, dim, vocab int) {
	defer d.begin()()
	d.keptGrad(dh, dw, coef, h, w, t, rows, dim)
	live := slices.DeleteFunc(fullRows(t, rows), func(i int32) bool { return coef[i] == 0 })
	n := len(live)
	if n == 0 {
		return
	}
	x, weight := d.operand(d.rowsOf(in(h), live, rows, dim), n, dim), d.weight(w, dim)
	dx := out(dh)
	if n < rows {
		dx = d.floats(n * dim)
		d.drv.Clear(dx, 4*int64(n)*int64(dim))
	}
	narrow := make([]float32, n)
	for i, r := range live {
		narrow[i] = float32(lse[r])
	}
	lses, coefs, ids := d.upload(narrow), d.upload(pick(coef, live)), d.ints(pick(t.IDs, live))
	chunk := min(n, d.vocabRows(vocab))
	z := d.floats(chunk * vocab)
	dz, half := f32(z, vocab), driver.Ptr(0)
	if !d.opts.Float32 {
		half = d.halves(chunk * vocab)
		dz = driver.Matrix{Data: half, Type: driver.BF16, Stride: vocab}
	}
	for r := 0; r < n; r += chunk {
		m := min(chunk, n-r)
		d.mulForward(z, row(x, r), weight, m, vocab, dim)
		d.each("vocab_grad", m*vocab, z, half, lses+driver.Ptr(4*r), coefs+driver.Ptr(4*r), ids+driver.Ptr(4*r), 1/t.Temperature, int64(m*vocab), i32(vocab))
		d.mulGradInput(dx+driver.Ptr(4*r*dim), dz, weight, m, vocab, dim)
		if dw != nil {
			d.mulGradWeight(out(dw), dz, row(x, r), m, vocab, dim)
		}
	}
	if n < rows {
		source := make([]int32, n)
		for i := range source {
			source[i] = int32(i)
		}
		d.scatter(out(dh), dx, live, source, nil, dim)
	}
}

// kept is the kept sets of a batch one after the other.
type kept struct {
	rows, offsets, ids []int32
}

// keptSets lists the sets of rows that have one, without those that skip says.
func keptSets(t *tensor.Targets, rows int, skip func(i int) bool) *kept {
	k := &kept{offsets: []int32{0}}
	if t.Kept == nil {
		return k
	}
	for i, ids := range t.Kept[:rows] {
		if ids == nil || skip(i) {
			continue
		}
		k.rows, k.ids = append(k.rows, int32(i)), append(k.ids, ids...)
		k.offsets = append(k.offsets, int32(len(k.ids)))
	}
	return k
}

// keptOnDevice is kept's lists there, with the logits of its ids.
type keptOnDevice struct {
	rows, offsets, ids driver.Ptr
	weight             driver.Ptr
	kind               int32
	logits             []float32
}

func (d *Device) keptLogits(k *kept, h, w tensor.Buffer, dim int) *keptOnDevice {
	o := &keptOnDevice{rows: d.ints(k.rows), offsets: d.ints(k.offsets), ids: d.ints(k.ids), weight: d.weight(w, dim).Data, logits: make([]float32, len(k.ids))}
	if !d.opts.Float32 {
		o.kind = kindHalf
	}
	z := d.floats(len(k.ids))
	d.blocks("kept_logits", len(k.rows), 256, 0, z, in(h), o.weight, o.rows, o.offsets, o.ids, i32(dim), o.kind)
	check(d.drv.Download(bytes(o.logits), z))
	return o
}

func (d *Device) keptForward(lp []float32, h, w tensor.Buffer, t *tensor.Targets, rows, dim int) {
	k := keptSets(t, rows, func(int) bool { return false })
	if len(k.rows) == 0 {
		return
	}
	o := d.keptLogits(k, h, w, dim)
	for i, r := range k.rows {
		place, ok := slices.BinarySearch(t.Kept[r], t.IDs[r])
		if !ok {
			panic("cuda: target is not in its kept set: rollouts are validated where they enter")
		}
		lp[r] = logprob.Kept(o.logits[k.offsets[i]:k.offsets[i+1]], place, t.Temperature)
	}
}

// keptGrad computes the gradients of the kept logits on the host, as
// internal/logprob defines them; dh goes by rows, dw by ids.
func (d *Device) keptGrad(dh, dw tensor.Buffer, coef []float32, h, w tensor.Buffer, t *tensor.Targets, rows, dim int) {
	k := keptSets(t, rows, func(i int) bool { return coef[i] == 0 })
	if len(k.rows) == 0 {
		return
	}
	o := d.keptLogits(k, h, w, dim)
	dz, source := make([]float32, len(k.ids)), make([]int32, len(k.ids))
	var wide []float64
	for i, r := range k.rows {
		from, to := k.offsets[i], k.offsets[i+1]
		wide = slices.Grow(wide[:0], int(to-from))[:to-from]
		place, _ := slices.BinarySearch(t.Kept[r], t.IDs[r])
		logprob.KeptGrad(wide, o.logits[from:to], place, t.Temperature, float64(coef[r]))
		for j, v := range wide {
			dz[int(from)+j], source[int(from)+j] = float32(v), r
		}
	}
	d.blocks("kept_grad", len(k.rows), dim, 0, out(dh), d.upload(dz), o.weight, o.rows, o.offsets, o.ids, i32(dim), o.kind)
	if dw != nil {
		d.scatter(out(dw), in(h), k.ids, source, dz, dim)
	}
}
