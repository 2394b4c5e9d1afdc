package track

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The field numbers below are those of tensorboard/compat/proto: event.proto,
// summary.proto, tensor.proto.

// tbVersion is the first event of a file.
func tbVersion(at time.Time) []byte {
	b := tbHeader(nil, at, 0)
	b = protowire.AppendTag(b, 3, protowire.BytesType) // file_version
	return protowire.AppendString(b, "brain.Event:2")
}

// tbScalars is an event with one value per name.
func tbScalars(p *Point) []byte {
	var summary []byte
	p.each(func(name string, v float64) {
		var value []byte
		value = protowire.AppendTag(value, 1, protowire.BytesType) // tag
		value = protowire.AppendString(value, name)
		value = protowire.AppendTag(value, 2, protowire.Fixed32Type) // simple_value
		value = protowire.AppendFixed32(value, math.Float32bits(float32(v)))
		summary = protowire.AppendTag(summary, 1, protowire.BytesType) // value
		summary = protowire.AppendBytes(summary, value)
	})
	return tbSummary(p.At, p.Global, summary)
}

// tbText is an event with a text, which the page reads as Markdown.
func tbText(at time.Time, step int64, name, text string) []byte {
	var plugin []byte
	plugin = protowire.AppendTag(plugin, 1, protowire.BytesType) // plugin_name
	plugin = protowire.AppendString(plugin, "text")
	var metadata []byte
	metadata = protowire.AppendTag(metadata, 1, protowire.BytesType) // plugin_data
	metadata = protowire.AppendBytes(metadata, plugin)
	metadata = protowire.AppendTag(metadata, 4, protowire.VarintType) // data_class: tensor
	metadata = protowire.AppendVarint(metadata, 2)

	var dim []byte
	dim = protowire.AppendTag(dim, 1, protowire.VarintType) // size
	dim = protowire.AppendVarint(dim, 1)
	var shape []byte
	shape = protowire.AppendTag(shape, 2, protowire.BytesType) // dim
	shape = protowire.AppendBytes(shape, dim)
	var tensor []byte
	tensor = protowire.AppendTag(tensor, 1, protowire.VarintType) // dtype: string
	tensor = protowire.AppendVarint(tensor, 7)
	tensor = protowire.AppendTag(tensor, 2, protowire.BytesType) // tensor_shape
	tensor = protowire.AppendBytes(tensor, shape)
	tensor = protowire.AppendTag(tensor, 8, protowire.BytesType) // string_val
	tensor = protowire.AppendString(tensor, text)

	var value []byte
	value = protowire.AppendTag(value, 1, protowire.BytesType) // tag
	value = protowire.AppendString(value, name)
	value = protowire.AppendTag(value, 8, protowire.BytesType) // tensor
	value = protowire.AppendBytes(value, tensor)
	value = protowire.AppendTag(value, 9, protowire.BytesType) // metadata
	value = protowire.AppendBytes(value, metadata)
	var summary []byte
	summary = protowire.AppendTag(summary, 1, protowire.BytesType) // value
	summary = protowire.AppendBytes(summary, value)
	return tbSummary(at, step, summary)
}

func tbHeader(b []byte, at time.Time, step int64) []byte {
	b = protowire.AppendTag(b, 1, protowire.Fixed64Type) // wall_time, seconds
	b = protowire.AppendFixed64(b, math.Float64bits(float64(at.UnixMilli())/1000))
	b = protowire.AppendTag(b, 2, protowire.VarintType) // step
	return protowire.AppendVarint(b, uint64(step))
}

func tbSummary(at time.Time, step int64, summary []byte) []byte {
	b := tbHeader(nil, at, step)
	b = protowire.AppendTag(b, 5, protowire.BytesType) // summary
	return protowire.AppendBytes(b, summary)
}
