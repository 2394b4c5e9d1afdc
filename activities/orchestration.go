package activities

import (
	"slices"
	"time"
)

// idle returns how much of the time from start to end, Unix nanoseconds, no
// span covers: what a step spent on neither sampling nor scoring nor training.
// Spans may overlap and reach outside.
func idle(start, end int64, busy []Span) time.Duration {
	spans := slices.Clone(busy)
	slices.SortFunc(spans, func(a, b Span) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	free, at := int64(0), start
	for _, s := range spans {
		if s.Start > end {
			break
		}
		if s.Start > at {
			free += s.Start - at
		}
		at = max(at, s.End)
	}
	if end > at {
		free += end - at
	}
	return time.Duration(free)
}
