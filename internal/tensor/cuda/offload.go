package cuda

import (
	"slices"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Moments in the host's memory pass through the device a part at a time, in pieces of
// memory that two parts use in turn: one is on its way back while the next is fetched and
// used, as a GPU copies in both directions at once. A part's numbers are computed as if it
// lay on the device, by the same kernels.
type offload struct {
	arena  *arena           // of the host's memory
	pieces [2][2]driver.Ptr // by turn; both moments
	turn   int
	sent   [2]int   // Stores of each turn's last part
	last   []uint64 // memories that the last operation stored to
}

// NewOffloaded returns n zeros in the host's memory.
func (d *Device) NewOffloaded(n int, bf16 bool) tensor.Buffer {
	defer d.begin()()
	d.memories++
	m := &memory{id: d.memories, cap: n, bf16: bf16, host: true}
	b := &buffer{memory: m, n: n}
	at, cleanup := takeFor(d, d.away.arena, m, int64(n*b.size()))
	m.at, m.owned = at, append(m.owned, cleanup)
	d.pass(stored, func(at []driver.Ptr, _, n int) { d.drv.Clear(at[0], int64(n*b.size())) }, b)
	return b
}

// direction says which way a part of offloaded memory goes.
type direction int

const (
	fetched direction = 1 << iota // to the device before it is used
	stored                        // and back afterwards
)

// pass calls use with every part of buffers of one length and type in the host's memory,
// and where each lies on the device meanwhile: elements from..from+n-1, from a multiple
// of 128.
func (d *Device) pass(way direction, use func(at []driver.Ptr, from, n int), all ...*buffer) {
	o, size := &d.away, all[0].size()
	most := int(d.opts.OffloadBytes) / size / 128 * 128
	if slices.ContainsFunc(all, func(b *buffer) bool { return slices.Contains(o.last, b.id) }) {
		d.drv.Settle(0)
	}
	for from := 0; from < all[0].n; from += most {
		n := min(most, all[0].n-from)
		o.turn = 1 - o.turn
		d.drv.Settle(o.sent[1-o.turn])
		o.sent[o.turn] = 0
		at := o.pieces[o.turn][:len(all)]
		for i, b := range all {
			if at[i] == 0 {
				at[i] = d.take(d.arena, d.opts.OffloadBytes)
			}
			if way&fetched != 0 {
				d.drv.Fetch(at[i], b.part(from), int64(n*size))
			}
		}
		use(at, from, n)
		if way&stored != 0 {
			for i, b := range all {
				d.drv.Store(b.part(from), at[i], int64(n*size))
			}
			o.sent[o.turn] = len(all)
		}
	}
	if way&stored != 0 {
		o.last = o.last[:0]
		for _, b := range all {
			o.last = append(o.last, b.id)
		}
	}
}

// part is where element i of b lies in the host's memory.
func (b *buffer) part(i int) driver.Ptr { return b.at + driver.Ptr((b.from+i)*b.size()) }

// withMoments calls update with where moments lie on the device: all of them, or, of
// those in the host's memory, elements from..from+n-1 at a time.
func (d *Device) withMoments(m, v tensor.Buffer, update func(m, v driver.Ptr, from, n int)) {
	first, second := m.(*buffer), v.(*buffer)
	if !first.host {
		update(out(m), out(v), 0, m.Len())
		return
	}
	d.pass(fetched|stored, func(at []driver.Ptr, from, n int) { update(at[0], at[1], from, n) }, first, second)
}
