package trainer

import (
	"fmt"
	"testing"
)

// Items stay whole and in order, every rank's share is within one item of even.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		sizes []int
		ranks int
		want  string
	}{
		{nil, 3, "[0 0 0 0]"},
		{[]int{5}, 1, "[0 1]"},
		{[]int{5}, 3, "[0 0 1 1]"},
		{[]int{1, 1, 1, 1}, 2, "[0 2 4]"},
		{[]int{9, 1, 1, 1}, 2, "[0 1 4]"},
		{[]int{1, 1, 1, 9}, 2, "[0 3 4]"},
		{[]int{1, 100, 1}, 3, "[0 1 2 3]"},
		{[]int{4, 4, 4, 4, 4}, 3, "[0 2 3 5]"},
		{[]int{0, 0}, 2, "[0 2 2]"},
	} {
		got := cut(len(c.sizes), c.ranks, func(i int) int { return c.sizes[i] })
		if fmt.Sprint(got) != c.want {
			t.Errorf("%v among %d: %v, want %v", c.sizes, c.ranks, got, c.want)
		}
	}
	sizes, total := make([]int, 100), 0
	for i := range sizes {
		sizes[i] = 1 + i*i%37
		total += sizes[i]
	}
	for _, ranks := range []int{2, 3, 8, 64} {
		from := cut(len(sizes), ranks, func(i int) int { return sizes[i] })
		for r := range ranks {
			sum := 0
			for _, n := range sizes[from[r]:from[r+1]] {
				sum += n
			}
			if d := sum*ranks - total; d > 37*ranks || -d > 37*ranks {
				t.Errorf("rank %d of %d has %d of %d tokens", r, ranks, sum, total)
			}
		}
	}
}
