package wire

import (
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// columns gives typed access to a record's columns by name. All types were
// checked by newColumns.
type columns struct {
	rows int
	by   map[string]arrow.Array
}

// newColumns finds the fields in the record. Columns that are not among them
// are ignored; only a nullable one may be missing.
func newColumns(rec arrow.Record, fields []arrow.Field) (*columns, error) {
	if rec.NumRows() > maxRows {
		return nil, badColumn("", "%d rows", rec.NumRows())
	}
	c := &columns{rows: int(rec.NumRows()), by: map[string]arrow.Array{}}
	for _, f := range fields {
		at := rec.Schema().FieldIndices(f.Name)
		switch {
		case len(at) == 0 && f.Nullable:
			continue
		case len(at) != 1:
			return nil, badColumn(f.Name, "it is there %d times", len(at))
		}
		col := rec.Column(at[0])
		if !sameType(col.DataType(), f.Type) {
			return nil, badColumn(f.Name, "type %s, want %s", col.DataType(), f.Type)
		}
		if !f.Nullable && col.NullN() > 0 {
			return nil, badColumn(f.Name, "%d nulls", col.NullN())
		}
		c.by[f.Name] = col
	}
	return c, nil
}

// sameType compares types without the names and nullability of list items.
func sameType(a, b arrow.DataType) bool {
	if x, ok := a.(*arrow.ListType); ok {
		y, ok := b.(*arrow.ListType)
		return ok && sameType(x.Elem(), y.Elem())
	}
	if x, ok := a.(*arrow.MapType); ok {
		y, ok := b.(*arrow.MapType)
		return ok && sameType(x.KeyType(), y.KeyType()) && sameType(x.ItemType(), y.ItemType())
	}
	return arrow.TypeEqual(a, b)
}

func (c *columns) null(name string, i int) bool {
	col, ok := c.by[name]
	return !ok || col.IsNull(i)
}

func (c *columns) text(name string, i int) string {
	if c.null(name, i) {
		return ""
	}
	return string(append([]byte{}, c.by[name].(*array.String).Value(i)...)) // not a view of the batch
}

func (c *columns) u16(name string, i int) uint16  { return c.by[name].(*array.Uint16).Value(i) }
func (c *columns) u32(name string, i int) uint32  { return c.by[name].(*array.Uint32).Value(i) }
func (c *columns) u64(name string, i int) uint64  { return c.by[name].(*array.Uint64).Value(i) }
func (c *columns) i32(name string, i int) int32   { return c.by[name].(*array.Int32).Value(i) }
func (c *columns) f32(name string, i int) float32 { return c.by[name].(*array.Float32).Value(i) }

// span returns the values array of a list column and row i's part of it.
func (c *columns) span(name string, i int) (values arrow.Array, lo, hi int, err error) {
	l := c.by[name].(*array.List)
	a, b := l.ValueOffsets(i)
	if a < 0 || b < a || b > int64(l.ListValues().Len()) {
		return nil, 0, 0, badColumn(name, "row %d: offsets %d to %d of %d", i, a, b, l.ListValues().Len())
	}
	return l.ListValues(), int(a), int(b), nil
}

// list copies row i of a list column; nil if it is null.
func list[T any](c *columns, name string, i int, values func(arrow.Array) []T) ([]T, error) {
	if c.null(name, i) {
		return nil, nil
	}
	v, lo, hi, err := c.span(name, i)
	if err != nil {
		return nil, err
	}
	return append(make([]T, 0, hi-lo), values(v)[lo:hi]...), nil
}

func int32s(a arrow.Array) []int32     { return a.(*array.Int32).Int32Values() }
func int64s(a arrow.Array) []int64     { return a.(*array.Int64).Int64Values() }
func float32s(a arrow.Array) []float32 { return a.(*array.Float32).Float32Values() }
func uint8s(a arrow.Array) []uint8     { return a.(*array.Uint8).Uint8Values() }
