package cpu

import "github.com/grouse-rl/grouse/internal/tensor"

// cache keeps each block in one allocation, made when it is first written:
// [layers][kv heads]{keys, values [16][padded ValueDim]}, without values if they
// are part of the keys. The keys of a block
// are rows [16][KeyDim] while it fills, so that a token is one contiguous write,
// and [KeyDim][16], as scores want them, once it is full.
type cache struct {
	shape  tensor.AttentionShape
	layers int
	blocks [][]float32
}

// NewCache returns an empty cache; memory is taken as blocks are used.
func (d *Device) NewCache(shape tensor.AttentionShape, layers, blocks int) tensor.Cache {
	return &cache{shape: shape, layers: layers, blocks: make([][]float32, blocks)}
}

func (c *cache) headLen() int {
	if c.shape.ValuesInKeys {
		return panel * c.shape.KeyDim
	}
	return panel * (c.shape.KeyDim + pad16(c.shape.ValueDim))
}

func (c *cache) block(b int32) []float32 {
	if c.blocks[b] == nil {
		c.blocks[b] = make([]float32, c.layers*c.shape.KVHeads*c.headLen())
	}
	return c.blocks[b]
}

// head returns the keys and values of one head of a layer.
func (c *cache) head(b int32, layer, kh int) (k, v []float32) {
	n := c.headLen()
	h := c.block(b)[(layer*c.shape.KVHeads+kh)*n:][:n]
	return h[:panel*c.shape.KeyDim], h[panel*c.shape.KeyDim:]
}

// CopyBlock copies all layers of a block.
func (c *cache) CopyBlock(dst, src int32) { copy(c.block(dst), c.block(src)) }

// CacheWrite stores rows of keys and values.
func (d *Device) CacheWrite(tc tensor.Cache, layer int, k, v tensor.Buffer, slots []tensor.Slot) {
	c := tc.(*cache)
	sh := &c.shape
	kv, vv := vec(k), vec(v)
	for _, s := range slots { // blocks are made here, not by several threads at once
		c.block(s.Block)
	}
	vd := pad16(sh.ValueDim)
	grain := rowGrain(4 * sh.KVHeads * (sh.KeyDim + sh.ValueDim))
	d.pool.split(len(slots), grain, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			at := int(slots[r].Offset)
			for h := range sh.KVHeads {
				kb, vb := c.head(slots[r].Block, layer, h)
				copy(kb[at*sh.KeyDim:(at+1)*sh.KeyDim], kv[(r*sh.KVHeads+h)*sh.KeyDim:])
				if vv != nil {
					copyPad(vb[at*vd:(at+1)*vd], vv[(r*sh.KVHeads+h)*sh.ValueDim:][:sh.ValueDim])
				}
			}
		}
	})
	full := make([]tensor.Slot, 0, len(slots)/panel+1)
	for _, s := range slots {
		if s.Offset == panel-1 {
			full = append(full, s)
		}
	}
	d.pool.split(len(full), 1, func(thread, lo, hi int) {
		rows := d.scratch(thread, panel*sh.KeyDim)
		for _, s := range full[lo:hi] {
			for h := range sh.KVHeads { // full now
				kb, _ := c.head(s.Block, layer, h)
				copy(rows, kb)
				toPanel(kb, rows, sh.KeyDim)
			}
		}
	})
}

// cachedThread is a thread's memory for CacheAttend, kept between calls: an engine
// asks in each layer at every token.
type cachedThread struct {
	blocks kvBlocks
	picker picker
	values []float32
	tail   []float32 // keys of a block that is not full
}

