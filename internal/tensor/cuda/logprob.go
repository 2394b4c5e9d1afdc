package cuda

import (
	"slices"

	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// The vocabulary product and what follows it. Logits exist for a chunk of rows at
// a time, in one buffer of ChunkBytes; the gradient computes them again.

// vocabRows is how many rows of logits exist at a time.
func (d *Device) vocabRows(vocab int) int {
	return int(max(1, min(65535, d.opts.ChunkBytes/(4*int64(vocab)))))
}

// Logprob computes log-probabilities chunk by chunk. The logits of a kept set are
// picked from the whole product, which is what the engine samples from: gathering
// rows of w for each row would read about as much. lse of such a row is the set's.
func (d *Device) Logprob(lp []float32, lse []float64, h, w tensor.Buffer, t *tensor.Targets, rows, dim, vocab int) {
	defer d.begin()()
	if rows == 0 {
		return
	}
	x, weight, blocks := d.operand(h, rows, dim), d.weight(w, dim), logprob.NumBlocks(vocab)
	chunk := min(rows, d.vocabRows(vocab))
	z, sums, logits := d.floats(chunk*vocab), d.floats(3*rows*blocks), d.floats(rows)
	ids, kept := d.ints(t.IDs[:rows]), d.upKept(keptSets(t, rows))
	for r := 0; r < rows; r += chunk {
		m := min(chunk, rows-r)
		d.mulForward(z, row(x, r), weight, m, vocab, dim)
		d.vocabSums(sums+driver.Ptr(12*r*blocks), 0, z, 1/t.Temperature, m, vocab)
		d.each("target_logits", m, logits+driver.Ptr(4*r), z, ids+driver.Ptr(4*r), int64(m), i32(vocab))
		kept.each(r, m, func(n int, rows, offsets driver.Ptr) {
			d.blocks("kept_logits", n, 256, 0, kept.values, z, rows, offsets, kept.at, i32(r), i32(vocab))
		})
	}
	hostSums, target, picked := make([]float32, 3*rows*blocks), make([]float32, rows), make([]float32, len(kept.ids))
	check(d.drv.Download(bytes(hostSums), sums))
	check(d.drv.Download(bytes(target), logits))
	check(d.drv.Download(bytes(picked), kept.values))
	handOver(rows, func(i int) {
		if t.Kept != nil && t.Kept[i] != nil {
			return
		}
		row := make([]logprob.BlockSum, blocks)
		blockSums(row, hostSums[3*i*blocks:])
		top, logSum, _ := logprob.Combine(row)
		lp[i] = logprob.FullFrom(top, logSum, target[i], t.Temperature)
		lse[i] = float64(top) + logSum
	})
	for _, r := range kept.rows {
		if _, ok := slices.BinarySearch(t.Kept[r], t.IDs[r]); !ok {
			panic("cuda: target is not in its kept set: rollouts are validated where they enter")
		}
	}
	handOver(len(kept.rows), func(i int) {
		r, set := kept.rows[i], picked[kept.offsets[i]:kept.offsets[i+1]]
		place, _ := slices.BinarySearch(t.Kept[r], t.IDs[r])
		lp[r] = logprob.Kept(set, place, t.Temperature)
		top, sum := logprob.KeptSum(set, float64(t.Temperature))
		lse[r] = top + rng.Log(sum)
	})
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

// LogprobGrad adds to dh and dw. Rows of coefficient 0 are left out. Kept sets are
// rows of the same products, zero outside of the set.
func (d *Device) LogprobGrad(dh, dw tensor.Buffer, coef []float32, lse []float64, h, w tensor.Buffer, t *tensor.Targets, rows, dim, vocab int) {
	defer d.begin()()
	var live []int32
	for i, c := range coef[:rows] {
		if c != 0 {
			live = append(live, int32(i))
		}
	}
	n := len(live)
	if n == 0 {
		return
	}
	dx := out(dh)
	var x driver.Matrix
	if n == rows {
		x = d.operand(h, n, dim)
	} else {
		hs := d.floats(n * dim)
		dx = d.floats(n * dim)
		d.gather(hs, in(h), live, dim)
		x = d.temporary(hs, n, dim)
		d.drv.Clear(dx, 4*int64(n)*int64(dim))
		t = &tensor.Targets{IDs: pick(t.IDs, live), Kept: pick(t.Kept, live), Temperature: t.Temperature}
	}
	sums := make([]float32, n)
	for i, r := range live {
		sums[i] = float32(lse[r])
	}
	weight := d.weight(w, dim)
	lses, coefs, ids, kept := d.upload(sums), d.upload(pick(coef, live)), d.ints(t.IDs[:n]), d.upKept(keptSets(t, n))
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
		kept.each(r, m, func(k int, rows, offsets driver.Ptr) {
			d.blocks("kept_grad", k, 256, 0, z, half, kept.values, lses, coefs, ids, rows, offsets, kept.at, 1/t.Temperature, i32(r), i32(vocab))
		})
		kept.others(r, m, func(i, k int) {
			at := i - r
			z, half := z+driver.Ptr(4*at*vocab), half
			if half != 0 {
				half += driver.Ptr(2 * at * vocab)
			}
			d.each("vocab_grad", k*vocab, z, half, lses+driver.Ptr(4*i), coefs+driver.Ptr(4*i), ids+driver.Ptr(4*i), 1/t.Temperature, int64(k*vocab), i32(vocab))
		})
		d.mulGradInput(dx+driver.Ptr(4*r*dim), dz, weight, m, vocab, dim, true)
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

// pick returns x's rows; nil for nil.
func pick[T any](x []T, rows []int32) []T {
	if x == nil {
		return nil
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = x[r]
	}
	return out
}
