package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/grouse-rl/grouse"
)

// Names and versions of the schemas.
const (
	RolloutSchema  = "rollout"
	RolloutVersion = 1
	ScoreSchema    = "score"
	ScoreVersion   = 1
)

const (
	metaSchema  = "grouse.schema"
	metaVersion = "grouse.version"
)

// maxRows bounds a batch: candidate × sample.
const maxRows = 1 << 26

func listOf(t arrow.DataType) arrow.DataType {
	return arrow.ListOfField(arrow.Field{Name: "item", Type: t})
}

func required(name string, t arrow.DataType) arrow.Field { return arrow.Field{Name: name, Type: t} }

func optional(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: true}
}

func newSchema(name string, version int, fields ...arrow.Field) *arrow.Schema {
	meta := arrow.NewMetadata([]string{metaSchema, metaVersion}, []string{name, strconv.Itoa(version)})
	return arrow.NewSchema(fields, &meta)
}

// rolloutFields are the columns of rollout/1: one row a completion, sorted by
// candidate and sample. Fields may be added, never changed.
var rolloutFields = []arrow.Field{
	required("candidate", arrow.PrimitiveTypes.Uint32),                 // index in the step's candidate order
	required("sample", arrow.PrimitiveTypes.Uint16),                    // index within the group
	required("row_id", arrow.BinaryTypes.String),                       //
	required("domain", arrow.BinaryTypes.String),                       //
	required("prompt_ids", listOf(arrow.PrimitiveTypes.Int32)),         // [prompt]
	required("response_ids", listOf(arrow.PrimitiveTypes.Int32)),       // [T]
	optional("mask", listOf(arrow.PrimitiveTypes.Uint8)),               // [T], null: all ones
	required("rollout_logprobs", listOf(arrow.PrimitiveTypes.Float32)), // [T], nats
	optional("entropy", listOf(arrow.PrimitiveTypes.Float32)),          // [T], nats, null: the engine has none
	required("policy_version", listOf(arrow.PrimitiveTypes.Int64)),     // [T]
	required("finish", arrow.BinaryTypes.String),                       // stop | length | abort
	optional("kept_ids", listOf(arrow.PrimitiveTypes.Int32)),           // CSR, null: nothing was truncated
	optional("kept_offsets", listOf(arrow.PrimitiveTypes.Int32)),       // [T+1]
	optional("routed_experts", arrow.BinaryTypes.Binary),               // int16 little-endian [prompt+T-1, layers, k]
	required("routed_layers", arrow.PrimitiveTypes.Uint16),             //
	required("routed_k", arrow.PrimitiveTypes.Uint16),                  //
	required("temperature", arrow.PrimitiveTypes.Float32),              //
	required("top_k", arrow.PrimitiveTypes.Int32),                      //
	required("top_p", arrow.PrimitiveTypes.Float32),                    //
	required("min_p", arrow.PrimitiveTypes.Float32),                    //
	required("seed", arrow.PrimitiveTypes.Uint64),                      //
	optional("text", arrow.BinaryTypes.String),                         // response as text, for viewers
}

// scoreFields are the columns of score/1: one row a completion, sorted by
// candidate and sample.
var scoreFields = []arrow.Field{
	required("candidate", arrow.PrimitiveTypes.Uint32),
	required("sample", arrow.PrimitiveTypes.Uint16),
	optional("reward", arrow.PrimitiveTypes.Float64),    // null: no opinion
	optional("advantage", arrow.PrimitiveTypes.Float64), // null: not computed yet
	required("parts", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Float64)),
	required("outcome", arrow.BinaryTypes.String),
	required("explanation", arrow.BinaryTypes.String),
	optional("correct", arrow.FixedWidthTypes.Boolean), // null: no outcome reward
	optional("failure", arrow.BinaryTypes.String),      // why outcome is not scored
}

// Verify checks data against its SHA-256, hex. The error is Corrupt.
func Verify(sha256Hex string, data []byte) error {
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != sha256Hex {
		return grouse.Errorf(grouse.Corrupt, "batch of %d bytes has SHA-256 %.12s…, its reference says %.12s…", len(data), got, sha256Hex)
	}
	return nil
}

// encode writes one record as an Arrow IPC stream.
func encode(rec arrow.Record) ([]byte, error) {
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(rec.Schema()), ipc.WithAllocator(memory.NewGoAllocator()))
	if err := w.Write(rec); err != nil {
		return nil, grouse.Errorf(grouse.Internal, "encode batch: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, grouse.Errorf(grouse.Internal, "encode batch: %w", err)
	}
	return buf.Bytes(), nil
}

// decode reads the records of an IPC stream of the schema and calls read with
// each. A panic of the reader becomes a Corrupt error.
func decode(data []byte, name string, version int, fields []arrow.Field, read func(*columns) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = grouse.Errorf(grouse.Corrupt, "decode %s batch: %v", name, r)
		}
	}()
	r, err := ipc.NewReader(bytes.NewReader(data), ipc.WithAllocator(memory.NewGoAllocator()))
	if err != nil {
		return grouse.Errorf(grouse.Corrupt, "decode %s batch: %w", name, err)
	}
	defer r.Release()
	if err := checkSchema(r.Schema(), name, version); err != nil {
		return err
	}
	for r.Next() {
		c, err := newColumns(r.Record(), fields)
		if err == nil {
			err = read(c)
		}
		if err != nil {
			return grouse.Errorf(grouse.Corrupt, "decode %s batch: %w", name, err)
		}
	}
	if r.Err() != nil {
		return grouse.Errorf(grouse.Corrupt, "decode %s batch: %w", name, r.Err())
	}
	return nil
}

func checkSchema(s *arrow.Schema, name string, version int) error {
	meta := s.Metadata()
	value := func(key string) string {
		if i := meta.FindKey(key); i >= 0 {
			return meta.Values()[i]
		}
		return ""
	}
	if got := value(metaSchema); got != name {
		return grouse.Errorf(grouse.Corrupt, "decode batch: its schema is %q, want %q", got, name)
	}
	got, err := strconv.Atoi(value(metaVersion))
	switch {
	case err != nil || got < 1:
		return grouse.Errorf(grouse.Corrupt, "decode %s batch: version %q", name, value(metaVersion))
	case got > version:
		return grouse.Errorf(grouse.Invalid, "decode batch: it is %s/%d, this program reads up to %s/%d", name, got, name, version).
			WithFix("use the grouse that wrote it, or a newer one, everywhere in the run")
	}
	return nil
}

func badColumn(name, format string, args ...any) error {
	return fmt.Errorf("column %q: %s", name, fmt.Sprintf(format, args...))
}
