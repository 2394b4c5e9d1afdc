package code

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The two processes of a function test exchange frames, one at a time and in turn:
// four bytes of length (little-endian), a kind, a value. Numbers are little-endian,
// counts have four bytes:
//
//	N T F            None, True, False
//	i count bytes    int, two's complement
//	f 32 bytes       float as float.hex writes it, filled with spaces
//	c 64 bytes       complex: two floats
//	s b count bytes  str (UTF-8, lone surrogates encoded as such), bytes
//	l t S Z count    list, tuple, set, frozenset, and their values
//	d count          dict, and its keys and values in turn
//	n count bytes    a builtin of Python's by its name, from the tests only
//	h x 8 bytes      a thing of the program's, a function of the tests'
//
// Nothing else exists: no code, no type of the program's, no reference that could
// run when it is read. What the program sends is checked here before the tests'
// process sees it, so that the reader there may trust lengths, counts and depth.
const (
	maxFrame = 16 << 20
	maxDepth = 102 // the writer's limit and the frame's own tuple
	maxNodes = 1 << 20
	floatLen = 32
)

// Kinds of frames from the tests: N name, C call, G getattr, S setattr, I iter, X
// next, R result, K broken tests, D the tests' process ended; from the program: M no such name, Z no more, B call
// of a function of the tests'; from both: V value, E exception.
const (
	fromProgram = "VEMZB"
	fromTests   = "NCGSIXVERKD"
)

// errWire is a frame that is not what it should be.
var errWire = errors.New("bad message")

// readFrame reads one frame. io.EOF: the other side has ended.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, io.EOF
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > maxFrame+1 {
		return nil, fmt.Errorf("%w: %d bytes", errWire, n)
	}
	frame := make([]byte, 0, min(n, 1<<16)) // a length alone reserves nothing
	var part [1 << 15]byte
	for uint32(len(frame)) < n {
		k, err := r.Read(part[:min(uint32(len(part)), n-uint32(len(frame)))])
		frame = append(frame, part[:k]...)
		if err != nil {
			return nil, io.EOF
		}
	}
	return frame, nil
}

// writeFrame writes a frame.
func writeFrame(w io.Writer, frame []byte) error {
	_, err := w.Write(append(binary.LittleEndian.AppendUint32(make([]byte, 0, len(frame)+4), uint32(len(frame))), frame...))
	return err
}

// checkFrame refuses a frame whose kind is none of kinds or whose value is not one
// well-formed value.
func checkFrame(frame []byte, kinds string) error {
	_, err := parseFrame(frame, kinds)
	return err
}

// reference is a thing or a function: it has a meaning for the two processes only.
type reference struct {
	kind byte
	n    uint64
}

// parseFrame returns the value of a frame: nil, bool, string, []byte, []any and what
// else a judge has no use for, as its bytes.
func parseFrame(frame []byte, kinds string) (any, error) {
	if len(frame) == 0 || strings.IndexByte(kinds, frame[0]) < 0 {
		return nil, fmt.Errorf("%w: kind %.1q", errWire, frame)
	}
	p := parser{rest: frame[1:], nodes: maxNodes, names: kinds == fromTests}
	v, err := p.value(0, false)
	if err == nil && len(p.rest) > 0 {
		err = fmt.Errorf("%w: %d bytes too many", errWire, len(p.rest))
	}
	return v, err
}

type parser struct {
	rest  []byte
	nodes int  // that may still come
	names bool // builtins may come
}

func (p *parser) take(n int) ([]byte, error) {
	if n > len(p.rest) {
		return nil, fmt.Errorf("%w: it is cut off", errWire)
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b, nil
}

// value parses a value; hashable: one that Python can hash, for sets and keys.
func (p *parser) value(depth int, hashable bool) (any, error) {
	if p.nodes--; p.nodes < 0 || depth > maxDepth {
		return nil, fmt.Errorf("%w: more than %d values, or deeper than %d", errWire, maxNodes, maxDepth)
	}
	b, err := p.take(1)
	if err != nil {
		return nil, err
	}
	kind := b[0]
	switch kind {
	case 'N':
		return nil, nil
	case 'T', 'F':
		return kind == 'T', nil
	case 'f', 'c':
		n := floatLen
		if kind == 'c' {
			n *= 2
		}
		b, err := p.take(n)
		if err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[floatLen:] {
			if err := checkFloat(string(b[:floatLen])); err != nil {
				return nil, err
			}
		}
		return b, nil
	case 'h', 'x':
		b, err := p.take(8)
		if err != nil {
			return nil, err
		}
		return reference{kind, binary.LittleEndian.Uint64(b)}, nil
	case 'i', 's', 'b', 'l', 't', 'S', 'Z', 'd':
	case 'n':
		if !p.names {
			return nil, fmt.Errorf("%w: a builtin", errWire)
		}
	default:
		return nil, fmt.Errorf("%w: value of kind %q", errWire, kind)
	}
	if b, err = p.take(4); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(b))
	switch kind {
	case 'i', 's', 'b', 'n':
		b, err := p.take(n)
		if err != nil {
			return nil, err
		}
		if kind == 's' {
			if !validText(b) {
				return nil, fmt.Errorf("%w: text that is not UTF-8", errWire)
			}
			return string(b), nil
		}
		return b, nil
	}
	if hashable && kind != 't' && kind != 'Z' {
		return nil, fmt.Errorf("%w: a %q cannot be hashed", errWire, kind)
	}
	if kind == 'd' {
		n *= 2
	}
	if n > len(p.rest) {
		return nil, fmt.Errorf("%w: %d values in %d bytes", errWire, n, len(p.rest))
	}
	var out []any
	for i := range n {
		v, err := p.value(depth+1, hashable || kind == 'S' || kind == 'Z' || kind == 'd' && i%2 == 0)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// checkFloat accepts what float.hex writes, filled with spaces.
func checkFloat(s string) error {
	s = strings.TrimRight(s, " ")
	switch s {
	case "nan", "inf", "-inf":
		return nil
	}
	digits, ok := strings.CutPrefix(strings.TrimPrefix(s, "-"), "0x")
	if !ok || strings.Trim(digits, "0123456789abcdef.p+-") != "" {
		return fmt.Errorf("%w: float %q", errWire, s)
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		return fmt.Errorf("%w: float %q", errWire, s)
	}
	return nil
}

// validText accepts UTF-8, and in it surrogates as Python's surrogatepass writes them.
func validText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			if len(b) < 3 || b[0] != 0xed || b[1] < 0xa0 || b[1] > 0xbf || b[2] < 0x80 || b[2] > 0xbf {
				return false
			}
			n = 3
		}
		b = b[n:]
	}
	return true
}

// appendValue encodes what a judge sends: bool, string, []string, or []any as a tuple.
func appendValue(b []byte, v any) []byte {
	text := func(s string) {
		b = append(b, 's')
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, 'T')
		}
		return append(b, 'F')
	case string:
		text(v)
	case []string:
		b = append(b, 'l')
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		for _, s := range v {
			text(s)
		}
	case []any:
		b = append(b, 't')
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		for _, x := range v {
			b = appendValue(b, x)
		}
	default:
		panic(fmt.Sprintf("code: no encoding of a %T", v))
	}
	return b
}
