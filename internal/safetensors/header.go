package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sort"

	"github.com/grouse-rl/grouse"
)

// MaxHeader is the largest header that is read, in bytes (the limit of the
// reference implementation).
const MaxHeader = 100_000_000

// maxRank bounds a tensor's dimensions.
const maxRank = 16

// Info describes one tensor.
type Info struct {
	Name  string
	DType DType
	Shape []int // nil or empty: a scalar

	// begin and end are the tensor's bytes, counted from the end of the
	// header. Invariant: 0 <= begin <= end <= data length, and
	// end-begin == Elems()*DType.Size().
	begin, end int64
}

// Elems returns the number of elements.
func (t Info) Elems() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// header is a parsed header: tensors by name, and the free metadata.
type header struct {
	tensors  map[string]Info
	metadata map[string]string
}

// parseHeader parses a header whose file has dataLen bytes after it. Errors
// name the tensor.
func parseHeader(raw []byte, dataLen int64) (*header, error) {
	h := &header{tensors: map[string]Info{}, metadata: map[string]string{}}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	seen := map[string]bool{}
	err := object(dec, seen, func(name string) error {
		if name == "__metadata__" {
			return parseMetadata(dec, h.metadata)
		}
		t, err := parseTensor(dec, name, dataLen)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		h.tensors[name] = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("header: more than one JSON value")
	}
	return h, h.checkLayout(dataLen)
}

// checkLayout refuses overlaps and gaps: the tensors must tile the data.
func (h *header) checkLayout(dataLen int64) error {
	all := make([]Info, 0, len(h.tensors))
	for _, t := range h.tensors {
		all = append(all, t)
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.begin != b.begin {
			return a.begin < b.begin
		}
		if a.end != b.end {
			return a.end < b.end
		}
		return a.Name < b.Name
	})
	at, last := int64(0), "the header"
	for _, t := range all {
		switch {
		case t.begin < at:
			return fmt.Errorf("tensor %q: its bytes %d to %d overlap %s", t.Name, t.begin, t.end, last)
		case t.begin > at:
			return fmt.Errorf("tensor %q: %d unused bytes between %s and it", t.Name, t.begin-at, last)
		}
		at, last = t.end, fmt.Sprintf("tensor %q", t.Name)
	}
	if at != dataLen {
		return fmt.Errorf("%d bytes of data after the header, the tensors take %d: the file is cut off or has been added to", dataLen, at)
	}
	return nil
}

func parseTensor(dec *json.Decoder, name string, dataLen int64) (Info, error) {
	t := Info{Name: name, begin: -1, end: -1}
	shape := false
	err := object(dec, map[string]bool{}, func(key string) error {
		switch key {
		case "dtype":
			s, err := dec.Token()
			d, ok := s.(string)
			if err != nil || !ok {
				return fmt.Errorf("dtype is not a string")
			}
			t.DType = DType(d)
			if t.DType.Size() == 0 {
				return fmt.Errorf("dtype %q is not supported", d)
			}
			return nil
		case "shape":
			dims, err := integers(dec, maxRank)
			if err != nil {
				return fmt.Errorf("shape: %w", err)
			}
			for _, d := range dims {
				t.Shape = append(t.Shape, int(d))
			}
			shape = true
			return nil
		case "data_offsets":
			offs, err := integers(dec, 2)
			if err != nil || len(offs) != 2 {
				return fmt.Errorf("data_offsets is not two byte positions")
			}
			t.begin, t.end = offs[0], offs[1]
			return nil
		}
		var skip json.RawMessage
		return dec.Decode(&skip)
	})
	switch {
	case err != nil:
		return t, err
	case t.DType == "" || !shape || t.begin < 0:
		return t, fmt.Errorf("dtype, shape or data_offsets is missing")
	case t.begin > t.end || t.end > dataLen:
		return t, fmt.Errorf("data_offsets [%d, %d] do not lie in the file's %d bytes of data", t.begin, t.end, dataLen)
	}
	want := uint64(t.DType.Size())
	for _, d := range t.Shape {
		hi, lo := bits.Mul64(want, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return t, fmt.Errorf("shape %v overflows", t.Shape)
		}
		want = lo
	}
	if uint64(t.end-t.begin) != want {
		return t, fmt.Errorf("shape %v of %s takes %d bytes, data_offsets span %d", t.Shape, t.DType, want, t.end-t.begin)
	}
	return t, nil
}

func parseMetadata(dec *json.Decoder, into map[string]string) error {
	return object(dec, map[string]bool{}, func(key string) error {
		tok, err := dec.Token()
		s, ok := tok.(string)
		if err != nil || !ok {
			return fmt.Errorf("__metadata__: %q is not a string", key)
		}
		into[key] = s
		return nil
	})
}

// object reads a JSON object and calls value at each key's value, which it must
// consume. A key that comes twice is an error.
func object(dec *json.Decoder, seen map[string]bool, value func(key string) error) error {
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return fmt.Errorf("header: not a JSON object (%v)", tokenText(tok, err))
	}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return fmt.Errorf("header: %w", err)
		}
		key, ok := tok.(string)
		if !ok {
			return fmt.Errorf("header: key %v is not a string", tok)
		}
		if seen[key] {
			return fmt.Errorf("header: %q appears twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	return nil
}

func tokenText(tok json.Token, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("found %v", tok)
}

// integers reads a JSON array of at most limit non-negative integers.
func integers(dec *json.Decoder, limit int) ([]int64, error) {
	if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
		return nil, fmt.Errorf("not an array")
	}
	var out []int64
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		num, ok := tok.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%v is not a number", tok)
		}
		n, err := num.Int64()
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s is not a non-negative integer", num)
		}
		if len(out) == limit {
			return nil, fmt.Errorf("more than %d numbers", limit)
		}
		out = append(out, n)
	}
	_, err := dec.Token()
	return out, err
}

func (h *header) names() []string {
	names := make([]string, 0, len(h.tensors))
	for n := range h.tensors {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func corrupt(path string, err error) error {
	return grouse.Errorf(grouse.Corrupt, "safetensors %q: %w", path, err).
		WithFix("fetch or copy the file again")
}
