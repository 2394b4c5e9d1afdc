package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/grouse-rl/grouse/internal/safetensors"
)

// Type is a tensor's storage, with the numbers of ggml.
type Type uint32

const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q8_0 Type = 8
	Q4_K Type = 12
	Q6_K Type = 14
	BF16 Type = 30
)

// layout is how a type stores elements: blocks of elems in bytes bytes.
type layout struct {
	name         string
	elems, bytes int
	decode       func(dst []float32, block []byte)
}

var layouts = map[Type]layout{
	F32:  {"F32", 1, 4, func(dst []float32, b []byte) { dst[0] = math.Float32frombits(binary.LittleEndian.Uint32(b)) }},
	F16:  {"F16", 1, 2, func(dst []float32, b []byte) { dst[0] = half(b) }},
	BF16: {"BF16", 1, 2, func(dst []float32, b []byte) { dst[0] = safetensors.BFloat16(binary.LittleEndian.Uint16(b)) }},
	Q8_0: {"Q8_0", 32, 34, decodeQ8_0},
	Q4_0: {"Q4_0", 32, 18, decodeQ4_0},
	Q4_1: {"Q4_1", 32, 20, decodeQ4_1},
	Q4_K: {"Q4_K", 256, 144, decodeQ4_K},
	Q6_K: {"Q6_K", 256, 210, decodeQ6_K},
}

// otherTypes are ggml's types that are not read, for errors.
var otherTypes = map[Type]string{
	6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
	20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

func (t Type) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	if name, ok := otherTypes[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

func half(b []byte) float32 { return safetensors.Float16(binary.LittleEndian.Uint16(b)) }

// decodeQ8_0: d f16, 32 × int8. x = d·q.
func decodeQ8_0(dst []float32, b []byte) {
	d := half(b)
	for i := range 32 {
		dst[i] = d * float32(int8(b[2+i]))
	}
}

// decodeQ4_0: d f16, 16 bytes of two nibbles (i and i+16). x = d·(q-8).
func decodeQ4_0(dst []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:18] {
		dst[i] = d * float32(int(q&15)-8)
		dst[i+16] = d * float32(int(q>>4)-8)
	}
}

// decodeQ4_1: d f16, m f16, 16 bytes of two nibbles. x = d·q + m.
func decodeQ4_1(dst []float32, b []byte) {
	d, m := half(b), half(b[2:])
	for i, q := range b[4:20] {
		dst[i] = float32(d*float32(q&15)) + m
		dst[i+16] = float32(d*float32(q>>4)) + m
	}
}

// decodeQ4_K: d f16, dmin f16, 12 bytes of 8 six-bit scales and minima, 128 bytes
// of nibbles. x = d·scale·q - dmin·min.
func decodeQ4_K(dst []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	s, qs := b[4:16], b[16:144]
	for j := range 8 {
		var scale, minimum byte
		if j < 4 {
			scale, minimum = s[j]&63, s[j+4]&63
		} else {
			scale = s[j+4]&15 | s[j-4]>>6<<4
			minimum = s[j+4]>>4 | s[j]>>6<<4
		}
		ds, dm := d*float32(scale), dmin*float32(minimum)
		for i := range 32 {
			q := qs[j/2*32+i]
			if j%2 == 0 {
				q &= 15
			} else {
				q >>= 4
			}
			dst[32*j+i] = float32(ds*float32(q)) - dm
		}
	}
}

// decodeQ6_K: 128 bytes of low nibbles, 64 bytes of two high bits, 16 int8 scales,
// d f16. x = d·scale·(q-32).
func decodeQ6_K(dst []float32, b []byte) {
	ql, qh, sc, d := b[:128], b[128:192], b[192:208], half(b[208:])
	for i := range 256 {
		n, l := i/128, i%128
		group, at := l/32, l%32
		low := ql[64*n+32*(group%2)+at]
		if group >= 2 {
			low >>= 4
		}
		high := qh[32*n+at] >> (2 * group)
		q := int(low&15|high&3<<4) - 32
		dst[i] = float32(d*float32(int8(sc[i/16]))) * float32(q)
	}
}
