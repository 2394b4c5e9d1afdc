//go:build emu

// Package emu runs the CUDA device's kernels on the processor, so that their
// numbers, their barriers and their bounds are tested where there is no GPU
// (build tag emu; cgo with a C++20 compiler, x86-64). It is slow and for tests
// only.
//
//	d := cuda.New(emu.New(emu.Options{Order: emu.Scattered}), cuda.Options{})
//
// A launch checks what a GPU's driver does not: that the kernel exists, that the
// arguments have the kinds of its parameters, that blocks are whole warps of at
// most 256 threads, and that what a graph refers to was not given back since it was
// captured. cuda_cpu.h says what the emulation finds while a kernel runs;
// those faults end the process with a message.
package emu

/*
#cgo CXXFLAGS: -std=c++20 -O2 -pthread -Wall -Wno-unused-function -Wno-unused-variable
#cgo LDFLAGS: -pthread
#include <stdlib.h>
#include "emu.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/kernels" // imported also so that a changed kernel is compiled again
)

// Order is the order in which the threads of a block, and the blocks of a grid,
// take turns. A kernel without a race computes the same bits in all of them.
type Order int

// Orders of threads.
const (
	Forward Order = iota
	Reverse
	Scattered
)

func (o Order) String() string { return [...]string{"forward", "reverse", "scattered"}[o] }

// Options of an emulated device.
type Options struct {
	Order   Order
	Threads int   // system threads that share a grid's blocks; 0 is 1
	Bytes   int64 // of its memory; 0 is 4 GiB
}

// Emu is a driver.Driver.
type Emu struct {
	opts   Options
	bases  []driver.Ptr // of allocations, ascending
	sizes  map[driver.Ptr]int64
	births map[driver.Ptr]int // which allocation of all it was
	made   int
	used   int64
	hosts  map[driver.Ptr]int64 // memory of AllocHost
	stores []func()             // that no Settle has waited for: they are not done yet
	err    error
	record *graph // not nil: within Capture
}

var _ driver.Driver = (*Emu)(nil)

// New returns a device.
func New(opts Options) *Emu {
	if opts.Bytes == 0 {
		opts.Bytes = 4 << 30
	}
	return &Emu{opts: opts, sizes: map[driver.Ptr]int64{}, births: map[driver.Ptr]int{}, hosts: map[driver.Ptr]int64{}}
}

// Name is "emu".
func (e *Emu) Name() string { return "emu" }

// Memory returns the emulated memory.
func (e *Emu) Memory() (free, total int64) { return e.opts.Bytes - e.used, e.opts.Bytes }

func (e *Emu) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("emu: "+format, args...)
	}
}

// Alloc returns memory filled with NaNs.
func (e *Emu) Alloc(bytes int64) (driver.Ptr, error) {
	if e.record != nil {
		e.fail("Alloc within Capture")
	}
	if e.err != nil {
		return 0, e.err
	}
	if bytes <= 0 || e.used+bytes > e.opts.Bytes {
		return 0, fmt.Errorf("emu: out of memory: %d bytes asked for, %d of %d used", bytes, e.used, e.opts.Bytes)
	}
	p := driver.Ptr(C.emu_alloc(C.size_t(bytes)))
	if p == 0 {
		return 0, errors.New("emu: the machine is out of memory")
	}
	i, _ := slices.BinarySearch(e.bases, p)
	e.bases = slices.Insert(e.bases, i, p)
	e.made++
	e.sizes[p], e.births[p] = bytes, e.made
	e.used += bytes
	return p, nil
}

// Free gives memory back.
func (e *Emu) Free(p driver.Ptr) {
	if e.record != nil {
		e.fail("Free within Capture")
		return
	}
	i, ok := slices.BinarySearch(e.bases, p)
	if !ok {
		e.fail("Free of %#x, which was not allocated", p)
		return
	}
	e.bases = slices.Delete(e.bases, i, i+1)
	e.used -= e.sizes[p]
	delete(e.sizes, p)
	delete(e.births, p)
	C.emu_free(C.uint64_t(p))
}

// find is the place among the bases of what p may lie in; -1: nothing.
func (e *Emu) find(p driver.Ptr) int {
	i, ok := slices.BinarySearch(e.bases, p)
	if !ok {
		i--
	}
	return i
}

// birth says which allocation of all p lies in, 0: none.
func (e *Emu) birth(p driver.Ptr) int {
	if i := e.find(p); i >= 0 && p < e.bases[i]+driver.Ptr(e.sizes[e.bases[i]]) {
		return e.births[e.bases[i]]
	}
	return 0
}

// within checks that n bytes at p lie in one allocation.
func (e *Emu) within(what string, p driver.Ptr, n int64) bool {
	i := e.find(p)
	if i < 0 || p+driver.Ptr(n) > e.bases[i]+driver.Ptr(e.sizes[e.bases[i]]) || n < 0 {
		e.fail("%s: %d bytes at %#x are not in an allocation", what, n, p)
		return false
	}
	return true
}

// do runs f, which refers to memory at the addresses, or records it within Capture.
func (e *Emu) do(what string, f func(), at ...driver.Ptr) {
	if e.err != nil {
		return
	}
	if e.record == nil {
		f()
		return
	}
	c := call{what: what, f: f, at: at}
	for _, p := range at {
		c.births = append(c.births, e.birth(p))
	}
	e.record.calls = append(e.record.calls, c)
}

// Clear sets zeros.
func (e *Emu) Clear(p driver.Ptr, bytes int64) {
	e.do("Clear", func() {
		if e.within("Clear", p, bytes) {
			C.emu_clear(C.uint64_t(p), C.size_t(bytes))
		}
	}, p)
}

// Copy copies on the device.
func (e *Emu) Copy(dst, src driver.Ptr, bytes int64) {
	e.do("Copy", func() {
		if e.within("Copy to", dst, bytes) && e.within("Copy from", src, bytes) {
			C.emu_copy(C.uint64_t(dst), C.uint64_t(src), C.size_t(bytes))
		}
	}, dst, src)
}

// Upload copies from the host.
func (e *Emu) Upload(dst driver.Ptr, src []byte) {
	if e.record != nil {
		e.fail("Upload within Capture")
	}
	if e.err != nil || len(src) == 0 || !e.within("Upload", dst, int64(len(src))) {
		return
	}
	C.emu_upload(C.uint64_t(dst), unsafe.Pointer(&src[0]), C.size_t(len(src)))
}

// Download copies to the host.
func (e *Emu) Download(dst []byte, src driver.Ptr) error {
	if e.record != nil {
		e.fail("Download within Capture")
	}
	if e.err == nil && len(dst) > 0 && e.within("Download", src, int64(len(dst))) {
		C.emu_download(unsafe.Pointer(&dst[0]), C.uint64_t(src), C.size_t(len(dst)))
	}
	return e.err
}

// Launch runs a kernel.
func (e *Emu) Launch(kernel string, d driver.Dims, args ...any) {
	bits, kinds := make([]uint64, max(1, len(args))), make([]byte, len(args))
	var at []driver.Ptr
	for i, a := range args {
		bits[i], kinds[i] = pack(a)
		if p, ok := a.(driver.Ptr); ok {
			at = append(at, p)
		}
	}
	name := C.CString(kernel)
	defer C.free(unsafe.Pointer(name))
	want := C.emu_kinds(name)
	switch {
	case want == nil:
		e.fail("there is no kernel %q", kernel)
	case C.GoString(want) != string(kinds):
		e.fail("kernel %s takes %s, was given %s (p pointer, i int32, l int64, f float32)", kernel, C.GoString(want), kinds)
	}
	var grid, block [3]C.int
	threads := 1
	for i := range 3 {
		grid[i], block[i] = C.int(max(1, d.Grid[i])), C.int(max(1, d.Block[i]))
		threads *= max(1, d.Block[i])
	}
	if block[0]%32 != 0 || threads > 256 || grid[1] > 65535 || grid[2] > 65535 {
		e.fail("kernel %s with blocks %v in a grid of %v: a block is whole warps of at most 256 threads", kernel, d.Block, d.Grid)
	}
	if d.Shared > 227<<10 {
		e.fail("kernel %s asks for %d bytes of shared memory", kernel, d.Shared)
	}
	e.do("kernel "+kernel, func() {
		name := C.CString(kernel)
		defer C.free(unsafe.Pointer(name))
		C.emu_launch(name, &grid[0], &block[0], C.int(d.Shared), (*C.uint64_t)(unsafe.Pointer(&bits[0])), C.int(e.opts.Order), C.int(max(1, e.opts.Threads)))
	}, at...)
}

// pack returns an argument in 8 bytes and its kind.
func pack(a any) (bits uint64, kind byte) {
	switch a := a.(type) {
	case driver.Ptr:
		return uint64(a), 'p'
	case int32:
		return uint64(uint32(a)), 'i'
	case int64:
		return uint64(a), 'l'
	case float32:
		var b [8]byte
		*(*float32)(unsafe.Pointer(&b[0])) = a
		return *(*uint64)(unsafe.Pointer(&b[0])), 'f'
	}
	return 0, '?'
}

// MatMul is a plain loop.
func (e *Emu) MatMul(m driver.MatMul) {
	if m.M == 0 || m.N == 0 {
		return
	}
	size := func(a driver.Matrix, rows, cols int, transposed bool) int64 {
		if transposed {
			rows, cols = cols, rows
		}
		if a.Stride < cols {
			e.fail("MatMul of %+v: a stride of %d for %d columns", m, a.Stride, cols)
		}
		n := int64(max(0, rows-1))*int64(a.Stride) + int64(cols)
		if rows == 0 {
			n = 0
		}
		return n * []int64{driver.F32: 4, driver.BF16: 2}[a.Type]
	}
	a, b, c := size(m.A, m.M, m.K, m.TransA), size(m.B, m.K, m.N, m.TransB), size(m.C, m.M, m.N, false)
	if m.A.Type != m.B.Type {
		e.fail("MatMul of two types")
	}
	e.do("MatMul", func() {
		if !e.within("MatMul's A", m.A.Data, a) || !e.within("MatMul's B", m.B.Data, b) || !e.within("MatMul's C", m.C.Data, c) {
			return
		}
		conv := func(a driver.Matrix) C.emu_matrix {
			return C.emu_matrix{data: C.uint64_t(a.Data), bf16: truth(a.Type == driver.BF16), stride: C.int(a.Stride)}
		}
		C.emu_matmul(C.int(m.M), C.int(m.N), C.int(m.K), conv(m.A), conv(m.B), conv(m.C), truth(m.TransA), truth(m.TransB), C.float(m.Alpha), C.float(m.Beta))
	}, m.A.Data, m.B.Data, m.C.Data)
}

func truth(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// Sync returns the first error.
func (e *Emu) Sync() error {
	if e.record != nil {
		e.fail("Sync within Capture")
	}
	return e.err
}

// graph is a list of calls.
type graph struct {
	e     *Emu
	calls []call
}

// call is one that was captured.
type call struct {
	what   string
	f      func()
	at     []driver.Ptr // what it refers to
	births []int        // and in which allocations that lay
}

// Capture records what f asks for.
func (e *Emu) Capture(f func()) (driver.Graph, error) {
	g := &graph{e: e}
	e.record = g
	f()
	e.record = nil
	return g, e.err
}

// Launch repeats the calls.
func (g *graph) Launch() {
	for _, c := range g.calls {
		for i, p := range c.at {
			if g.e.birth(p) != c.births[i] {
				g.e.fail("graph: %s refers to memory at %#x that was given back since it was captured", c.what, p)
			}
		}
		g.e.do(c.what, c.f, c.at...)
	}
}

// Free forgets them.
func (g *graph) Free() { g.calls = nil }

// Close gives everything back.
func (e *Emu) Close() error {
	for _, p := range e.bases {
		C.emu_free(C.uint64_t(p))
	}
	for p := range e.hosts {
		C.emu_free(C.uint64_t(p))
	}
	e.bases, e.sizes, e.used, e.hosts, e.stores = nil, map[driver.Ptr]int64{}, 0, map[driver.Ptr]int64{}, nil
	return e.err
}

// Missing returns the kernels of package kernels that were not compiled in.
func Missing() []string {
	var out []string
	for _, name := range kernels.Names() {
		c := C.CString(name)
		if C.emu_kinds(c) == nil {
			out = append(out, name)
		}
		C.free(unsafe.Pointer(c))
	}
	return out
}
