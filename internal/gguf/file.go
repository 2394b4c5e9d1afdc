package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/bits"
	"os"
	"sort"

	"github.com/grouse-rl/grouse"
)

const (
	magic         = 0x46554747 // "GGUF", little-endian
	minVersion    = 2
	maxVersion    = 3
	defaultAlign  = 32
	maxDims       = 8
	maxKeyBytes   = 1 << 16
	maxArrayDepth = 4
)

// Kinds of metadata values.
const (
	kindU8 = iota
	kindI8
	kindU16
	kindI16
	kindU32
	kindI32
	kindF32
	kindBool
	kindString
	kindArray
	kindU64
	kindI64
	kindF64
)

// File is an open GGUF file.
type File struct {
	path   string
	r      io.ReaderAt
	closer io.Closer
	// Metadata holds the keys' values: uint64, int64, float64, bool, string, or a
	// slice: []string, []float64, []int64, []bool, []any.
	Metadata map[string]any
	Keys     []string // of Metadata, in the file's order
	tensors  map[string]tensor
	names    []string
}

type tensor struct {
	name  string
	shape []int // row-major, the fastest dimension last
	kind  Type
	at    int64 // in the file
	size  int64
}

func (t *tensor) elems() int {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	return n
}

// Open opens a file and checks its header. The error is NotFound or Corrupt.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		kind := grouse.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			kind = grouse.NotFound
		}
		return nil, grouse.Errorf(kind, "open model: %w", err)
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, grouse.Errorf(grouse.Invalid, "open model: %q is not a regular file", path)
	}
	file, err := NewFile(f, st.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.closer = f
	return file, nil
}

// NewFile reads the header of size bytes at r; path is used in errors only.
func NewFile(r io.ReaderAt, size int64, path string) (*File, error) {
	f := &File{path: path, r: r, Metadata: map[string]any{}, tensors: map[string]tensor{}}
	h := &headerReader{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16), left: size}
	if err := f.read(h, size); err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "gguf %q: %w", path, err).WithFix("fetch or copy the file again")
	}
	return f, nil
}

func (f *File) read(h *headerReader, size int64) error {
	if m := h.u32(); h.err == nil && m != magic {
		return fmt.Errorf("it does not begin with GGUF")
	}
	if v := h.u32(); h.err == nil && (v < minVersion || v > maxVersion) {
		return fmt.Errorf("version %d, this program reads %d and %d", v, minVersion, maxVersion)
	}
	tensors, pairs := h.u64(), h.u64()
	if h.err != nil {
		return h.err
	}
	// A pair takes 13 bytes or more, a tensor's entry 32.
	if pairs > uint64(h.left)/13 || tensors > uint64(h.left)/32 {
		return fmt.Errorf("%d keys and %d tensors in %d bytes", pairs, tensors, size)
	}
	for range pairs {
		key := h.str(maxKeyBytes)
		value := h.value(h.u32(), 0)
		if h.err != nil {
			return fmt.Errorf("key %q: %w", key, h.err)
		}
		if _, twice := f.Metadata[key]; twice {
			return fmt.Errorf("key %q appears twice", key)
		}
		f.Metadata[key] = value
		f.Keys = append(f.Keys, key)
	}
	align := int64(defaultAlign)
	if v, ok := f.Metadata["general.alignment"]; ok {
		n, ok := v.(uint64)
		if !ok || n == 0 || n > 1<<20 || bits.OnesCount64(n) != 1 {
			return fmt.Errorf("general.alignment is %v", v)
		}
		align = int64(n)
	}
	for range tensors {
		t, err := h.tensor()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.name, err)
		}
		if _, twice := f.tensors[t.name]; twice {
			return fmt.Errorf("tensor %q appears twice", t.name)
		}
		f.tensors[t.name] = t
		f.names = append(f.names, t.name)
	}
	base := (size - h.left + align - 1) / align * align
	return f.place(base, align, size)
}

// place checks where the tensors lie: inside the file, aligned, not overlapping.
func (f *File) place(base, align, size int64) error {
	all := make([]tensor, 0, len(f.tensors))
	for _, t := range f.tensors {
		if t.at%align != 0 || t.at > size || base > size || t.size > size-base || t.at > size-base-t.size {
			return fmt.Errorf("tensor %q: %d bytes at %d do not lie in the file", t.name, t.size, t.at)
		}
		t.at += base
		f.tensors[t.name] = t
		all = append(all, t)
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].at < all[j].at || all[i].at == all[j].at && all[i].name < all[j].name
	})
	for i := 1; i < len(all); i++ {
		if prev := all[i-1]; prev.at+prev.size > all[i].at {
			return fmt.Errorf("tensors %q and %q overlap", prev.name, all[i].name)
		}
	}
	sort.Strings(f.names)
	return nil
}

// Close closes the file.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Names returns the tensors' names, sorted.
func (f *File) Names() []string { return append([]string(nil), f.names...) }

// Shape returns a tensor's shape, row-major, nil if there is none of the name.
func (f *File) Shape(name string) []int {
	t, ok := f.tensors[name]
	if !ok {
		return nil
	}
	return append([]int{}, t.shape...)
}

// TypeOf returns a tensor's storage type.
func (f *File) TypeOf(name string) (Type, bool) {
	t, ok := f.tensors[name]
	return t.kind, ok
}

