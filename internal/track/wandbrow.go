package track

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// wandbItem is a key of a row with its value as JSON. W&B's own client writes NaN
// and the infinities as JavaScript does, and its server reads them.
type wandbItem struct {
	key   string
	value string
}

// wandbItems is a point as a row of history. Row numbers are the line's, so a row
// that is sent again replaces itself; curves are drawn over global_step.
func wandbItems(p *Point, began int64) []wandbItem {
	at := float64(p.At.UnixMilli()) / 1000
	items := []wandbItem{
		{"_step", strconv.FormatInt(p.Row, 10)},
		{"_timestamp", wandbNumber(at)},
		{"_runtime", wandbNumber(math.Max(0, at-float64(began)))},
		{wandbAxis, strconv.FormatInt(p.Global, 10)},
		{"stage", wandbText(p.StageName)},
		{"stage_step", strconv.FormatInt(p.Step, 10)},
	}
	p.each(func(name string, v float64) { items = append(items, wandbItem{name, wandbNumber(v)}) })
	return items
}

// wandbAxis is the key that curves are drawn over.
const wandbAxis = "global_step"

func wandbNumber(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func wandbText(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return `""` // no string is like that
	}
	return string(raw)
}

// wandbObject writes items as a JSON object.
func wandbObject(items []wandbItem) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, it := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(wandbText(it.key))
		b.WriteByte(':')
		b.WriteString(it.value)
	}
	b.WriteByte('}')
	return b.String()
}

// wandbSummary is the last value of every key.
type wandbSummary struct {
	keys []string
	last map[string]string
}

func (s *wandbSummary) add(items []wandbItem) {
	if s.last == nil {
		s.last = map[string]string{}
	}
	for _, it := range items {
		if _, ok := s.last[it.key]; !ok {
			s.keys = append(s.keys, it.key)
		}
		s.last[it.key] = it.value
	}
}

func (s *wandbSummary) items() []wandbItem {
	items := make([]wandbItem, len(s.keys))
	for i, k := range s.keys {
		items[i] = wandbItem{k, s.last[k]}
	}
	return items
}
