package cuda

import (
	"fmt"
	"sync"
	"unsafe"
	"weak"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Options of a device.
type Options struct {
	Float32    bool  // products and caches in float32
	SlabBytes  int64 // memory is taken from the driver in pieces of this size; 0: 256 MiB; 1: a piece for each buffer
	ChunkBytes int64 // of logits, or of an indexer's scores, that exist at a time; 0: 256 MiB
	NoGraphs   bool  // passes of decoding are not recorded

	// Moments in the host's memory pass through four pieces of the device's of this size; 0: 16 MiB.
	OffloadBytes int64
}

const (
	defaultChunk   = 256 << 20
	defaultOffload = 16 << 20
)

func (o *Options) offloadBytes() int64 {
	if o.OffloadBytes == 0 {
		return defaultOffload
	}
	return o.OffloadBytes
}

// Device computes on a GPU. One operation runs at a time.
type Device struct {
	*common
	tmp     scratch
	rounded [2]operand
	next    int // of rounded, the one to be replaced

	recording *recording // not nil: within Record, which has the lock
	rooms     []*buffer  // of a recorder
}

// common is what a device shares with its recorders.
type common struct {
	drv   driver.Driver
	opts  Options
	mu    sync.Mutex
	arena *arena
	ropes map[weak.Pointer[tensor.RopeTable]]*ropeTable
	stale staleMemory
	away  offload

	memories uint64 // made so far
}

var (
	_ tensor.Drawer    = (*Device)(nil)
	_ tensor.Rounder   = (*Device)(nil)
	_ tensor.Offloader = (*Device)(nil)
	_ tensor.Replayer  = (*Device)(nil)
)

// New returns the device of a driver.
func New(drv driver.Driver, opts Options) *Device {
	if opts.SlabBytes == 0 {
		opts.SlabBytes = 256 << 20
	}
	if opts.ChunkBytes == 0 {
		opts.ChunkBytes = defaultChunk
	}
	opts.OffloadBytes = opts.offloadBytes()
	d := &Device{common: &common{drv: drv, opts: opts, ropes: map[weak.Pointer[tensor.RopeTable]]*ropeTable{}}}
	d.arena = newArena(opts.SlabBytes, drv.Alloc, func(p driver.Ptr) { check(drv.Sync()); drv.Free(p) })
	d.away.arena = newArena(opts.SlabBytes, drv.AllocHost, drv.FreeHost)
	return d
}

// Name says what computes; checkpoints record it, as results differ in bits.
func (d *Device) Name() string {
	if d.opts.Float32 {
		return d.drv.Name() + "/float32"
	}
	return d.drv.Name() + "/bf16"
}

// HighWater returns the most bytes of buffers that were in use at once, without
// temporaries.
func (d *Device) HighWater() int64 { return d.arena.highWater }

// Memory returns the GPU's free and total bytes; what the arena holds is not free.
func (d *Device) Memory() (free, total int64) {
	defer d.begin()()
	return d.drv.Memory()
}

// Failure is what an operation panics with when the driver fails.
type Failure struct{ Err error }

// Error names the driver's error.
func (f *Failure) Error() string { return fmt.Sprintf("cuda: %v", f.Err) }

// Unwrap returns the driver's error.
func (f *Failure) Unwrap() error { return f.Err }

func check(err error) {
	if err != nil {
		panic(&Failure{err})
	}
}

// begin starts an operation: its temporaries are its own until the next one.
// Operations are `defer d.begin()()`.
func (d *Device) begin() func() {
	if d.recording != nil {
		d.recording.used = len(d.rounded)
		return func() {}
	}
	d.mu.Lock()
	d.tmp.reset(d)
	d.sweep()
	return d.mu.Unlock
}

// bytes views numbers as the driver wants them; the processor is little-endian.
func bytes[T int32 | float32 | float64 | uint16](x []T) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(x[0])))
}

// Launches.

// threads is the size of a block of a kernel whose blocks share out dim numbers.
func threads(dim int) int { return max(32, min(256, (dim+31)/32*32)) }

// each runs a kernel over n elements. args end with what follows n.
func (d *Device) each(kernel string, n int, args ...any) {
	if n == 0 {
		return
	}
	block := threads(n)
	d.drv.Launch(kernel, driver.Dims{Grid: [3]int{min((n+block-1)/block, 1<<16)}, Block: [3]int{block}}, args...)
}

// blocks runs n blocks that share out dim numbers each.
func (d *Device) blocks(kernel string, n, dim, shared int, args ...any) {
	if n == 0 {
		return
	}
	d.drv.Launch(kernel, driver.Dims{Grid: [3]int{n}, Block: [3]int{threads(dim)}, Shared: shared}, args...)
}

func i32(n int) int32 { return int32(n) }

func truth(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
