package safetensors

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"

	"github.com/grouse-rl/grouse"
)

// Tensor is one tensor to be written: values as float32, rounded to DType (F32,
// F16 or BF16), or Raw bytes of any DType.
type Tensor struct {
	Name  string
	DType DType // "": F32
	Shape []int
	Data  []float32 // row-major; not read if Raw or Read is set
	Raw   []byte    // little-endian
	// Read, if not nil, returns Data when the tensor's turn to be written comes: one tensor
	// at a time is in memory then.
	Read func() []float32
}

// Size returns the bytes the tensor takes in the file.
func (t *Tensor) Size() int64 {
	n := int64(t.dtype().Size())
	for _, d := range t.Shape {
		n *= int64(d)
	}
	return n
}

func (t *Tensor) dtype() DType {
	if t.DType == "" {
		return F32
	}
	return t.DType
}

func (t *Tensor) checkShape() error {
	for _, d := range t.Shape {
		if d < 0 {
			return fmt.Errorf("shape %v", t.Shape)
		}
	}
	switch d := t.dtype(); {
	case t.Name == "" || t.Name == "__metadata__":
		return fmt.Errorf("the name cannot be used")
	case d.Size() == 0:
		return fmt.Errorf("dtype %q is not supported", d)
	}
	return nil
}

func (t *Tensor) check() error {
	if err := t.checkShape(); err != nil {
		return err
	}
	switch d := t.dtype(); {
	case t.Raw != nil:
		if int64(len(t.Raw)) != t.Size() {
			return fmt.Errorf("%d bytes for shape %v of %s", len(t.Raw), t.Shape, d)
		}
	case d != F32 && d != F16 && d != BF16:
		return fmt.Errorf("float32 values cannot be written as %s", d)
	case t.Read == nil:
		return t.checkData(t.Data)
	}
	return nil
}

func (t *Tensor) checkData(data []float32) error {
	if int64(len(data))*int64(t.dtype().Size()) != t.Size() {
		return fmt.Errorf("%d values for shape %v", len(data), t.Shape)
	}
	return nil
}

type jsonTensor struct {
	DType   DType    `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Write writes the tensors, wider element types first and then by name, so that
// the same tensors and metadata make the same bytes and every tensor is
// aligned to its element. metadata may be nil; readers of transformers want
// {"format": "pt"}.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	l, err := NewLayout(tensors, metadata)
	if err != nil {
		return err
	}
	for i := range tensors {
		if err := tensors[i].check(); err != nil {
			return grouse.Errorf(grouse.Invalid, "write tensor %q: %w", tensors[i].Name, err)
		}
	}
	order := slices.Clone(tensors)
	sort.Slice(order, func(i, j int) bool { // empty tensors share a place
		return l.place[order[i].Name].at < l.place[order[j].Name].at
	})
	out := bufio.NewWriterSize(w, 1<<20)
	if _, err := out.Write(l.header); err != nil {
		return err
	}
	for i := range order {
		if err := order[i].writeData(out); err != nil {
			return fmt.Errorf("write tensor %q: %w", order[i].Name, err)
		}
	}
	return out.Flush()
}

func (t *Tensor) writeData(w io.Writer) error {
	if t.Raw != nil {
		_, err := w.Write(t.Raw)
		return err
	}
	data := t.Data
	if t.Read != nil {
		data = t.Read()
		if err := t.checkData(data); err != nil {
			return err
		}
	}
	var buf [1 << 14]byte
	size := t.dtype().Size()
	for len(data) > 0 {
		n := min(len(data), len(buf)/size)
		for i, v := range data[:n] {
			switch t.dtype() {
			case F16:
				binary.LittleEndian.PutUint16(buf[2*i:], ToFloat16(v))
			case BF16:
				binary.LittleEndian.PutUint16(buf[2*i:], ToBFloat16(v))
			default:
				binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
			}
		}
		if _, err := w.Write(buf[:n*size]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// Shard is one file of a model folder.
type Shard struct {
	Name    string
	Tensors []Tensor
}

// Plan divides tensors, by name, into files of at most maxBytes of data each (0:
// one file; a larger tensor gets a file of its own), named as transformers does. The
// index is nil for a single file.
func Plan(tensors []Tensor, maxBytes int64) ([]Shard, *Index) {
	order := slices.Clone(tensors)
	sort.SliceStable(order, func(i, j int) bool { return order[i].Name < order[j].Name })
	var shards []Shard
	var size, total int64
	for _, t := range order {
		n := t.Size()
		if len(shards) == 0 || (maxBytes > 0 && size > 0 && size+n > maxBytes) {
			shards, size = append(shards, Shard{}), 0
		}
		last := &shards[len(shards)-1]
		last.Tensors = append(last.Tensors, t)
		size += n
		total += n
	}
	if len(shards) <= 1 {
		return []Shard{{Name: SingleName, Tensors: order}}, nil
	}
	index := &Index{Metadata: map[string]any{"total_size": total}, WeightMap: map[string]string{}}
	for i := range shards {
		shards[i].Name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		for _, t := range shards[i].Tensors {
			index.WeightMap[t.Name] = shards[i].Name
		}
	}
	return shards, index
}
