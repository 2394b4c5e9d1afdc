package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/grouse-rl/grouse"
)

// MetricRow is the metrics of one step.
type MetricRow struct {
	Stage  int
	Step   int64
	Values map[string]float64
}

// ArchiveMetrics writes metrics as a long Parquet table: stage, step, name, value.
func ArchiveMetrics(w io.Writer, rows []MetricRow) error {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), newSchema("metrics", 1,
		required("stage", arrow.PrimitiveTypes.Int32), required("step", arrow.PrimitiveTypes.Int64),
		required("name", arrow.BinaryTypes.String), required("value", arrow.PrimitiveTypes.Float64)))
	defer b.Release()
	for _, r := range rows {
		names := make([]string, 0, len(r.Values))
		for n := range r.Values {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			b.Field(0).(*array.Int32Builder).Append(int32(r.Stage))
			b.Field(1).(*array.Int64Builder).Append(r.Step)
			b.Field(2).(*array.StringBuilder).Append(n)
			b.Field(3).(*array.Float64Builder).Append(r.Values[n])
		}
	}
	rec := b.NewRecord()
	defer rec.Release()
	return writeParquet(w, rec)
}

// LedgerRow is one record of the ledger.
type LedgerRow struct {
	Seq     uint64
	Kind    string
	Key     string
	SHA256  string
	Payload []byte // canonical JSON
}

// ArchiveLedger writes the ledger as a Parquet table: seq, kind, key, sha256, payload.
func ArchiveLedger(w io.Writer, rows []LedgerRow) error {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), newSchema("ledger", 1,
		required("seq", arrow.PrimitiveTypes.Uint64), required("kind", arrow.BinaryTypes.String), required("key", arrow.BinaryTypes.String),
		required("sha256", arrow.BinaryTypes.String), required("payload", arrow.BinaryTypes.String)))
	defer b.Release()
	for _, r := range rows {
		b.Field(0).(*array.Uint64Builder).Append(r.Seq)
		b.Field(1).(*array.StringBuilder).Append(r.Kind)
		b.Field(2).(*array.StringBuilder).Append(r.Key)
		b.Field(3).(*array.StringBuilder).Append(r.SHA256)
		b.Field(4).(*array.StringBuilder).Append(string(r.Payload))
	}
	rec := b.NewRecord()
	defer rec.Release()
	return writeParquet(w, rec)
}

// writeParquet writes one record. Snappy, because nested columns are slow enough
// without a thorough compressor.
func writeParquet(w io.Writer, rec arrow.Record) error {
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy), parquet.WithCreatedBy("grouse"))
	pw, err := pqarrow.NewFileWriter(rec.Schema(), noClose{w}, props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return grouse.Errorf(grouse.Internal, "write parquet: %w", err)
	}
	if err := pw.Write(rec); err != nil {
		pw.Close()
		return fmt.Errorf("write parquet: %w", err)
	}
	if err := pw.Close(); err != nil {
		return fmt.Errorf("write parquet: %w", err)
	}
	return nil
}

// noClose keeps the Parquet writer from closing what it was given.
type noClose struct{ io.Writer }

// ReadParquetRows returns the rows of a Parquet file with values as encoding/json
// decodes them: string, float64, bool, nil, []any, map[string]any; whole numbers
// beyond 2^53 lose digits, bytes become base64.
func ReadParquetRows(path string) (rows []map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = grouse.Errorf(grouse.Corrupt, "read %q: %v", path, r)
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "read parquet: %w", err)
	}
	defer f.Close()
	pf, err := file.NewParquetReader(f)
	if err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "read %q: %w", path, err)
	}
	defer pf.Close()
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: 1024}, memory.NewGoAllocator())
	if err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "read %q: %w", path, err)
	}
	records, err := r.GetRecordReader(context.Background(), nil, nil)
	if err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "read %q: %w", path, err)
	}
	defer records.Release()
	for records.Next() {
		raw, err := records.Record().MarshalJSON()
		if err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "read %q: row %d or later cannot be written as JSON: %w", path, len(rows)+1, err)
		}
		var batch []map[string]any
		if err := json.Unmarshal(raw, &batch); err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "read %q: row %d or later: %w", path, len(rows)+1, err)
		}
		rows = append(rows, batch...)
	}
	if err := records.Err(); err != nil && err != io.EOF {
		return nil, grouse.Errorf(grouse.Corrupt, "read %q: %w", path, err)
	}
	return rows, nil
}
