package cuda

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// memory is what buffers of one allocation share. Free gives it back; what nobody
// frees (a dropped model, a graph) the garbage collector does.
type memory struct {
	at    driver.Ptr
	cap   int        // elements
	bf16  bool       // its numbers: a moment, or a weight without a float32 master
	host  bool       // it is the host's memory (offload.go)
	half  driver.Ptr // bfloat16 copy of a weight, 0: none
	fresh bool       // half is up to date
	id    uint64     // of all memories of the device
	wrote uint64     // how often it was written: with id, what its numbers are
	owned []runtime.Cleanup
}

// buffer is n elements of its memory, the first ones unless it is a view. Matrices are
// row-major.
type buffer struct {
	*memory
	n    int
	from int // element; 0 but for views
}

// Len returns the number of elements.
func (b *buffer) Len() int { return b.n }

// Slice returns the first n elements, which must fit the capacity.
func (b *buffer) Slice(n int) tensor.Buffer {
	if n > b.cap {
		panic(fmt.Sprintf("cuda: %d elements of %d", n, b.cap))
	}
	return &buffer{memory: b.whole().memory, n: n}
}

// View shares b's memory.
func (d *Device) View(b tensor.Buffer, from, n int) tensor.Buffer {
	x := b.(*buffer)
	if from < 0 || n < 0 || from+n > x.n {
		panic(fmt.Sprintf("cuda: elements %d to %d of %d", from, from+n, x.n))
	}
	return &buffer{x.memory, n, x.from + from}
}

// whole panics if b is a view, for operations that know memory by itself.
func (b *buffer) whole() *buffer {
	if b.from != 0 {
		panic("cuda: a view")
	}
	return b
}

// size of an element, bytes.
func (b *buffer) size() int {
	if b.bf16 {
		return 2
	}
	return 4
}

// address is where b begins on the device.
func (b *buffer) address() driver.Ptr {
	if b.host {
		panic("cuda: moments in the host's memory")
	}
	return b.at + driver.Ptr(b.from*b.size())
}

// Cap returns the capacity in elements.
func (b *buffer) Cap() int { return b.cap }

// in is the address of a buffer that is read, 0 for nil.
func in(b tensor.Buffer) driver.Ptr {
	if b == nil {
		return 0
	}
	return b.(*buffer).address()
}

// out is the address of a buffer that is written.
func out(b tensor.Buffer) driver.Ptr {
	if b == nil {
		return 0
	}
	x := b.(*buffer)
	x.fresh = false
	x.wrote++
	return x.address()
}

// take returns memory of an arena. If there is none it asks the garbage collector for
// what nobody freed.
func (d *Device) take(a *arena, bytes int64) driver.Ptr {
	d.recording.refuse(d.recording != nil && d.recording.capturing, "memory")
	p, err := a.get(bytes)
	for try := 0; err != nil && try < 5; try++ {
		runtime.GC()
		time.Sleep(time.Millisecond << try) // cleanups run on a goroutine of their own
		d.sweep()
		p, err = a.get(bytes)
	}
	check(err)
	return p
}

// takeFor is take for what owner lives with.
func takeFor[T any](d *Device, a *arena, owner *T, bytes int64) (driver.Ptr, runtime.Cleanup) {
	p := d.take(a, bytes)
	return p, runtime.AddCleanup(owner, d.stale.add, taken{a, p})
}

func (d *Device) newBuffer(n, size int) *buffer {
	d.memories++
	m := &memory{id: d.memories, cap: n, bf16: size == 2, owned: make([]runtime.Cleanup, 1)}
	m.at, m.owned[0] = takeFor(d, d.arena, m, int64(n)*int64(size))
	d.drv.Clear(m.at, int64(n)*int64(size))
	return &buffer{memory: m, n: n}
}

// New returns zeroed float32 memory.
func (d *Device) New(n int) tensor.Buffer {
	defer d.begin()()
	return d.newBuffer(n, 4)
}

// NewMatrix returns a zeroed matrix.
func (d *Device) NewMatrix(out, in int) tensor.Buffer { return d.New(out * in) }

