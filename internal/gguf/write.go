package gguf

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/safetensors"
)

// KV is one key of the metadata: a uint32, uint64, int32, float32, bool, string, []string,
// []int32 or []float32.
type KV struct {
	Key   string
	Value any
}

// Tensor is one tensor to be written. Data is called once, when its turn comes,
// and gives the values row-major.
type Tensor struct {
	Name  string
	Shape []int // row-major
	Type  Type  // F32, F16, BF16 or Q8_0
	Data  func() ([]float32, error)
}

// Write writes a GGUF file of version 3, keys and tensors in the order given.
func Write(w io.Writer, metadata []KV, tensors []Tensor) error {
	out := bufio.NewWriterSize(w, 1<<20)
	var head bytes.Buffer
	le := binary.LittleEndian
	u32 := func(v uint32) { binary.Write(&head, le, v) }
	u64 := func(v uint64) { binary.Write(&head, le, v) }
	str := func(s string) { u64(uint64(len(s))); head.WriteString(s) }
	u32(magic)
	u32(maxVersion)
	u64(uint64(len(tensors)))
	u64(uint64(len(metadata)))
	for _, kv := range metadata {
		str(kv.Key)
		switch v := kv.Value.(type) {
		case uint32:
			u32(kindU32)
			u32(v)
		case uint64:
			u32(kindU64)
			u64(v)
		case int32:
			u32(kindI32)
			u32(uint32(v))
		case float32:
			u32(kindF32)
			u32(math.Float32bits(v))
		case bool:
			u32(kindBool)
			head.WriteByte(map[bool]byte{true: 1}[v])
		case string:
			u32(kindString)
			str(v)
		case []string:
			u32(kindArray)
			u32(kindString)
			u64(uint64(len(v)))
			for _, s := range v {
				str(s)
			}
		case []int32:
			u32(kindArray)
			u32(kindI32)
			u64(uint64(len(v)))
			binary.Write(&head, le, v)
		case []float32:
			u32(kindArray)
			u32(kindF32)
			u64(uint64(len(v)))
			binary.Write(&head, le, v)
		default:
			return grouse.Errorf(grouse.Invalid, "write gguf: key %q has a value of type %T", kv.Key, kv.Value)
		}
	}
	at := uint64(0)
	sizes := make([]uint64, len(tensors))
	for i, t := range tensors {
		l, elems := layouts[t.Type], 1
		for _, d := range t.Shape {
			elems *= d
		}
		if len(t.Shape) == 0 || elems <= 0 || encoders[t.Type] == nil || t.Shape[len(t.Shape)-1]%l.elems != 0 {
			return grouse.Errorf(grouse.Invalid, "write gguf: tensor %q of shape %v cannot be written as %s", t.Name, t.Shape, t.Type)
		}
		str(t.Name)
		u32(uint32(len(t.Shape)))
		for j := len(t.Shape) - 1; j >= 0; j-- {
			u64(uint64(t.Shape[j]))
		}
		u32(uint32(t.Type))
		u64(at)
		sizes[i] = uint64(elems / l.elems * l.bytes)
		at += align(sizes[i])
	}
	pad := func(n uint64) { out.Write(make([]byte, align(n)-n)) }
	if _, err := out.Write(head.Bytes()); err != nil {
		return fmt.Errorf("write gguf: %w", err)
	}
	pad(uint64(head.Len()))
	for i, t := range tensors {
		data, err := t.Data()
		if err != nil {
			return fmt.Errorf("write gguf: tensor %q: %w", t.Name, err)
		}
		l := layouts[t.Type]
		if uint64(len(data)/l.elems*l.bytes) != sizes[i] || len(data)%l.elems != 0 {
			return grouse.Errorf(grouse.Invalid, "write gguf: tensor %q has %d values for shape %v", t.Name, len(data), t.Shape)
		}
		block := make([]byte, l.bytes)
		for j := 0; j < len(data); j += l.elems {
			encoders[t.Type](block, data[j:j+l.elems])
			if _, err := out.Write(block); err != nil {
				return fmt.Errorf("write gguf: tensor %q: %w", t.Name, err)
			}
		}
		pad(sizes[i])
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write gguf: %w", err)
	}
	return nil
}

func align(n uint64) uint64 { return (n + defaultAlign - 1) / defaultAlign * defaultAlign }

var encoders = map[Type]func(block []byte, x []float32){
	F32:  func(b []byte, x []float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(x[0])) },
	F16:  func(b []byte, x []float32) { binary.LittleEndian.PutUint16(b, safetensors.ToFloat16(x[0])) },
	BF16: func(b []byte, x []float32) { binary.LittleEndian.PutUint16(b, safetensors.ToBFloat16(x[0])) },
	Q8_0: encodeQ8_0,
}

// encodeQ8_0: d = max|x|/127, q = round(x/d), halves away from zero.
func encodeQ8_0(b []byte, x []float32) {
	biggest := float32(0)
	for _, v := range x {
		biggest = max(biggest, float32(math.Abs(float64(v))))
	}
	d, inverse := biggest/127, float32(0)
	if d != 0 {
		inverse = 1 / d
	}
	binary.LittleEndian.PutUint16(b, safetensors.ToFloat16(d))
	for i, v := range x {
		b[2+i] = byte(int8(math.Round(float64(v * inverse))))
	}
}
