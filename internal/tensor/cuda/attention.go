package cuda

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// queryTile is how many queries a block of the attention kernels takes; fewer if
// heads are so wide that their sums would not fit 48 KiB of shared memory.
func queryTile(dim int) int { return max(1, min(16, 16*512/dim)) }

// tiles lists the work of an attention kernel, as attention.cu's AttentionTile.
type tiles struct {
	list  []int32 // 6 numbers a tile
	table []int32 // rows of positions, or blocks
}

func (t *tiles) n() int { return len(t.list) / 6 }

// tilesThere is tiles on the device.
type tilesThere struct {
	n           int
	list, table driver.Ptr
}

func (d *Device) upTiles(t *tiles) tilesThere {
	return tilesThere{t.n(), d.ints(t.list), d.ints(t.table)}
}

// add appends the queries of rows rows, per to a row: the first sees `first` keys
// of the table from base on, or the selection at list.
func (t *tiles) add(row, rows, base, first, list, per, most int) {
	for j := 0; j < rows*per; j += most {
		t.list = append(t.list, int32(row), int32(base), int32(first), int32(j), int32(min(most, rows*per-j)), int32(list))
	}
}

// addRows appends rows that see what sel says; nil: everything before them.
func (t *tiles) addRows(row, rows, pos, base int, sel *selection, per, most int) {
	for j := 0; j < rows; {
		if sel != nil && sel.offsets[row+j] >= 0 {
			t.add(row+j, 1, base, int(sel.counts[row+j]), int(sel.offsets[row+j]), per, most)
			j++
			continue
		}
		n := 1
		for j+n < rows && (sel == nil || sel.offsets[row+j+n] < 0) {
			n++
		}
		t.add(row+j, n, base, pos+j+1, -1, per, most)
		j += n
	}
}

// batchTable lists the rows of each sequence's positions, prefixes included, and
// where each sequence's begin.
func batchTable(seqs *tensor.Seqs) (table []int32, base []int) {
	var chain []int
	for i := range seqs.Start {
		base = append(base, len(table))
		chain = seqs.Chain(chain[:0], i)
		for _, c := range chain {
			for r := range seqs.Len[c] {
				table = append(table, int32(seqs.Start[c]+r))
			}
		}
	}
	return table, base
}

// batchTiles lists the queries of a batch.
func batchTiles(seqs *tensor.Seqs, sel *selection, per, most int) *tiles {
	t := &tiles{}
	var base []int
	t.table, base = batchTable(seqs)
	for i, n := range seqs.Len {
		t.addRows(seqs.Start[i], n, seqs.Pos(i), base[i], sel, per, most)
	}
	return t
}

// Kinds of keys and values, as attention.cu has them.
const (
	kindFloat   = 0
	kindRounded = 1
	kindHalf    = 2
)

// kind says how activations are read by attention.
func (d *Device) kind() int32 {
	if d.opts.Float32 {
		return kindFloat
	}
	return kindRounded
}

// tensorCores returns what the names of the kernels with tensor cores end in for
// heads of a shape, "" if there are none.
func (d *Device) tensorCores(sh *tensor.AttentionShape) string {
	if d.opts.Float32 || sh.ValuesInKeys {
		return ""
	}
	return map[[2]int]string{{64, 64}: "_mma_64", {128, 128}: "_mma_128", {192, 128}: "_mma_192_128"}[[2]int{sh.KeyDim, sh.ValueDim}]
}

// forwardTile is how many queries a block of the forward kernel takes.
func (d *Device) forwardTile(sh *tensor.AttentionShape) int {
	if d.tensorCores(sh) != "" {
		return 64
	}
	return queryTile(sh.ValueDim)
}

// attend launches the forward kernel. Batches and caches of one shape take the
// same one, so that they agree.
func (d *Device) attend(o, lse, q, k, v driver.Ptr, sh *tensor.AttentionShape, t tilesThere, sel *selection, shift int, kind int32) {
	if t.n == 0 {
		return
	}
	dims := driver.Dims{Grid: [3]int{t.n, sh.KVHeads}, Block: [3]int{128}}
	per := i32(sh.Heads / sh.KVHeads)
	if end := d.tensorCores(sh); end != "" {
		d.drv.Launch("attention"+end, dims, o, lse, q, k, v, t.list, t.table, sel.at(), per, sh.Scale, i32(shift), kind)
		return
	}
	width := sh.ValueDim
	if sh.ValuesInKeys {
		width = sh.KeyDim
	}
	dims.Shared = 4 * queryTile(sh.ValueDim) * sh.ValueDim
	d.drv.Launch("attention", dims, o, lse, q, k, v, t.list, t.table, sel.at(), per, i32(sh.KeyDim), i32(sh.ValueDim), i32(width), sh.Scale, i32(shift), kind)
}

