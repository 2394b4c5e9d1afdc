package cuda

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// IndexLossGrad goes sequence by sequence, chunk of rows by chunk: launches
// follow each other, so the keys of a prefix add up in order.
func (d *Device) IndexLossGrad(loss []float64, dq, dk, dw, q, k, w tensor.Buffer, index tensor.IndexShape, coef float32, mainQ, mainK, lse tensor.Buffer, sh tensor.AttentionShape, seqs *tensor.Seqs, choice tensor.Selection) {
	defer d.begin()()
	rows := seqs.Rows()
	sel, losses := d.selected(choice, rows), d.doubles(rows)
	table, base := batchTable(seqs)
	tab, longest := d.ints(table), 0
	for i, n := range seqs.Len {
		longest = max(longest, seqs.Pos(i)+n)
	}
	H, each := index.Heads, int64(longest)*int64(8+8+4+4*index.Heads)
	chunk := int(max(1, min(int64(rows), d.opts.ChunkBytes/max(1, each))))
	g, dots, p, scores := d.floats(chunk*longest), d.floats(chunk*longest*H), d.doubles(chunk*longest), d.doubles(chunk*longest)
	for i, n := range seqs.Len {
		at, positions := tab+driver.Ptr(4*base[i]), seqs.Pos(i)+n
		for r := 0; r < n; r += chunk {
			m := min(chunk, n-r)
			var list []int32
			for j := r; j < r+m; j++ {
				row, count, from := seqs.Start[i]+j, int32(seqs.Pos(i)+j+1), int32(-1)
				if sel != nil && sel.offsets[row] >= 0 {
					count, from = sel.counts[row], sel.offsets[row]
				}
				list = append(list, int32(row), count, from)
			}
			lossRows := d.ints(list)
			d.drv.Clear(g, 4*int64(m)*int64(longest))
			d.blocks("index_loss_rows", m, 128, 0, losses, out(dq), out(dw), g, dots, p, scores, in(q), in(k), in(w), i32(H), i32(index.Dim), index.Scale, coef,
				in(mainQ), in(mainK), in(lse), i32(sh.Heads), i32(sh.KVHeads), i32(sh.KeyDim), sh.Scale, lossRows, at, sel.at(), i32(longest))
			d.blocks("index_loss_keys", positions, index.Dim, 0, out(dk), g, dots, in(q), in(w), lossRows, at, i32(m), i32(H), i32(index.Dim), i32(longest))
		}
	}
	check(d.drv.Download(bytes(loss[:rows]), losses))
}
