package cuda

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// cache holds keys and values apart, [layers][blocks][16][kv heads * width], in
// bfloat16 unless the device is float32. It has no values if they are part of the
// keys.
type cache struct {
	d            *Device
	shape        tensor.AttentionShape
	layers       int
	blocks       int
	keys, values driver.Ptr
	size         int64 // bytes of a number
}

func (c *cache) keyBlock() int64 {
	return tensor.BlockTokens * int64(c.shape.KVHeads*c.shape.KeyDim) * c.size
}
func (c *cache) valueBlock() int64 {
	return tensor.BlockTokens * int64(c.shape.KVHeads*c.shape.ValueDim) * c.size
}

func (c *cache) layer(l int) (keys, values driver.Ptr) {
	at := int64(l) * int64(c.blocks)
	keys = c.keys + driver.Ptr(at*c.keyBlock())
	if c.shape.ValuesInKeys {
		return keys, keys
	}
	if c.values != 0 {
		values = c.values + driver.Ptr(at*c.valueBlock())
	}
	return keys, values
}

// NewCache takes the whole cache's memory; the garbage collector frees it.
func (d *Device) NewCache(shape tensor.AttentionShape, layers, blocks int) tensor.Cache {
	defer d.begin()()
	c := &cache{d: d, shape: shape, layers: layers, blocks: blocks, size: 2}
	if d.opts.Float32 {
		c.size = 4
	}
	n := int64(layers) * int64(blocks)
	c.keys, _ = takeFor(d, d.arena, c, n*c.keyBlock())
	if shape.ValueDim > 0 && !shape.ValuesInKeys {
		c.values, _ = takeFor(d, d.arena, c, n*c.valueBlock())
	}
	return c
}

// CopyBlock copies a block in all layers.
func (c *cache) CopyBlock(dst, src int32) {
	defer c.d.begin()()
	for l := range c.layers {
		k, v := c.layer(l)
		n := c.keyBlock()
		c.d.drv.Copy(k+driver.Ptr(int64(dst)*n), k+driver.Ptr(int64(src)*n), n)
		if c.values != 0 {
			n = c.valueBlock()
			c.d.drv.Copy(v+driver.Ptr(int64(dst)*n), v+driver.Ptr(int64(src)*n), n)
		}
	}
}

// kind says how its numbers are read.
func (c *cache) kind() int32 {
	if c.size == 2 {
		return kindHalf
	}
	return kindFloat
}

// CacheWrite stores rows of keys and values.
func (d *Device) CacheWrite(tc tensor.Cache, layer int, k, v tensor.Buffer, slots []tensor.Slot) {
	defer d.begin()()
	c := tc.(*cache)
	n, rows, kernel := len(slots), d.slots(slots), "cache_write"
	if c.size == 2 {
		kernel = "cache_write_bf16"
	}
	keys, values := c.layer(layer)
	width := c.shape.KVHeads * c.shape.KeyDim
	d.each(kernel, n*width, keys, in(k), rows, int64(n*width), i32(width))
	if v != nil && c.values != 0 {
		width = c.shape.KVHeads * c.shape.ValueDim
		d.each(kernel, n*width, values, in(v), rows, int64(n*width), i32(width))
	}
}

// slots uploads where slots lie.
func (d *Device) slots(slots []tensor.Slot) driver.Ptr {
	if d.recording != nil {
		return d.recording.slots(slots)
	}
	return d.ints(slotRows(slots))
}

// slotRows lists the rows of a cache's layer.
func slotRows(slots []tensor.Slot) []int32 {
	rows := make([]int32, len(slots))
	for i, s := range slots {
		rows[i] = s.Block*tensor.BlockTokens + s.Offset
	}
	return rows
}

// blockShift is log2 of BlockTokens.
const blockShift = 4

// CacheAttend is Attention over cached keys and values.
func (d *Device) CacheAttend(o, q tensor.Buffer, tc tensor.Cache, layer int, views []tensor.View, choice tensor.Selection) {
	defer d.begin()()
	c := tc.(*cache)
	keys, values := c.layer(layer)
	per, most := c.shape.Heads/c.shape.KVHeads, d.forwardTile(&c.shape)
	if d.recording != nil {
		d.recording.refuse(choice != nil, "a selection")
		d.attend(out(o), 0, in(q), keys, values, &c.shape, d.recording.tiles(views, per, most), nil, blockShift, c.kind())
		return
	}
	rows := 0
	for _, v := range views {
		rows = max(rows, v.Row+v.Len)
	}
	sel := d.selected(choice, rows)
	d.attend(out(o), 0, in(q), keys, values, &c.shape, d.upTiles(viewTiles(views, sel, per, most)), sel, blockShift, c.kind())
}

// viewTiles lists the queries of views of a cache.
func viewTiles(views []tensor.View, sel *selection, per, most int) *tiles {
	t := &tiles{}
	for _, v := range views {
		base := len(t.table)
		t.table = append(t.table, v.Blocks...)
		t.addRows(v.Row, v.Len, v.Pos, base, sel, per, most)
	}
	return t
}

// CacheSelect is Select over cached keys.
func (d *Device) CacheSelect(q, w tensor.Buffer, sh tensor.IndexShape, tc tensor.Cache, layer int, views []tensor.View) tensor.Selection {
	defer d.begin()()
	c, rows := tc.(*cache), 0
	for _, v := range views {
		rows = max(rows, v.Row+v.Len)
	}
	s := newSelects(rows)
	var table []int32
	for _, v := range views {
		s.add(v.Row, v.Len, v.Pos, len(table), sh.TopK)
		table = append(table, v.Blocks...)
	}
	keys, _ := c.layer(layer)
	return d.choose(s, in(q), keys, in(w), &sh, table, blockShift, c.kind())
}
