package cuda

import (
	"fmt"
	"sync"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// memory is what buffers of one allocation share.
type memory struct {
	at    driver.Ptr
	cap   int // elements
	bf16  bool
	half  driver.Ptr // bfloat16 copy of a weight, 0: none
	fresh bool       // half is up to date
}

// buffer is the first n elements of its memory. Matrices are row-major.
type buffer struct {
	*memory
	n int
}

// Len returns the number of elements.
func (b *buffer) Len() int { return b.n }

// Slice returns the first n elements, which must fit the capacity.
func (b *buffer) Slice(n int) tensor.Buffer {
	if n > b.cap {
		panic(fmt.Sprintf("cuda: %d elements of %d", n, b.cap))
	}
	return &buffer{b.memory, n}
}

// in is the address of a buffer that is read, 0 for nil.
func in(b tensor.Buffer) driver.Ptr {
	if b == nil {
		return 0
	}
	return b.(*buffer).at
}

// out is the address of a buffer that is written.
func out(b tensor.Buffer) driver.Ptr {
	if b == nil {
		return 0
	}
	b.(*buffer).fresh = false
	return b.(*buffer).at
}

func (d *Device) allocate(n, size int) driver.Ptr {
	p, err := d.arena.get(int64(max(1, n)) * int64(size))
	check(err)
	d.drv.Clear(p, int64(n)*int64(size))
	return p
}

// New returns zeroed float32 memory.
func (d *Device) New(n int) tensor.Buffer {
	defer d.begin()()
	return &buffer{&memory{at: d.allocate(n, 4), cap: n}, n}
}

// NewMatrix returns a zeroed matrix.
func (d *Device) NewMatrix(out, in int) tensor.Buffer { return d.New(out * in) }

// NewBF16 returns zeroed bfloat16 memory.
func (d *Device) NewBF16(n int) tensor.Buffer {
	defer d.begin()()
	return &buffer{&memory{at: d.allocate(n, 2), cap: n, bf16: true}, n}
}

// Free gives a buffer's memory back, its bfloat16 copy included.
func (d *Device) Free(b tensor.Buffer) {
	defer d.begin()()
	m := b.(*buffer).memory
	d.arena.free(m.at)
	if m.half != 0 {
		d.arena.free(m.half)
	}
	m.at, m.half = 0, 0
}

// Zero clears b.
func (d *Device) Zero(b tensor.Buffer) {
	defer d.begin()()
	size := int64(4)
	if b.(*buffer).bf16 {
		size = 2
	}
	d.drv.Clear(out(b), size*int64(b.Len()))
}

// Read copies to the host and waits for it.
func (d *Device) Read(dst []float32, b tensor.Buffer) {
	defer d.begin()()
	check(d.drv.Download(bytes(dst[:min(len(dst), b.Len())]), in(b)))
}

// Write copies from the host.
func (d *Device) Write(b tensor.Buffer, src []float32) {
	defer d.begin()()
	d.drv.Upload(out(b), bytes(src[:min(len(src), b.Len())]))
}

// ReadMatrix copies a matrix to the host.
func (d *Device) ReadMatrix(dst []float32, b tensor.Buffer, out, in int) { d.Read(dst[:out*in], b) }

// WriteMatrix copies a matrix from the host.
func (d *Device) WriteMatrix(b tensor.Buffer, src []float32, out, in int) { d.Write(b, src[:out*in]) }

// Copy copies between buffers, either of them bfloat16 or not.
func (d *Device) Copy(dst, src tensor.Buffer) {
	defer d.begin()()
	to, from, n := dst.(*buffer), src.(*buffer), dst.Len()
	switch {
	case to.bf16 && !from.bf16:
		d.each("cast_to_bf16", n, out(dst), in(src), int64(n))
	case !to.bf16 && from.bf16:
		d.each("cast_from_bf16", n, out(dst), in(src), int64(n))
	case to.bf16:
		d.drv.Copy(out(dst), in(src), 2*int64(n))
	default:
		d.drv.Copy(out(dst), in(src), 4*int64(n))
	}
}

// staleMemory collects what the garbage collector found: selections and caches
// have no owner who frees them. It is freed when the next operation begins.
type staleMemory struct {
	mu   sync.Mutex
	list []driver.Ptr
}

func (s *staleMemory) add(p ...driver.Ptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, p...)
}

func (s *staleMemory) take() []driver.Ptr {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.list
	s.list = nil
	return l
}
