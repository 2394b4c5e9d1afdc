package cuda

import (
	"slices"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// selection is a list of positions on the device; the host knows only which rows
// have one.
type selection struct {
	d       *Device
	list    driver.Ptr
	n       int
	offsets []int32 // of each row's positions in list, -1: it attends to everything
	counts  []int32
	host    []int32 // list, when somebody has asked
}

func (s *selection) at() driver.Ptr {
	if s == nil {
		return 0
	}
	return s.list
}

// Row returns the positions of row i.
func (s *selection) Row(i int) []int32 {
	if s.offsets[i] < 0 {
		return nil
	}
	if s.host == nil {
		defer s.d.begin()()
		s.host = make([]int32, s.n)
		check(s.d.drv.Download(bytes(s.host), s.list))
	}
	return slices.Clone(s.host[s.offsets[i]:][:s.counts[i]])
}

// newSelection makes room for n positions; the garbage collector frees it.
func (d *Device) newSelection(n int, offsets, counts []int32) *selection {
	s := &selection{d: d, n: n, offsets: offsets, counts: counts}
	s.list, _ = takeFor(d, d.arena, s, 4*int64(n))
	return s
}

// selected returns a choice as this device has it, nil for nil. Another's is copied.
func (d *Device) selected(choice tensor.Selection, rows int) *selection {
	if choice == nil {
		return nil
	}
	if s, ok := choice.(*selection); ok {
		return s
	}
	var all []int32
	offsets, counts := make([]int32, rows), make([]int32, rows)
	for i := range rows {
		offsets[i] = -1
		if r := choice.Row(i); r != nil {
			offsets[i], counts[i] = int32(len(all)), int32(len(r))
			all = append(all, r...)
		}
	}
	s := d.newSelection(len(all), offsets, counts)
	d.drv.Upload(s.list, bytes(all))
	return s
}

// selectionBits returns which positions each row reads, words of 32 a row; 0 if
// every row reads everything.
func (d *Device) selectionBits(sel *selection, seqs *tensor.Seqs) (bits driver.Ptr, words int) {
	if sel == nil || !slices.ContainsFunc(sel.offsets, func(o int32) bool { return o >= 0 }) {
		return 0, 0
	}
	for i, n := range seqs.Len {
		words = max(words, (seqs.Pos(i)+n+31)/32)
	}
	rows := seqs.Rows()
	bits = d.tmp.get(d, 4*int64(rows)*int64(words))
	d.blocks("selection_bits", rows, 128, 0, bits, sel.list, d.ints(sel.offsets[:rows]), d.ints(sel.counts[:rows]), i32(words))
	return bits, words
}

// selects lists the rows that select, as select.cu's SelectRow.
type selects struct {
	list    []int32 // 4 numbers a row
	most    int     // positions that one sees
	offsets []int32
	counts  []int32
}

func newSelects(rows int) *selects {
	s := &selects{offsets: make([]int32, rows), counts: make([]int32, rows)}
	for i := range s.offsets {
		s.offsets[i] = -1
	}
	return s
}

// add appends the rows that see more than k positions; the first is at pos.
func (s *selects) add(row, rows, pos, base, k int) {
	for j := max(0, k-pos); j < rows; j++ {
		n := len(s.list) / 4
		s.offsets[row+j], s.counts[row+j] = int32(n*k), int32(k)
		s.list = append(s.list, int32(row+j), int32(base), int32(pos+j+1), int32(n*k))
		s.most = max(s.most, pos+j+1)
	}
}

// choose scores and selects, as many rows at a time as ChunkBytes allows.
func (d *Device) choose(s *selects, q, k, w driver.Ptr, sh *tensor.IndexShape, table []int32, shift int, kind int32) tensor.Selection {
	n := len(s.list) / 4
	sel := d.newSelection(n*sh.TopK, s.offsets, s.counts)
	if n == 0 {
		return sel
	}
	chunk := int(max(1, min(int64(n), 65535, d.opts.ChunkBytes/(4*int64(s.most)))))
	scores, tab := d.floats(chunk*s.most), d.ints(table)
	for r := 0; r < n; r += chunk {
		m := min(chunk, n-r)
		rows := d.ints(s.list[4*r : 4*(r+m)])
		dims := driver.Dims{Grid: [3]int{(s.most + 127) / 128, m}, Block: [3]int{128}, Shared: 4 * sh.Heads * (sh.Dim + 1)}
		d.drv.Launch("index_scores", dims, scores, q, k, w, rows, tab, i32(sh.Heads), i32(sh.Dim), sh.Scale, i32(shift), kind, i32(s.most))
		d.drv.Launch("select_top", driver.Dims{Grid: [3]int{m}, Block: [3]int{256}}, sel.list, scores, rows, i32(sh.TopK), i32(s.most))
	}
	return sel
}

// Select runs an indexer over the sequences of a batch.
func (d *Device) Select(q, k, w tensor.Buffer, sh tensor.IndexShape, seqs *tensor.Seqs) tensor.Selection {
	defer d.begin()()
	table, base := batchTable(seqs)
	s := newSelects(seqs.Rows())
	for i, n := range seqs.Len {
		s.add(seqs.Start[i], n, seqs.Pos(i), base[i], sh.TopK)
	}
	return d.choose(s, in(q), in(k), in(w), &sh, table, 0, d.kind())
}
