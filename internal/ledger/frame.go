package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/grouse-rl/grouse"
)

const (
	headLen  = 8                                 // length and crc
	fixedLen = 1 + 8 + sha256.Size + sha256.Size // kind, seq, prev, sha256
	maxFrame = 16 << 20                          // most bytes of a record after its crc: bulk belongs into blobs
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Entry is one record as it lies in the ledger.
type Entry struct {
	Kind    grouse.RecordKind
	Seq     uint64            // from 1
	Prev    [sha256.Size]byte // SHA256 of the entry before
	Payload []byte            // canonical JSON
	SHA256  [sha256.Size]byte
}

func (e *Entry) digest(code byte) [sha256.Size]byte {
	h := sha256.New()
	var head [9]byte
	head[0] = code
	binary.LittleEndian.PutUint64(head[1:], e.Seq)
	h.Write(head[:])
	h.Write(e.Prev[:])
	h.Write(e.Payload)
	return [sha256.Size]byte(h.Sum(nil))
}

// appendFrame appends e's bytes to dst and sets e.SHA256.
func appendFrame(dst []byte, e *Entry) ([]byte, error) {
	code, ok := codes[e.Kind]
	if !ok {
		return dst, grouse.Errorf(grouse.Internal, "ledger: no code for a record of kind %q", e.Kind)
	}
	if n := fixedLen + len(e.Payload); n > maxFrame {
		return dst, grouse.Errorf(grouse.Internal, "ledger: a %s record of %d bytes is over the limit of %d: its bulk belongs into a blob", e.Kind, n, maxFrame)
	}
	e.SHA256 = e.digest(code)
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(fixedLen+len(e.Payload)))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, code)
	dst = binary.LittleEndian.AppendUint64(dst, e.Seq)
	dst = append(dst, e.Prev[:]...)
	dst = append(dst, e.Payload...)
	dst = append(dst, e.SHA256[:]...)
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+headLen:], castagnoli))
	return dst, nil
}

// parseFrame reads the record at the start of data: the record and its length
// in bytes, or what is wrong with it. The payload is a part of data.
func parseFrame(data []byte) (Entry, int, error) {
	if len(data) < headLen {
		return Entry{}, 0, fmt.Errorf("%d bytes where a record's head of %d should be", len(data), headLen)
	}
	n := int(binary.LittleEndian.Uint32(data))
	if n < fixedLen || n > maxFrame {
		return Entry{}, 0, fmt.Errorf("a length of %d bytes", n)
	}
	if len(data) < headLen+n {
		return Entry{}, 0, fmt.Errorf("%d bytes of a record of %d", len(data)-headLen, n)
	}
	body := data[headLen : headLen+n]
	if got, want := crc32.Checksum(body, castagnoli), binary.LittleEndian.Uint32(data[4:]); got != want {
		return Entry{}, 0, fmt.Errorf("crc32c %08x, recorded %08x", got, want)
	}
	kind, ok := kinds[body[0]]
	if !ok {
		return Entry{}, 0, fmt.Errorf("kind %d is unknown: a newer grouse wrote it", body[0])
	}
	e := Entry{
		Kind:    kind,
		Seq:     binary.LittleEndian.Uint64(body[1:]),
		Prev:    [sha256.Size]byte(body[9:]),
		Payload: body[9+sha256.Size : n-sha256.Size : n-sha256.Size],
		SHA256:  [sha256.Size]byte(body[n-sha256.Size:]),
	}
	if e.digest(body[0]) != e.SHA256 {
		return Entry{}, 0, fmt.Errorf("sha256 is not that of the record")
	}
	return e, headLen + n, nil
}

// canonical returns v as JSON with sorted keys and without spaces, the bytes
// that are hashed.
func canonical(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.UseNumber() // digits stay as they are
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
