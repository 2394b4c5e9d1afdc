package fuel

import (
	"fmt"
	"unicode/utf8"
)

// reader reads a range of a module. The first error sticks: after it every read gives
// zero and nothing moves.
type reader struct {
	data []byte // the whole module
	pos  int
	end  int // of the range
	err  *SyntaxError
}

func (r *reader) failf(format string, args ...any) {
	if r.err == nil {
		r.err = &SyntaxError{Offset: r.pos, What: fmt.Sprintf(format, args...)}
		r.pos = r.end
	}
}

func (r *reader) left() int  { return r.end - r.pos }
func (r *reader) more() bool { return r.err == nil && r.pos < r.end }

func (r *reader) byte() byte {
	if !r.more() {
		r.failf("the module ends in the middle")
		return 0
	}
	r.pos++
	return r.data[r.pos-1]
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n > r.left() {
		r.failf("%d bytes, but only %d are left", n, r.left())
		return nil
	}
	r.pos += n
	return r.data[r.pos-n : r.pos]
}

// u32 reads an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				r.failf("a number of more than 32 bits")
				return 0
			}
			return uint32(v)
		}
	}
	r.failf("a number of more than 32 bits")
	return 0
}

// skipSigned reads over a signed LEB128 of at most bits bits; the engine checks its value.
func (r *reader) skipSigned(bits int) {
	for n := 0; n < (bits+6)/7; n++ {
		if r.byte() < 0x80 {
			return
		}
	}
	r.failf("a number of more than %d bits", bits)
}

// count reads a vector's length. Each element has at least one byte.
func (r *reader) count(of string) int {
	n := r.u32()
	if r.err == nil && int64(n) > int64(r.left()) {
		r.failf("%d %s in %d bytes", n, of, r.left())
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	b := r.bytes(r.count("bytes of a name"))
	if !utf8.Valid(b) {
		r.failf("a name that is not UTF-8")
	}
	return string(b)
}

// sub returns a reader of the next n bytes, which it steps over.
func (r *reader) sub(n int) *reader {
	start := r.pos
	r.bytes(n)
	return &reader{data: r.data, pos: start, end: r.pos, err: r.err}
}

// done fails unless all was read.
func (r *reader) done(what string) {
	if r.err == nil && r.pos != r.end {
		r.failf("%d bytes too many in the %s", r.left(), what)
	}
}

// appendU32 appends an unsigned LEB128.
func appendU32(dst []byte, v uint32) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// appendS64 appends a signed LEB128.
func appendS64(dst []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(dst, b)
		}
		dst = append(dst, b|0x80)
	}
}

func appendName(dst []byte, s string) []byte {
	return append(appendU32(dst, uint32(len(s))), s...)
}
