package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/grouse-rl/grouse"
)

// chunk is how many bytes are read and converted at a time.
const chunk = 1 << 20

// File is one open safetensors file. Its methods may be called from several
// goroutines at once.
type File struct {
	path   string
	r      io.ReaderAt
	closer io.Closer
	base   int64 // of the data in the file
	h      *header
}

// Open opens a file and checks its header. It returns a NotFound error if there
// is no such file and a Corrupt one that names the tensor if the header is not
// sound.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		kind := grouse.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			kind = grouse.NotFound
		}
		return nil, grouse.Errorf(kind, "open weights: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, grouse.Errorf(grouse.Invalid, "open weights: %w", err)
	}
	if !st.Mode().IsRegular() {
		f.Close()
		return nil, grouse.Errorf(grouse.Invalid, "open weights: %q is not a regular file", path)
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
	var length [8]byte
	if size < 8 {
		return nil, corrupt(path, fmt.Errorf("%d bytes are too few for a header", size))
	}
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, corrupt(path, err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > MaxHeader || int64(n) > size-8 {
		return nil, corrupt(path, fmt.Errorf("header of %d bytes in a file of %d (at most %d are read)", n, size, MaxHeader))
	}
	raw := make([]byte, n)
	if _, err := r.ReadAt(raw, 8); err != nil && err != io.EOF {
		return nil, corrupt(path, err)
	}
	h, err := parseHeader(raw, size-8-int64(n))
	if err != nil {
		return nil, corrupt(path, err)
	}
	return &File{path: path, r: r, base: 8 + int64(n), h: h}, nil
}

// Close closes the file.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Names returns the tensors' names, sorted.
func (f *File) Names() []string { return f.h.names() }

// Metadata returns the header's free metadata.
func (f *File) Metadata() map[string]string { return f.h.metadata }

// Info returns what the header says of a tensor.
func (f *File) Info(name string) (Info, bool) {
	t, ok := f.h.tensors[name]
	return t, ok
}

// Bytes returns a tensor's bytes as they are stored (little-endian).
func (f *File) Bytes(name string) ([]byte, error) {
	t, err := f.find(name)
	if err != nil {
		return nil, err
	}
	out := make([]byte, t.end-t.begin)
	return out, f.readAt(t, out, 0)
}

// Float32 converts a tensor to float32 into dst, [Info.Elems], row-major.
func (f *File) Float32(name string, dst []float32) error {
	t, err := f.find(name)
	if err != nil {
		return err
	}
	if len(dst) != t.Elems() {
		return grouse.Errorf(grouse.Invalid, "safetensors %q: tensor %q has %d elements, not %d", f.path, name, t.Elems(), len(dst))
	}
	size := t.DType.Size()
	buf := make([]byte, min(chunk, int(t.end-t.begin)))
	for done := 0; done < len(dst); {
		n := min(len(dst)-done, len(buf)/size)
		if err := f.readAt(t, buf[:n*size], int64(done*size)); err != nil {
			return err
		}
		t.DType.decode(dst[done:done+n], buf)
		done += n
	}
	return nil
}

func (f *File) find(name string) (Info, error) {
	t, ok := f.h.tensors[name]
	if !ok {
		return t, grouse.Errorf(grouse.NotFound, "safetensors %q: there is no tensor %q", f.path, name)
	}
	return t, nil
}

func (f *File) readAt(t Info, dst []byte, off int64) error {
	if len(dst) == 0 {
		return nil
	}
	if n, err := f.r.ReadAt(dst, f.base+t.begin+off); n != len(dst) {
		return corrupt(f.path, fmt.Errorf("tensor %q: %w", t.Name, err))
	}
	return nil
}