// Attention runs over the sequences of a batch.
func (d *Device) Attention(o, lse, q, k, v tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs) {
	d.SparseAttention(o, lse, q, k, v, sh, seqs, nil)
}

// SparseAttention runs over the selected positions.
func (d *Device) SparseAttention(o, lse, q, k, v tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs, choice tensor.Selection) {
	defer d.begin()()
	sel := d.selected(choice, seqs.Rows())
	t := batchTiles(seqs, sel, sh.Heads/sh.KVHeads, d.forwardTile(&sh))
	d.attend(out(o), out(lse), in(q), in(k), in(v), &sh, d.upTiles(t), sel, 0, d.kind())
}

// AttentionGrad adds to dq, dk and dv.
func (d *Device) AttentionGrad(dq, dk, dv, do, o, lse, q, k, v tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs) {
	d.SparseAttentionGrad(dq, dk, dv, do, o, lse, q, k, v, sh, seqs, nil)
}

// keyTiles lists the keys of a batch and their readers, as attention_grad.cu's
// KeyTile and KeyReader: those of a sequence are itself and what continues it,
// in order.
func keyTiles(seqs *tensor.Seqs, keyTile int) (tiles, readers []int32) {
	reads := make([][]int, len(seqs.Start)) // of each sequence's keys
	var chain []int
	for i := range seqs.Start {
		chain = seqs.Chain(chain[:0], i)
		for _, c := range chain {
			reads[c] = append(reads[c], i)
		}
	}
	for c, n := range seqs.Len {
		from := len(readers) / 3
		for _, i := range reads[c] {
			readers = append(readers, int32(seqs.Start[i]), int32(seqs.Len[i]), int32(seqs.Pos(i)))
		}
		for j := 0; j < n; j += keyTile {
			tiles = append(tiles, int32(seqs.Start[c]+j), int32(seqs.Pos(c)+j), int32(min(keyTile, n-j)), int32(from), int32(len(readers)/3))
		}
	}
	return tiles, readers
}

// SparseAttentionGrad adds to dq, dk and dv.
func (d *Device) SparseAttentionGrad(dq, dk, dv, do, o, lse, q, k, v tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs, choice tensor.Selection) {
	defer d.begin()()
	sel, rows := d.selected(choice, seqs.Rows()), seqs.Rows()
	if rows == 0 {
		return
	}
	n, per := rows*sh.Heads, i32(sh.Heads/sh.KVHeads)
	delta := d.floats(n)
	d.drv.Launch("attention_delta", driver.Dims{Grid: [3]int{(n + 7) / 8}, Block: [3]int{256}}, delta, in(do), in(o), i32(sh.ValueDim), i32(n))

	bits, words := d.selectionBits(sel, seqs)
	if end := d.tensorCores(&sh); end != "" {
		t, dims := batchTiles(seqs, sel, int(per), 64), driver.Dims{Block: [3]int{128}}
		dims.Grid = [3]int{t.n(), sh.KVHeads}
		d.drv.Launch("attention_grad_q"+end, dims, out(dq), in(do), in(lse), delta, in(q), in(k), in(v), d.ints(t.list), d.ints(t.table), sel.at(), per, sh.Scale)

		keys, readers := keyTiles(seqs, 32)
		dims = driver.Dims{Grid: [3]int{len(keys) / 5, sh.KVHeads}, Block: [3]int{64}}
		d.drv.Launch("attention_grad_kv"+end, dims, out(dk), out(dv), in(do), in(lse), delta, in(q), in(k), in(v), d.ints(keys), d.ints(readers), bits, i32(words), per, sh.Scale)
		return
	}
	const keyTile = 16
	t := batchTiles(seqs, sel, int(per), queryTile(sh.KeyDim))
	dims := driver.Dims{Grid: [3]int{t.n(), sh.KVHeads}, Block: [3]int{128}, Shared: 4 * queryTile(sh.KeyDim) * sh.KeyDim}
	d.drv.Launch("attention_grad_q", dims, out(dq), in(do), in(lse), delta, in(q), in(k), in(v), d.ints(t.list), d.ints(t.table), sel.at(), per, i32(sh.KeyDim), i32(sh.ValueDim), sh.Scale, d.kind())

	keys, readers := keyTiles(seqs, keyTile)
	dims = driver.Dims{Grid: [3]int{len(keys) / 5, sh.KVHeads}, Block: [3]int{128}, Shared: 4 * keyTile * (sh.KeyDim + sh.ValueDim)}
	d.drv.Launch("attention_grad_kv", dims, out(dk), out(dv), in(do), in(lse), delta, in(q), in(k), in(v), d.ints(keys), d.ints(readers), bits, i32(words), per, i32(sh.KeyDim), i32(sh.ValueDim), sh.Scale, d.kind())
}
