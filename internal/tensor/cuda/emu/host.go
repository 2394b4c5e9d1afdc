//go:build emu

package emu

// #include "emu.h"
import "C"

import (
	"fmt"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// AllocHost returns memory filled with NaNs.
func (e *Emu) AllocHost(bytes int64) (driver.Ptr, error) {
	if e.record != nil {
		e.fail("AllocHost within Capture")
	}
	if e.err != nil {
		return 0, e.err
	}
	p := driver.Ptr(C.emu_alloc(C.size_t(bytes)))
	if bytes <= 0 || p == 0 {
		return 0, fmt.Errorf("emu: %d bytes of host memory", bytes)
	}
	e.hosts[p] = bytes
	return p, nil
}

// FreeHost gives memory of AllocHost back.
func (e *Emu) FreeHost(p driver.Ptr) {
	e.Settle(0)
	if _, ok := e.hosts[p]; !ok {
		e.fail("FreeHost of %#x, which was not allocated", p)
		return
	}
	delete(e.hosts, p)
	C.emu_free(C.uint64_t(p))
}

// onHost checks that n bytes at p lie in memory of AllocHost.
func (e *Emu) onHost(what string, p driver.Ptr, n int64) bool {
	for base, size := range e.hosts {
		if p >= base && n >= 0 && p+driver.Ptr(n) <= base+driver.Ptr(size) {
			return true
		}
	}
	e.fail("%s: %d bytes at %#x are not in host memory of the device's", what, n, p)
	return false
}

// Fetch copies from memory of AllocHost.
func (e *Emu) Fetch(dst, src driver.Ptr, bytes int64) {
	if e.record != nil {
		e.fail("Fetch within Capture")
	}
	if e.err == nil && e.within("Fetch to", dst, bytes) && e.onHost("Fetch", src, bytes) {
		C.emu_copy(C.uint64_t(dst), C.uint64_t(src), C.size_t(bytes))
	}
}

// Store copies to memory of AllocHost as late as it may: whoever does not Settle finds
// what was there before, or what came after.
func (e *Emu) Store(dst, src driver.Ptr, bytes int64) {
	if e.record != nil {
		e.fail("Store within Capture")
	}
	if e.err == nil && e.onHost("Store", dst, bytes) && e.within("Store from", src, bytes) {
		e.stores = append(e.stores, func() {
			if e.onHost("Store", dst, bytes) && e.within("Store from", src, bytes) {
				C.emu_copy(C.uint64_t(dst), C.uint64_t(src), C.size_t(bytes))
			}
		})
	}
}

// Settle does all Stores but the last so many.
func (e *Emu) Settle(pending int) {
	if e.record != nil {
		e.fail("Settle within Capture")
	}
	for ; len(e.stores) > pending; e.stores = e.stores[1:] {
		e.stores[0]()
	}
}
