package cpu

import (
	"math"
	"slices"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// selection holds the positions of each row, nil for a row that attends to all.
type selection [][]int32

// Row returns the positions of row i.
func (s selection) Row(i int) []int32 { return s[i] }

func rowsOf(sel tensor.Selection) selection {
	if sel == nil {
		return nil
	}
	return sel.(selection)
}

// indexChunk is how many positions are scored at once.
const indexChunk = 16 * panel

// indexScores sets s[0:pos+1] to the scores of a query, q [Heads, Dim] and w
// [Heads], from blocks of keys [Dim][16]: each product is one chain along Dim,
// heads are added up in order. dots is scratch of Heads*indexChunk.
func indexScores(s, dots, q, w []float32, keys [][]float32, pos int, sh *tensor.IndexShape) {
	n := pad16(pos + 1)
	for c := 0; c < n; c += indexChunk {
		out := s[c:min(n, c+indexChunk)]
		for b := 0; b < len(out); b += panel {
			rowTiles(0, sh.Heads, func(h, m int) {
				tile(m, panel, sh.Dim, q[h*sh.Dim:], sh.Dim, 1, keys[(c+b)/panel], panel, dots[h*indexChunk+b:], indexChunk, false)
			})
		}
		clear(out)
		for h := range sh.Heads {
			rowReluAxpy(out, dots[h*indexChunk:][:len(out)], float32(w[h]*sh.Scale))
		}
	}
}

// orderedBits maps float32 to unsigned numbers of the same order.
func orderedBits(v float32) uint32 {
	b := math.Float32bits(v)
	if b>>31 != 0 {
		return ^b
	}
	return b | 1<<31
}

// topPositions returns the positions of the k largest scores, ascending, ties to
// the lower position; k is less than len(s). The k-th largest is found by its upper
// bits, then among the few that share them, so the time is linear. mem is scratch.
func topPositions(s []float32, k int, mem *[]uint32) []int32 {
	const shift = 21
	if len(*mem) < 2*len(s) {
		*mem = make([]uint32, 2*len(s))
	}
	bits, same := (*mem)[:len(s)], (*mem)[len(s):len(s)]
	var count [1 << (32 - shift)]int32
	for i, v := range s {
		b := orderedBits(v)
		bits[i] = b
		count[b>>shift]++
	}
	left, top := k, len(count)-1 // left: how many of the k have the upper bits top
	for ; int(count[top]) < left; top-- {
		left -= int(count[top])
	}
	for _, b := range bits {
		if b>>shift == uint32(top) {
			same = append(same, b)
		}
	}
	slices.Sort(same)
	kth := same[len(same)-left]
	ties := 0 // of the k-th largest that are in
	for _, b := range same[len(same)-left:] {
		if b != kth {
			break
		}
		ties++
	}
	out := make([]int32, 0, k)
	for i, b := range bits {
		if b < kth {
			continue
		}
		if b == kth {
			if ties == 0 {
				continue
			}
			ties--
		}
		out = append(out, int32(i))
	}
	return out
}

// Select scores and chooses, a row a task.
func (d *Device) Select(q, k, w tensor.Buffer, sh tensor.IndexShape, seqs *tensor.Seqs) tensor.Selection {
	qv, kv, wv := vec(q), vec(k), vec(w)
	sel, mems := make(selection, seqs.Rows()), make([][]uint32, d.pool.threads)
	keys := tensor.AttentionShape{Heads: 1, KVHeads: 1, KeyDim: sh.Dim}
	var g gatherer
	for i, n := range seqs.Len {
		pos := seqs.Pos(i)
		if pos+n <= sh.TopK {
			continue
		}
		g.load(i, 0, kv, nil, &keys, seqs)
		from := max(0, sh.TopK-pos) // rows before it see TopK positions at most
		d.pool.split(n-from, 1, func(thread, lo, hi int) {
			for j := from + lo; j < from+hi; j++ {
				row := seqs.Start[i] + j
				sel[row] = d.choose(thread, &mems[thread], qv, wv, row, g.blocks.k, pos+j, &sh)
			}
		})
	}
	return sel
}

// choose returns the selection of a row at pos, nil if it sees TopK or fewer.
func (d *Device) choose(thread int, bits *[]uint32, q, w []float32, row int, keys [][]float32, pos int, sh *tensor.IndexShape) []int32 {
	if pos < sh.TopK {
		return nil
	}
	n := pad16(pos + 1)
	mem := d.scratch(thread, n+sh.Heads*indexChunk)
	indexScores(mem[:n], mem[n:], q[row*sh.Heads*sh.Dim:], w[row*sh.Heads:], keys, pos, sh)
	return topPositions(mem[:pos+1], sh.TopK, bits)
}

// CacheSelect is Select over cached keys.
func (d *Device) CacheSelect(q, w tensor.Buffer, sh tensor.IndexShape, tc tensor.Cache, layer int, views []tensor.View) tensor.Selection {
	c := tc.(*cache)
	qv, wv := vec(q), vec(w)
	rows := 0
	for _, v := range views {
		rows = max(rows, v.Row+v.Len)
	}
	sel, mems := make(selection, rows), make([][]uint32, d.pool.threads)
	for i := range views {
		view := &views[i]
		if view.Pos+view.Len <= sh.TopK {
			continue
		}
		keys := c.keyBlocks(view, layer)
		d.pool.split(view.Len, 1, func(thread, lo, hi int) {
			for j := lo; j < hi; j++ {
				sel[view.Row+j] = d.choose(thread, &mems[thread], qv, wv, view.Row+j, keys, view.Pos+j, &sh)
			}
		})
	}
	return sel
}

// keyBlocks returns a view's keys of the only head, as [KeyDim][16] blocks.
func (c *cache) keyBlocks(view *tensor.View, layer int) [][]float32 {
	var keys [][]float32
	end := view.Pos + view.Len
	for p := 0; p*panel < end; p++ {
		k, _ := c.head(view.Blocks[p], layer, 0)
		if (p+1)*panel > end { // still rows
			k = append([]float32(nil), k...)
			toPanel(k, append([]float32(nil), k...), c.shape.KeyDim)
		}
		keys = append(keys, k)
	}
	return keys
}
