package grouse

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Metrics is named numbers of a step, by TRL's names where TRL has one.
// It survives JSON whatever the values are: NaN and the infinities, which JSON
// lacks, are written as the strings "NaN", "Infinity" and "-Infinity".
type Metrics map[string]float64

// MarshalJSON writes the metrics in order of their names.
func (m Metrics) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, len(m))
	for k, v := range m {
		switch {
		case math.IsNaN(v):
			out[k] = "NaN"
		case math.IsInf(v, 1):
			out[k] = "Infinity"
		case math.IsInf(v, -1):
			out[k] = "-Infinity"
		default:
			out[k] = v
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Metrics) UnmarshalJSON(data []byte) error {
	var in map[string]any
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	if in == nil {
		*m = nil
		return nil
	}
	out := make(Metrics, len(in))
	for k, v := range in {
		switch v := v.(type) {
		case float64:
			out[k] = v
		case string:
			special, ok := map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)}[v]
			if !ok {
				return fmt.Errorf("metric %q: %q is not a number", k, v)
			}
			out[k] = special
		default:
			return fmt.Errorf("metric %q: %v is not a number", k, v)
		}
	}
	*m = out
	return nil
}

// Names returns the metrics' names, ascending.
func (m Metrics) Names() []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// AppendBits appends the metrics, bit for bit, in order of their names: for
// each the length of the name (u32), the name, the float64's bits (u64), little
// endian. Every NaN counts as the same one.
func (m Metrics) AppendBits(dst []byte) []byte {
	for _, k := range m.Names() {
		bits := math.Float64bits(m[k])
		if math.IsNaN(m[k]) {
			bits = math.Float64bits(math.NaN())
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(k)))
		dst = append(dst, k...)
		dst = binary.LittleEndian.AppendUint64(dst, bits)
	}
	return dst
}
