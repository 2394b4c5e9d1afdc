package cuda

import (
	"weak"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Embed looks rows up.
func (d *Device) Embed(y, w tensor.Buffer, ids []int32, dim int) {
	if !w.(*buffer).bf16 {
		d.Gather(y, w, ids, dim)
		return
	}
	defer d.begin()()
	n := len(ids) * dim
	d.each("gather_rows_bf16", n, out(y), in(w), d.ints(ids), int64(n), i32(dim))
}

// EmbedGrad adds to the looked-up rows, in the order of ids.
func (d *Device) EmbedGrad(dw, dy tensor.Buffer, ids []int32, dim int) {
	d.GatherGrad(dw, dy, ids, dim)
}

// Gather copies rows.
func (d *Device) Gather(y, x tensor.Buffer, rows []int32, dim int) {
	defer d.begin()()
	d.gather(out(y), in(x), rows, dim)
}

func (d *Device) gather(y, x driver.Ptr, rows []int32, dim int) {
	n := len(rows) * dim
	d.each("gather_rows", n, y, x, d.ints(rows), int64(n), i32(dim))
}

// GatherGrad adds rows back, in order.
func (d *Device) GatherGrad(dx, dy tensor.Buffer, rows []int32, dim int) {
	defer d.begin()()
	source := make([]int32, len(rows))
	for i := range source {
		source[i] = int32(i)
	}
	d.scatter(out(dx), in(dy), rows, source, nil, dim)
}

// scatter adds scale[i] y[source[i]] to x[target[i]], for each target in order of
// i; scale may be nil.
func (d *Device) scatter(x, y driver.Ptr, target, source []int32, scale []float32, dim int) {
	if len(target) == 0 {
		return
	}
	targets, offsets, order := groups(target)
	sorted := make([]int32, len(order))
	var scales driver.Ptr
	if scale != nil {
		s := make([]float32, len(order))
		for j, i := range order {
			s[j] = scale[i]
		}
		scales = d.upload(s)
	}
	for j, i := range order {
		sorted[j] = source[i]
	}
	d.blocks("scatter_rows", len(targets), dim, 0, x, y, d.ints(targets), d.ints(offsets), d.ints(sorted), scales, i32(dim))
}

// groups sorts the indices of keys by key, stably: keys are the different ones in
// the order in which they first came, and those of keys[b] are at
// order[offsets[b]:offsets[b+1]], ascending.
func groups(keys []int32) (different, offsets, order []int32) {
	place := make(map[int32]int, len(keys))
	var counts []int32
	for _, k := range keys {
		b, ok := place[k]
		if !ok {
			b = len(different)
			place[k] = b
			different, counts = append(different, k), append(counts, 0)
		}
		counts[b]++
	}
	offsets = make([]int32, len(different)+1)
	for b, n := range counts {
		offsets[b+1] = offsets[b] + n
	}
	next := append([]int32(nil), offsets...)
	order = make([]int32, len(keys))
	for i, k := range keys {
		b := place[k]
		order[next[b]] = int32(i)
		next[b]++
	}
	return different, offsets, order
}

// CopyHeads copies columns of heads.
func (d *Device) CopyHeads(y, x tensor.Buffer, to, from tensor.HeadBlock, n, rows int) {
	defer d.begin()()
	all := rows * to.Heads * n
	d.each("copy_heads", all, out(y), in(x), i32(to.Heads), i32(to.Width), i32(to.Offset), i32(from.Heads), i32(from.Width), i32(from.Offset), i32(n), int64(all))
}

// CopyHeadsGrad adds them back.
func (d *Device) CopyHeadsGrad(dx, dy tensor.Buffer, to, from tensor.HeadBlock, n, rows int) {
	defer d.begin()()
	all := rows * from.Heads * n
	d.each("copy_heads_grad", all, out(dx), in(dy), i32(to.Heads), i32(to.Width), i32(to.Offset), i32(from.Heads), i32(from.Width), i32(from.Offset), i32(n), int64(all))
}

// ropeTable is a table's copy on the device.
type ropeTable struct {
	n        int // numbers
	cos, sin driver.Ptr
}

// Rope rotates heads in place.
func (d *Device) Rope(x tensor.Buffer, t *tensor.RopeTable, pos []int32, rows, heads, headDim int, inverse bool) {
	defer d.begin()()
	c := d.ropeTable(t, pos)
	if d.recording != nil {
		d.recording.refer(t, c)
	}
	sign := float32(1)
	if inverse {
		sign = -1
	}
	half := t.Dim / 2
	n := rows * heads * half
	d.each("rotate_heads", n, out(x), c.cos, c.sin, d.ints(pos), i32(heads), i32(headDim), i32(t.Offset), i32(half), truth(t.Interleaved), sign, int64(n))
}

// ropeTable returns a table that has all positions: another one if it had to grow.
func (d *Device) ropeTable(t *tensor.RopeTable, pos []int32) *ropeTable {
	last := int32(0)
	for _, p := range pos {
		last = max(last, p)
	}
	t.Extend(int(last) + 1)
	key := weak.Make(t)
	c := d.ropes[key]
	if c != nil && c.n >= len(t.Cos) {
		return c
	}
	for k, old := range d.ropes { // this one, and those of models that are gone
		if k == key || k.Value() == nil {
			d.arena.free(old.cos)
			d.arena.free(old.sin)
			delete(d.ropes, k)
		}
	}
	c = &ropeTable{len(t.Cos), d.take(d.arena, 4*int64(len(t.Cos))), d.take(d.arena, 4*int64(len(t.Sin)))}
	d.ropes[key] = c
	d.drv.Upload(c.cos, bytes(t.Cos))
	d.drv.Upload(c.sin, bytes(t.Sin))
	return c
}
