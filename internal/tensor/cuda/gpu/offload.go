//go:build cuda && cgo

package gpu

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// onHost is an address of host memory, which Go does not manage, as cu wants it.
func onHost(p driver.Ptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// back is the stream that Stores are done on, so that they go beside the compute stream's
// copies, in the other direction.
type back struct {
	stream cu.Stream
	ready  cu.Event   // recorded on the compute stream: what a Store copies is there
	ends   []cu.Event // of Stores that the compute stream does not wait for yet, oldest first
	idle   []cu.Event
}

func (b *back) open() (err error) {
	if b.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return fmt.Errorf("a stream of copies: %w", named(err))
	}
	b.ready, err = cu.MakeEvent(cu.DisableTiming)
	return named(err)
}

// store lets the copy begin after what was asked of the compute stream.
func (b *back) store(compute cu.Stream, dst, src driver.Ptr, bytes int64) error {
	if err := b.ready.Record(compute); err != nil {
		return err
	}
	if err := b.stream.Wait(b.ready, 0); err != nil {
		return err
	}
	if err := cu.MemcpyDtoHAsync(onHost(dst), cu.DevicePtr(src), bytes, b.stream); err != nil {
		return err
	}
	var end cu.Event
	if n := len(b.idle); n > 0 {
		end, b.idle = b.idle[n-1], b.idle[:n-1]
	} else {
		var err error
		if end, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return err
		}
	}
	b.ends = append(b.ends, end)
	return end.Record(b.stream)
}

// settle lets the compute stream wait for all Stores but the last pending.
func (b *back) settle(compute cu.Stream, pending int) error {
	n := len(b.ends) - pending
	if n <= 0 {
		return nil
	}
	last := b.ends[n-1] // Stores are done in order
	b.idle = append(b.idle, b.ends[:n]...)
	b.ends = append([]cu.Event(nil), b.ends[n:]...)
	return compute.Wait(last, 0)
}

func (b *back) close() error {
	if b.stream == cu.NoStream {
		return nil
	}
	err := b.stream.Synchronize()
	for _, e := range append(append(b.ends, b.idle...), b.ready) {
		if e := cu.DestroyEvent(&e); err == nil {
			err = e
		}
	}
	if e := b.stream.Destroy(); err == nil {
		err = e
	}
	return err
}

// AllocHost returns the address of pinned memory. Unavailable if the machine does not
// give it; that does not stick.
func (d *Device) AllocHost(bytes int64) (p driver.Ptr, err error) {
	if d.within {
		d.misuse("AllocHost within Capture")
	}
	d.wait(func() {
		if err = d.err; err != nil {
			return
		}
		at, e := allocPinned(int(bytes))
		if e != nil {
			err = grouse.Errorf(grouse.Unavailable, "%s: %.2f GiB of pinned host memory: %w", d.info.Name, gib(bytes), named(e)).
				WithFix("free memory of the machine, set trainer.bf16_moments: true, or remove trainer.offload_moments")
			return
		}
		p = driver.Ptr(uintptr(at))
		d.pinned[p] = bytes
	})
	return p, err
}

// FreeHost gives memory of AllocHost back, when all that was asked for is done.
func (d *Device) FreeHost(p driver.Ptr) {
	if d.within {
		d.misuse("FreeHost within Capture")
		return
	}
	d.do("FreeHost", func() error {
		if _, ok := d.pinned[p]; !ok {
			return fmt.Errorf("%#x was not allocated", p)
		}
		if err := d.stream.Synchronize(); err != nil {
			return err
		}
		if err := d.back.stream.Synchronize(); err != nil {
			return err
		}
		delete(d.pinned, p)
		return cu.MemFreeHost(onHost(p))
	})
}

// Fetch copies from memory of AllocHost, in order.
func (d *Device) Fetch(dst, src driver.Ptr, bytes int64) {
	if d.within {
		d.misuse("Fetch within Capture")
		return
	}
	d.do("Fetch", func() error {
		return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), onHost(src), bytes, d.stream)
	})
}

// Store copies to memory of AllocHost, beside what follows.
func (d *Device) Store(dst, src driver.Ptr, bytes int64) {
	if d.within {
		d.misuse("Store within Capture")
		return
	}
	d.do("Store", func() error { return d.back.store(d.stream, dst, src, bytes) })
}

// Settle lets what follows wait for all Stores but the last so many.
func (d *Device) Settle(pending int) {
	if d.within {
		d.misuse("Settle within Capture")
		return
	}
	d.do("Settle", func() error { return d.back.settle(d.stream, pending) })
}
