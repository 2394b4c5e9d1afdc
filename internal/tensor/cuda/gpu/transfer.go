//go:build cuda && cgo

package gpu

import (
	"unsafe"

	"gorgonia.org/cu"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Transfers go through a ring of pinned host memory: a device copies from pageable
// memory only by way of such, and then waits.
const (
	ringBytes  = 32 << 20
	smallBytes = 64 << 10 // up to here an upload is queued with a copy of its bytes
	ringAlign  = 256
)

// ring is pinned memory that is handed out in order and given back when the
// stream has passed an event.
type ring struct {
	stream cu.Stream
	base   unsafe.Pointer
	size   int
	head   int        // where the next piece begins
	used   int        // bytes of all pieces in flight, with what was skipped before them
	flight []piece    // oldest first
	events []cu.Event // idle
}

type piece struct {
	bytes int
	event cu.Event
}

func newRing(stream cu.Stream, size int) (*ring, error) {
	base, err := allocPinned(size)
	if err != nil {
		return nil, err
	}
	return &ring{stream: stream, base: base, size: size}, nil
}

// largest is how many bytes one piece holds: several fit, so that the next is
// filled while the device copies.
func (r *ring) largest() int { return r.size / 4 }

// take returns n bytes, n <= largest, and what they cost with padding; it waits
// until the oldest pieces are free.
func (r *ring) take(n int) (mem []byte, cost int, err error) {
	n = (n + ringAlign - 1) / ringAlign * ringAlign
	for {
		skip := 0
		if r.head+n > r.size {
			skip = r.size - r.head
		}
		if r.used+skip+n <= r.size {
			at := (r.head + skip) % r.size
			r.head = (at + n) % r.size
			return unsafe.Slice((*byte)(unsafe.Add(r.base, at)), n), skip + n, nil
		}
		if err := r.retire(); err != nil {
			return nil, 0, err
		}
	}
}

// sent says that the copies of a piece were asked for.
func (r *ring) sent(cost int) error {
	var e cu.Event
	if n := len(r.events); n > 0 {
		e, r.events = r.events[n-1], r.events[:n-1]
	} else {
		var err error
		if e, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return err
		}
	}
	r.used += cost
	r.flight = append(r.flight, piece{cost, e})
	return e.Record(r.stream)
}

// retire waits for the oldest piece.
func (r *ring) retire() error {
	p := r.flight[0]
	if err := p.event.Synchronize(); err != nil {
		return err
	}
	r.flight = r.flight[1:]
	r.events = append(r.events, p.event)
	if r.used -= p.bytes; r.used == 0 {
		r.head = 0
	}
	return nil
}

func (r *ring) close() error {
	for _, p := range r.flight {
		r.events = append(r.events, p.event)
	}
	for i := range r.events {
		if err := cu.DestroyEvent(&r.events[i]); err != nil {
			return err
		}
	}
	return cu.MemFreeHost(r.base)
}

// Upload copies from the host; src may be changed after the call.
func (d *Device) Upload(dst driver.Ptr, src []byte) {
	if d.within {
		d.misuse("Upload within Capture")
		return
	}
	if len(src) == 0 {
		return
	}
	if len(src) <= smallBytes {
		kept := append([]byte(nil), src...)
		d.do("Upload", func() error { return d.upload(dst, kept) })
		return
	}
	d.do("Upload", func() error { return d.upload(dst, src) })
	d.wait(func() {}) // src was read
}

func (d *Device) upload(dst driver.Ptr, src []byte) error {
	for len(src) > 0 {
		n := min(len(src), d.ring.largest())
		mem, cost, err := d.ring.take(n)
		if err != nil {
			return err
		}
		copy(mem, src[:n])
		if err := cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&mem[0]), int64(n), d.stream); err != nil {
			return err
		}
		if err := d.ring.sent(cost); err != nil {
			return err
		}
		dst, src = dst+driver.Ptr(n), src[n:]
	}
	return nil
}

// Download copies to the host, when what was asked for before is done, and returns
// the first error.
func (d *Device) Download(dst []byte, src driver.Ptr) (err error) {
	if d.within {
		d.misuse("Download within Capture")
	}
	if len(dst) > 0 {
		d.do("Download", func() error { return d.download(dst, src) })
	}
	d.wait(func() {
		d.settled("Download")
		err = d.err
	})
	return err
}

// download keeps a few pieces in flight and copies each out when it has come.
func (d *Device) download(dst []byte, src driver.Ptr) error {
	type coming struct{ to, mem []byte }
	var pieces []coming
	settle := func() error {
		for len(d.ring.flight) > 0 {
			if err := d.ring.retire(); err != nil {
				return err
			}
		}
		for _, p := range pieces {
			copy(p.to, p.mem)
		}
		pieces = pieces[:0]
		return nil
	}
	for len(dst) > 0 {
		n := min(len(dst), d.ring.largest())
		if len(pieces) == 3 { // a fourth might need the first one's memory
			if err := settle(); err != nil {
				return err
			}
		}
		mem, cost, err := d.ring.take(n)
		if err != nil {
			return err
		}
		if err := cu.MemcpyDtoHAsync(unsafe.Pointer(&mem[0]), cu.DevicePtr(src), int64(n), d.stream); err != nil {
			return err
		}
		if err := d.ring.sent(cost); err != nil {
			return err
		}
		pieces = append(pieces, coming{dst[:n], mem})
		dst, src = dst[n:], src+driver.Ptr(n)
	}
	return settle()
}