// CacheAttend runs queries over cached keys. A single query takes all heads
// that share a key-value head as the rows of one tile.
func (d *Device) CacheAttend(o, q tensor.Buffer, tc tensor.Cache, layer int, views []tensor.View, choice tensor.Selection) {
	sel := rowsOf(choice)
	c := tc.(*cache)
	sh := &c.shape
	ov, qv := vec(o), vec(q)
	per := sh.Heads / sh.KVHeads
	tasks := len(views) * sh.KVHeads
	grain := 1
	if len(views) > 0 && views[0].Len == 1 {
		grain = max(1, 4096/((views[0].Pos+1)*per*sh.KeyDim))
	}
	d.pool.split(tasks, grain, func(thread, lo, hi int) {
		t := &d.cached[thread]
		b := &t.blocks
		var last [tileM]int
		for task := lo; task < hi; task++ {
			view, kh := &views[task/sh.KVHeads], task%sh.KVHeads
			s := d.scratch(thread, tileM*pad16(view.Pos+view.Len))
			dense := view.Len
			if sel != nil {
				dense = denseRows(sel, view.Row, view.Len)
			}
			for j := dense; j < view.Len; j++ {
				row := view.Row + j
				t.picker.pickCached(c, view, layer, kh, sel[row])
				rowTiles(kh*per, (kh+1)*per, func(h, m int) {
					for r := range m {
						last[r] = len(sel[row]) - 1
					}
					at := row*sh.Heads + h
					attendTile(ov[at*sh.ValueDim:], sh.ValueDim, qv[at*sh.KeyDim:], sh.KeyDim, last[:m], &t.picker.blocks, sh, s, nil, 0)
				})
			}
			if dense == 0 {
				continue
			}
			b.k, b.v = b.k[:0], b.v[:0]
			for p := 0; p*panel < view.Pos+view.Len; p++ {
				k, v := c.head(view.Blocks[p], layer, kh)
				b.k, b.v = append(b.k, k), append(b.v, v)
			}
			if n := len(b.k); (view.Pos+view.Len)%panel != 0 { // the last block is still rows
				tail := grow(&t.tail, panel*sh.KeyDim)
				toPanel(tail, b.k[n-1], sh.KeyDim)
				b.k[n-1] = tail
			}
			if sh.ValuesInKeys {
				b.v = valuesOf(b.k, &t.values, sh)
			}
			if view.Len == 1 {
				row := view.Row*sh.Heads + kh*per
				rowTiles(0, per, func(h, m int) {
					for r := range m {
						last[r] = view.Pos
					}
					attendTile(ov[(row+h)*sh.ValueDim:], sh.ValueDim, qv[(row+h)*sh.KeyDim:], sh.KeyDim, last[:m], b, sh, s, nil, 0)
				})
				continue
			}
			for h := kh * per; h < (kh+1)*per; h++ {
				rowTiles(0, dense, func(j, m int) {
					for r := range m {
						last[r] = view.Pos + j + r
					}
					row := (view.Row+j)*sh.Heads + h
					attendTile(ov[row*sh.ValueDim:], sh.Heads*sh.ValueDim, qv[row*sh.KeyDim:], sh.Heads*sh.KeyDim, last[:m], b, sh, s, nil, 0)
				})
			}
		}
	})
}

// valuesOf returns the values of blocks whose keys they are part of.
func valuesOf(keys [][]float32, mem *[]float32, sh *tensor.AttentionShape) [][]float32 {
	vd := pad16(sh.ValueDim)
	all := grow(mem, len(keys)*panel*vd)
	out := make([][]float32, len(keys))
	for b, k := range keys {
		v := all[b*panel*vd : (b+1)*panel*vd]
		c := 0
		if avx2 {
			for ; c+8 <= sh.ValueDim; c += 8 {
				transpose8AVX2(&v[c], vd, &k[c*panel], panel)
				transpose8AVX2(&v[8*vd+c], vd, &k[c*panel+8], panel)
			}
		}
		for ; c < sh.ValueDim; c++ {
			for i := range panel {
				v[i*vd+c] = k[c*panel+i]
			}
		}
		out[b] = v
	}
	return out
}

// pickCached gathers selected positions of a view.
func (g *picker) pickCached(c *cache, view *tensor.View, layer, kh int, sel []int32) {
	sh := &c.shape
	kd, vd := sh.KeyDim, pad16(sh.ValueDim)
	full := (view.Pos + view.Len) / panel // blocks that are no longer rows
	key := func(dst []float32, s int) {
		k, _ := c.head(view.Blocks[s/panel], layer, kh)
		at := s % panel
		if s/panel >= full {
			copy(dst, k[at*kd:(at+1)*kd])
			return
		}
		for j := range dst {
			dst[j] = k[j*panel+at]
		}
	}
	g.pick(sel, sh, key, func(dst []float32, s int) {
		if sh.ValuesInKeys {
			key(dst[:sh.ValueDim], s)
			return
		}
		_, v := c.head(view.Blocks[s/panel], layer, kh)
		copy(dst, v[s%panel*vd:])
	})
}
