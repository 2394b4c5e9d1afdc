package activities

import (
	"testing"
	"time"
)

func TestIdle(t *testing.T) {
	for name, c := range map[string]struct {
		busy []Span
		want time.Duration
	}{
		"nothing":   {nil, 100},
		"whole":     {[]Span{{Start: 0, End: 100}}, 0},
		"outside":   {[]Span{{Start: -50, End: 10}, {Start: 90, End: 500}}, 80},
		"overlap":   {[]Span{{Start: 40, End: 60}, {Start: 20, End: 50}, {Start: 45, End: 46}}, 60},
		"gaps":      {[]Span{{Start: 10, End: 20}, {Start: 30, End: 40}}, 80},
		"before it": {[]Span{{Start: -20, End: -10}}, 100},
		"after it":  {[]Span{{Start: 200, End: 300}}, 100},
		"touching":  {[]Span{{Start: 0, End: 50}, {Start: 50, End: 100}}, 0},
	} {
		if got := idle(0, 100, c.busy); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
