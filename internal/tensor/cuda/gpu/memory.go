//go:build cuda && cgo

package gpu

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"gorgonia.org/cu"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Alloc returns memory of the device, aligned to 256 bytes and not cleared.
// Unavailable, with what is free, if there is too little; that does not stick.
func (d *Device) Alloc(bytes int64) (p driver.Ptr, err error) {
	if d.within {
		d.misuse("Alloc within Capture")
	}
	if bytes <= 0 {
		return 0, fmt.Errorf("%s: Alloc of %d bytes", d.info.Name, bytes)
	}
	d.wait(func() {
		if err = d.err; err != nil {
			return
		}
		at, e := cu.MemAlloc(bytes)
		e = named(e)
		switch {
		case errors.Is(e, outOfMemory):
			free, total, _ := cu.MemInfo() // zeros if that fails too
			err = grouse.Errorf(grouse.Unavailable, "%s: out of memory: %.2f GiB asked for, %.2f of %.2f GiB free", d.info.Name, gib(bytes), gib(free), gib(total)).
				WithFix("lower trainer.micro_batch_tokens or rollout.max_completion_length, or stop what else uses the GPU (`nvidia-smi`)")
		case e != nil:
			d.fail("Alloc", e)
			err = d.err
		default:
			p = driver.Ptr(at)
			d.sizes[p] = bytes
		}
	})
	return p, err
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }

// Free gives memory back, when what was asked for before is done.
func (d *Device) Free(p driver.Ptr) {
	if d.within {
		d.misuse("Free within Capture")
		return
	}
	d.do("Free", func() error {
		if _, ok := d.sizes[p]; !ok {
			return fmt.Errorf("%#x was not allocated", p)
		}
		delete(d.sizes, p)
		return cu.MemFree(cu.DevicePtr(p))
	})
}

// Clear sets zeros.
func (d *Device) Clear(p driver.Ptr, bytes int64) {
	if bytes > 0 {
		d.do("Clear", func() error { return cu.MemsetD8Async(cu.DevicePtr(p), 0, bytes, d.stream) })
	}
}

// Copy copies on the device.
func (d *Device) Copy(dst, src driver.Ptr, bytes int64) {
	if bytes > 0 {
		d.do("Copy", func() error { return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), bytes, d.stream) })
	}
}

func sortedKeys[K ~uint64, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