// Float32 dequantizes a tensor, row-major, into dst of its size.
func (f *File) Float32(name string, dst []float32) error {
	t, ok := f.tensors[name]
	if !ok {
		return grouse.Errorf(grouse.NotFound, "gguf %q: there is no tensor %q", f.path, name)
	}
	if len(dst) != t.elems() {
		return grouse.Errorf(grouse.Invalid, "gguf %q: tensor %q has %d elements, not %d", f.path, name, t.elems(), len(dst))
	}
	l := layouts[t.kind]
	per := max(1, (1<<20)/l.bytes) // blocks at a time
	buf := make([]byte, min(int64(per*l.bytes), t.size))
	for at := int64(0); at < t.size; {
		n := min(int64(len(buf)), t.size-at)
		if got, err := f.r.ReadAt(buf[:n], t.at+at); int64(got) != n {
			return grouse.Errorf(grouse.Corrupt, "gguf %q: tensor %q: %w", f.path, name, err)
		}
		for b := int64(0); b < n; b += int64(l.bytes) {
			i := (at + b) / int64(l.bytes) * int64(l.elems)
			l.decode(dst[i:i+int64(l.elems)], buf[b:b+int64(l.bytes)])
		}
		at += n
	}
	return nil
}

// headerReader reads little-endian values; left counts the bytes that the file
// still has, which bounds every allocation.
type headerReader struct {
	r    *bufio.Reader
	left int64
	err  error
	buf  [8]byte
}

func (h *headerReader) bytes(n int) []byte {
	if h.err == nil && int64(n) > h.left {
		h.err = fmt.Errorf("the file ends too early")
	}
	if h.err == nil {
		h.left -= int64(n)
		_, h.err = io.ReadFull(h.r, h.buf[:n])
	}
	if h.err != nil {
		clear(h.buf[:])
	}
	return h.buf[:n]
}

func (h *headerReader) u32() uint32 { return binary.LittleEndian.Uint32(h.bytes(4)) }
func (h *headerReader) u64() uint64 { return binary.LittleEndian.Uint64(h.bytes(8)) }

func (h *headerReader) str(limit uint64) string {
	n := h.u64()
	if h.err == nil && (n > limit || n > uint64(h.left)) {
		h.err = fmt.Errorf("a string of %d bytes", n)
	}
	if h.err != nil {
		return ""
	}
	b := make([]byte, n)
	h.left -= int64(n)
	_, h.err = io.ReadFull(h.r, b)
	return string(b)
}

// sizes of the kinds of fixed size; a string has 8 bytes or more, an array 12.
var kindSize = [...]int64{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}

func (h *headerReader) value(kind uint32, depth int) any {
	le := binary.LittleEndian
	switch kind {
	case kindU8:
		return uint64(h.bytes(1)[0])
	case kindI8:
		return int64(int8(h.bytes(1)[0]))
	case kindU16:
		return uint64(le.Uint16(h.bytes(2)))
	case kindI16:
		return int64(int16(le.Uint16(h.bytes(2))))
	case kindU32:
		return uint64(h.u32())
	case kindI32:
		return int64(int32(h.u32()))
	case kindF32:
		return float64(math.Float32frombits(h.u32()))
	case kindBool:
		return h.bytes(1)[0] != 0
	case kindString:
		return h.str(math.MaxInt64)
	case kindArray:
		return h.array(depth)
	case kindU64:
		return h.u64()
	case kindI64:
		return int64(h.u64())
	case kindF64:
		return math.Float64frombits(h.u64())
	}
	if h.err == nil {
		h.err = fmt.Errorf("a value of unknown kind %d", kind)
	}
	return nil
}

func (h *headerReader) array(depth int) any {
	kind, n := h.u32(), h.u64()
	if h.err != nil {
		return nil
	}
	if int(kind) >= len(kindSize) || n > uint64(h.left/kindSize[kind]) || depth >= maxArrayDepth {
		h.err = fmt.Errorf("an array of %d values of kind %d", n, kind)
		return nil
	}
	switch kind {
	case kindString:
		return readArray(h, n, func() string { return h.str(math.MaxInt64) })
	case kindF32, kindF64:
		return readArray(h, n, func() float64 { return h.value(kind, depth+1).(float64) })
	case kindBool:
		return readArray(h, n, func() bool { return h.value(kind, depth+1).(bool) })
	case kindArray:
		return readArray(h, n, func() any { return h.value(kind, depth+1) })
	}
	return readArray(h, n, func() int64 {
		switch v := h.value(kind, depth+1).(type) {
		case uint64:
			return int64(v)
		case int64:
			return v
		}
		return 0
	})
}

func readArray[T any](h *headerReader, n uint64, one func() T) []T {
	out := make([]T, 0, min(n, 1<<16))
	for range n {
		v := one()
		if h.err != nil {
			return nil
		}
		out = append(out, v)
	}
	return out
}

func (h *headerReader) tensor() (tensor, error) {
	t := tensor{name: h.str(maxKeyBytes)}
	dims := h.u32()
	if h.err == nil && (dims > maxDims || dims == 0) {
		return t, fmt.Errorf("%d dimensions", dims)
	}
	t.shape = make([]int, dims)
	elems := uint64(1)
	for i := range t.shape {
		d := h.u64()
		hi, lo := bits.Mul64(elems, d)
		if h.err == nil && (hi != 0 || lo > 1<<48 || d == 0) {
			return t, fmt.Errorf("dimension %d is %d", i, d)
		}
		elems = lo
		t.shape[len(t.shape)-1-i] = int(d)
	}
	t.kind = Type(h.u32())
	t.at = int64(h.u64())
	if h.err != nil {
		return t, h.err
	}
	l, ok := layouts[t.kind]
	if !ok {
		return t, fmt.Errorf("%s is not supported (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K and Q6_K are)", t.kind)
	}
	if row := t.shape[len(t.shape)-1]; row%l.elems != 0 {
		return t, fmt.Errorf("rows of %d elements are not whole blocks of %s", row, l.name)
	}
	t.size = int64(elems) / int64(l.elems) * int64(l.bytes)
	if t.at < 0 {
		return t, fmt.Errorf("offset %d", uint64(t.at))
	}
	return t, nil
}
