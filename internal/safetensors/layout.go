package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/grouse-rl/grouse"
)

// Layout is the header and the places of tensors in a file that is written
// piece by piece, in any order, without holding the tensors in memory. The bytes
// are those of [Write].
type Layout struct {
	header []byte
	size   int64
	place  map[string]placed
}

type placed struct {
	tensor Tensor
	at     int64 // in the file
}

// NewLayout lays out tensors by name, type and shape; their data is not read.
func NewLayout(tensors []Tensor, metadata map[string]string) (*Layout, error) {
	order := slices.Clone(tensors)
	sort.SliceStable(order, func(i, j int) bool {
		a, b := order[i].dtype().Size(), order[j].dtype().Size()
		if a != b {
			return a > b
		}
		return order[i].Name < order[j].Name
	})
	head := map[string]any{}
	if len(metadata) > 0 {
		head["__metadata__"] = metadata
	}
	l := &Layout{place: map[string]placed{}}
	at := int64(0)
	for _, t := range order {
		if err := t.checkShape(); err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "write tensor %q: %w", t.Name, err)
		}
		if _, twice := l.place[t.Name]; twice {
			return nil, grouse.Errorf(grouse.Invalid, "write tensor %q: it is given twice", t.Name)
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		head[t.Name] = jsonTensor{t.dtype(), shape, [2]int64{at, at + t.Size()}}
		l.place[t.Name] = placed{t, at}
		at += t.Size()
	}
	raw, err := json.Marshal(head) // map keys come out sorted
	if err != nil {
		return nil, err
	}
	for len(raw)%8 != 0 {
		raw = append(raw, ' ')
	}
	l.header = append(binary.LittleEndian.AppendUint64(nil, uint64(len(raw))), raw...)
	l.size = int64(len(l.header)) + at
	for name, p := range l.place {
		p.at += int64(len(l.header))
		l.place[name] = p
	}
	return l, nil
}

// Size returns the bytes of the file.
func (l *Layout) Size() int64 { return l.size }

// WriteHeader writes the header at the beginning of w.
func (l *Layout) WriteHeader(w io.WriterAt) error {
	_, err := w.WriteAt(l.header, 0)
	return err
}

// Put writes one tensor's values, row-major, to its place.
func (l *Layout) Put(w io.WriterAt, name string, data []float32) error {
	p, ok := l.place[name]
	if !ok {
		return grouse.Errorf(grouse.Invalid, "write tensor %q: it was not laid out", name)
	}
	t := p.tensor
	t.Data, t.Raw = data, nil
	if err := t.check(); err != nil {
		return grouse.Errorf(grouse.Invalid, "write tensor %q: %w", name, err)
	}
	if err := t.writeData(io.NewOffsetWriter(w, p.at)); err != nil {
		return fmt.Errorf("write tensor %q: %w", name, err)
	}
	return nil
}
