package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
)

// repeater is a processor that repeats passes by asking for them again, with the lists that
// they were recorded with, rewritten.
type repeater struct {
	tensor.Device
	rows                             []int // of what was recorded, in order
	repeated, refused, there, atMost int
	refuse                           bool // whatever is to be repeated
}

func (d *repeater) Recorder() tensor.Recorder { return recorder{d} }

type recorder struct{ *repeater }

type recorded struct {
	d  *repeater
	in *tensor.Decode
	f  func()
}

func (r recorder) Record(in *tensor.Decode, weights []tensor.Buffer, f func()) tensor.Recording {
	r.rows = append(r.rows, len(in.IDs))
	r.there++
	r.atMost = max(r.atMost, r.there)
	f() // once: a cache of the processor's takes a position once
	return &recorded{r.repeater, in, f}
}

func (r *recorded) Replay(in *tensor.Decode, weights []tensor.Buffer) bool {
	if r.d.refuse {
		r.d.refused++
		return false
	}
	r.d.repeated++
	if copy(r.in.IDs, in.IDs)+copy(r.in.Pos, in.Pos)+copy(r.in.Slots, in.Slots)+copy(r.in.Views, in.Views) != 4*len(r.in.IDs) {
		panic(fmt.Sprintf("%d rows for a pass of %d", len(in.IDs), len(r.in.IDs)))
	}
	r.f()
	return true
}

func (r *recorded) Free() { r.d.there-- }

// Completions are the same on a device that repeats passes. Each is recorded once for a few
// numbers of rows, and no more are kept than the limit.
func TestPassesAreRepeated(t *testing.T) {
	var ending []engine.Request // 8 sequences with every second token
	for i := range 20 {
		ending = append(ending, engine.Request{N: 8, MaxTokens: 3 + 2*i, Prompt: []int32{5, int32(2 + i)}, Sampling: grouse.Sampling{Temperature: 3, TopP: 1}, Key: rng.NewKey(rng.Rollout, "g", 3), Candidate: uint32(i)})
	}
	for _, c := range []struct {
		family string
		opts   engine.Options
		reqs   []engine.Request
		refuse bool
		most   int // passes that may be kept at once: numbers of rows there are; 0: none are recorded
	}{
		{"llama", engine.Options{}, requests(9, samplings["full"]), false, 6},
		{"qwen2", engine.Options{MaxSequences: 3}, requests(9, samplings["truncated"]), false, 3},
		{"qwen3", engine.Options{MaxKVTokens: 160}, requests(9, samplings["greedy"]), false, 4},
		{"qwen3", engine.Options{}, ending, false, 16},
		{"llama", engine.Options{}, requests(9, samplings["full"]), true, 6},
		{"qwen3moe", engine.Options{}, requests(9, samplings["full"]), false, 0},
		{"deepseek", engine.Options{Compressed: true}, requests(5, samplings["full"]), false, 0},
		{"deepseek-sparse", engine.Options{}, requests(5, samplings["full"]), false, 0},
	} {
		t.Run(fmt.Sprintf("%s,%+v,%d requests,refuse=%v", c.family, c.opts, len(c.reqs), c.refuse), func(t *testing.T) {
			m := open(t, 2, c.family)
			want := generate(t, m, 2, c.opts, c.reqs)
			dev := &repeater{Device: cpu.New(2), refuse: c.refuse}
			e := engine.New(dev, c.opts)
			e.SetPolicy(m, 9)
			got, err := e.GenerateAll(t.Context(), c.reqs, nil)
			e.Close()
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				same(t, fmt.Sprintf("request %d", i), got[i], want[i])
			}
			t.Logf("recorded %v, repeated %d times, %d times not", dev.rows, dev.repeated, dev.refused)
			// Requests come one after the other: how many sequences are decoded at once depends
			// on time, but for the last case's limit.
			if dev.atMost > c.most || (c.most > 0) != (dev.atMost > 0) || (c.most == 16 && dev.atMost < 16) || dev.there != 0 {
				t.Errorf("%d passes were kept at once, %d after the end, want at most %d and 0", dev.atMost, dev.there, c.most)
			}
			for _, n := range dev.rows {
				if n > 4 && n%8 != 0 || n == 3 {
					t.Errorf("a pass of %d rows was recorded", n)
				}
			}
			once := len(slices.Compact(slices.Sorted(slices.Values(dev.rows)))) == len(dev.rows)
			if c.most > 0 && c.most < 16 && once == c.refuse {
				t.Errorf("recorded %v: each once %v", dev.rows, once)
			}
			if c.most > 0 && ((dev.repeated > 0) == c.refuse || (dev.refused > 0) != c.refuse) {
				t.Errorf("repeated %d times, %d times not", dev.repeated, dev.refused)
			}
		})
	}
}