// NewBF16 returns zeroed bfloat16 memory.
func (d *Device) NewBF16(n int) tensor.Buffer {
	defer d.begin()()
	return d.newBuffer(n, 2)
}

// Free gives a buffer's memory back, its bfloat16 copy included.
func (d *Device) Free(b tensor.Buffer) {
	defer d.begin()()
	m := b.(*buffer).whole().memory
	for _, c := range m.owned {
		c.Stop()
	}
	if m.host {
		d.away.arena.free(m.at)
	} else {
		d.arena.free(m.at)
	}
	if m.half != 0 {
		d.arena.free(m.half)
	}
	m.at, m.half, m.owned = 0, 0, nil
}

// Zero clears b.
func (d *Device) Zero(b tensor.Buffer) {
	defer d.begin()()
	d.drv.Clear(out(b), int64(b.(*buffer).size()*b.Len()))
}

// Read copies to the host and waits for it.
func (d *Device) Read(dst []float32, b tensor.Buffer) {
	defer d.begin()()
	p := in(b)
	if x := b.(*buffer); x.bf16 {
		p = d.widened(x)
	}
	check(d.drv.Download(bytes(dst[:min(len(dst), b.Len())]), p))
}

// Write copies from the host; bfloat16 is rounded to the nearest.
func (d *Device) Write(b tensor.Buffer, src []float32) {
	defer d.begin()()
	src = src[:min(len(src), b.Len())]
	if !b.(*buffer).bf16 {
		d.drv.Upload(out(b), bytes(src))
		return
	}
	d.each("cast_to_bf16", len(src), out(b), d.upload(src), int64(len(src)))
}

// ReadMatrix copies a matrix to the host.
func (d *Device) ReadMatrix(dst []float32, b tensor.Buffer, out, in int) { d.Read(dst[:out*in], b) }

// WriteMatrix copies a matrix from the host.
func (d *Device) WriteMatrix(b tensor.Buffer, src []float32, out, in int) { d.Write(b, src[:out*in]) }

// Copy copies between buffers, either of them bfloat16 or not, and one of them in the
// host's memory or not.
func (d *Device) Copy(dst, src tensor.Buffer) {
	defer d.begin()()
	to, from := dst.(*buffer), src.(*buffer)
	part := func(at, data driver.Ptr, n int) {
		switch {
		case to.bf16 && !from.bf16:
			d.each("cast_to_bf16", n, at, data, int64(n))
		case !to.bf16 && from.bf16:
			d.each("cast_from_bf16", n, at, data, int64(n))
		default:
			d.drv.Copy(at, data, int64(n*to.size()))
		}
	}
	switch {
	case to.host:
		data := in(src)
		d.pass(stored, func(at []driver.Ptr, skip, n int) { part(at[0], data+driver.Ptr(skip*from.size()), n) }, to)
	case from.host:
		at := out(dst)
		d.pass(fetched, func(data []driver.Ptr, skip, n int) { part(at+driver.Ptr(skip*to.size()), data[0], n) }, from)
	default:
		part(out(dst), in(src), dst.Len())
	}
}

// Use calls f with the address of float32 memory that it queues work on, which is
// written; nobody else uses the driver meanwhile.
func (d *Device) Use(b tensor.Buffer, f func(p driver.Ptr)) {
	defer d.begin()()
	if b.(*buffer).bf16 {
		panic("cuda: Use of bfloat16 memory")
	}
	f(out(b))
}

// taken is a piece of an arena.
type taken struct {
	from *arena
	at   driver.Ptr
}

// staleMemory collects what the garbage collector found, from a goroutine of its
// own; it is freed when an operation begins.
type staleMemory struct {
	mu   sync.Mutex
	list []taken
}

func (s *staleMemory) add(p taken) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, p)
}

// sweep frees what is stale.
func (d *Device) sweep() {
	d.stale.mu.Lock()
	defer d.stale.mu.Unlock()
	for _, p := range d.stale.list {
		p.from.free(p.at)
	}
	d.stale.list = d.stale.list[:0]
}
