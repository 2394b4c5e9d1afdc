package cuda

import (
	"fmt"
	"slices"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// align is what addresses are multiples of.
const align = 256

func aligned(n int64) int64 { return max(align, (n+align-1)/align*align) }

// arena hands out pieces of slabs: of the free pieces that are large enough the
// smallest, the lowest of equals. Free neighbours are joined. What it does
// depends on the sequence of calls only.
type arena struct {
	slab      int64
	alloc     func(int64) (driver.Ptr, error)
	release   func(driver.Ptr)
	slabs     []slab
	sizes     map[driver.Ptr]int64 // of pieces in use
	inUse     int64
	highWater int64
}

type slab struct {
	base driver.Ptr
	size int64
	free []piece // ascending, no two touch
}

type piece struct {
	at   driver.Ptr
	size int64
}

func newArena(slabBytes int64, alloc func(int64) (driver.Ptr, error), release func(driver.Ptr)) *arena {
	return &arena{slab: slabBytes, alloc: alloc, release: release, sizes: map[driver.Ptr]int64{}}
}

// get returns a piece of at least n bytes.
func (a *arena) get(n int64) (driver.Ptr, error) {
	n = aligned(n)
	s, i := a.find(n)
	if s == nil {
		size := max(n, a.slab)
		base, err := a.alloc(size)
		if err != nil && size > n { // a slab may not fit where a piece does
			size = n
			base, err = a.alloc(size)
		}
		if err != nil {
			return 0, fmt.Errorf("%d bytes for a buffer, with %d in use (%d at most so far): %w", n, a.inUse, a.highWater, err)
		}
		a.slabs = append(a.slabs, slab{base, size, []piece{{base, size}}})
		s, i = &a.slabs[len(a.slabs)-1], 0
	}
	p := s.free[i].at
	if s.free[i].size == n {
		s.free = slices.Delete(s.free, i, i+1)
	} else {
		s.free[i].at += driver.Ptr(n)
		s.free[i].size -= n
	}
	a.sizes[p] = n
	a.inUse += n
	a.highWater = max(a.highWater, a.inUse)
	return p, nil
}

func (a *arena) find(n int64) (best *slab, at int) {
	size := int64(0)
	for k := range a.slabs {
		s := &a.slabs[k]
		for i, f := range s.free {
			if f.size >= n && (best == nil || f.size < size) {
				best, at, size = s, i, f.size
			}
		}
	}
	return best, at
}

// free takes a piece back, and gives a slab back that is empty and larger than
// usual: its size would hardly be asked for again.
func (a *arena) free(p driver.Ptr) {
	n, ok := a.sizes[p]
	if !ok {
		panic(fmt.Sprintf("cuda: free of %#x, which is not in use", p))
	}
	delete(a.sizes, p)
	a.inUse -= n
	k := slices.IndexFunc(a.slabs, func(s slab) bool { return p >= s.base && p < s.base+driver.Ptr(s.size) })
	s := &a.slabs[k]
	i, _ := slices.BinarySearchFunc(s.free, p, func(f piece, p driver.Ptr) int {
		if f.at < p {
			return -1
		}
		return 1
	})
	s.free = slices.Insert(s.free, i, piece{p, n})
	if i+1 < len(s.free) && s.free[i].at+driver.Ptr(s.free[i].size) == s.free[i+1].at {
		s.free[i].size += s.free[i+1].size
		s.free = slices.Delete(s.free, i+1, i+2)
	}
	if i > 0 && s.free[i-1].at+driver.Ptr(s.free[i-1].size) == s.free[i].at {
		s.free[i-1].size += s.free[i].size
		s.free = slices.Delete(s.free, i, i+1)
	}
	if s.size > a.slab && len(s.free) == 1 && s.free[0].size == s.size {
		a.release(s.base)
		a.slabs = slices.Delete(a.slabs, k, k+1)
	}
}

// scratch is the memory of one operation's temporaries: pieces one after the
// other, all forgotten when the next operation begins. Operations take effect in
// order, so the next may write where the last one still reads.
type scratch struct {
	areas []piece // the last is being filled
	used  int64   // of the last
}

// get returns n bytes that live until the operation ends.
func (s *scratch) get(d *Device, n int64) driver.Ptr {
	if d.recording != nil {
		return d.recording.temporary(n)
	}
	n = aligned(n)
	if k := len(s.areas) - 1; k < 0 || s.used+n > s.areas[k].size || d.opts.SlabBytes == 1 {
		size := n
		if d.opts.SlabBytes != 1 {
			size = max(n, 1<<20)
		}
		p, err := d.drv.Alloc(size)
		check(err)
		s.areas, s.used = append(s.areas, piece{p, size}), 0
	}
	p := s.areas[len(s.areas)-1].at + driver.Ptr(s.used)
	s.used += n
	return p
}

// reset begins a new operation. Several areas become one that holds as much.
func (s *scratch) reset(d *Device) {
	s.used = 0
	if len(s.areas) < 2 && d.opts.SlabBytes != 1 {
		return
	}
	if len(s.areas) == 0 {
		return
	}
	check(d.drv.Sync())
	total := int64(0)
	for _, a := range s.areas {
		d.drv.Free(a.at)
		total += a.size
	}
	s.areas = s.areas[:0]
	if d.opts.SlabBytes == 1 {
		return
	}
	p, err := d.drv.Alloc(total)
	check(err)
	s.areas = append(s.areas, piece{p, total})
}

// Temporaries by type.

func (d *Device) floats(n int) driver.Ptr  { return d.tmp.get(d, 4*int64(n)) }
func (d *Device) halves(n int) driver.Ptr  { return d.tmp.get(d, 2*int64(n)) }
func (d *Device) doubles(n int) driver.Ptr { return d.tmp.get(d, 8*int64(n)) }

// ints uploads a list.
func (d *Device) ints(x []int32) driver.Ptr {
	if d.recording != nil {
		return d.recording.given(x)
	}
	p := d.tmp.get(d, 4*int64(len(x)))
	d.drv.Upload(p, bytes(x))
	return p
}

// upload uploads numbers.
func (d *Device) upload(x []float32) driver.Ptr {
	d.recording.refuse(d.recording != nil, "numbers")
	p := d.floats(len(x))
	d.drv.Upload(p, bytes(x))
	return p
}
