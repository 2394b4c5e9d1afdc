package cuda

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// kept is the kept sets of a batch one after the other: those of rows[b] are
// ids[offsets[b]:offsets[b+1]].
type kept struct {
	rows, offsets, ids []int32
}

// keptSets lists the sets of the rows that have one.
func keptSets(t *tensor.Targets, rows int) *kept {
	k := &kept{offsets: []int32{0}}
	if t.Kept == nil {
		return k
	}
	for i, ids := range t.Kept[:rows] {
		if ids != nil {
			k.rows, k.ids = append(k.rows, int32(i)), append(k.ids, ids...)
			k.offsets = append(k.offsets, int32(len(k.ids)))
		}
	}
	return k
}

// keptThere is kept on the device, with room for a number for each id.
type keptThere struct {
	*kept
	rowsAt, offsetsAt, at driver.Ptr
	values                driver.Ptr
}

func (d *Device) upKept(k *kept) *keptThere {
	return &keptThere{kept: k, rowsAt: d.ints(k.rows), offsetsAt: d.ints(k.offsets), at: d.ints(k.ids), values: d.floats(len(k.ids))}
}

// span returns which sets belong to rows from..from+n-1.
func (k *keptThere) span(from, n int) (lo, hi int) {
	for lo < len(k.rows) && int(k.rows[lo]) < from {
		lo++
	}
	for hi = lo; hi < len(k.rows) && int(k.rows[hi]) < from+n; {
		hi++
	}
	return lo, hi
}

// each calls fn with the lists of the rows from..from+n-1 that have a set, if any.
func (k *keptThere) each(from, n int, fn func(sets int, rows, offsets driver.Ptr)) {
	if lo, hi := k.span(from, n); hi > lo {
		fn(hi-lo, k.rowsAt+driver.Ptr(4*lo), k.offsetsAt+driver.Ptr(4*lo))
	}
}

// others calls fn for each stretch of the rows from..from+n-1 without a set.
func (k *keptThere) others(from, n int, fn func(i, n int)) {
	lo, hi := k.span(from, n)
	at := from
	for _, r := range append(k.rows[lo:hi:hi], int32(from+n)) {
		if m := int(r) - at; m > 0 {
			fn(at, m)
		}
		at = int(r) + 1
	}
}
