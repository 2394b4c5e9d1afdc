//go:build emu

package cuda_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/emu"
	"github.com/grouse-rl/grouse/trainer"
)

// after is a model and its trainer's state as a checkpoint has them, of rank 0.
type after struct {
	saved
	state trainer.State
}

// trained loads from, if it is not nil, does some steps with ranks of one device each, and
// returns where they come.
func trained(t *testing.T, ranks, steps int, batch []grouse.ScoredGroup, from *after, s grouse.Stage) *after {
	t.Helper()
	var end after
	errs := make([]error, ranks)
	team := collective.Local(ranks)
	var wg sync.WaitGroup
	for r, g := range team {
		m := open(t, emulated(false), "llama")
		ref := m.Clone()
		wg.Go(func() {
			errs[r] = func() error {
				if from != nil {
					if err := m.Load(from.saved); err != nil {
						return err
					}
				}
				var group collective.Group = g
				if ranks == 1 {
					group = nil
				}
				tr, err := trainer.NewRank(m, s, group)
				if err != nil {
					return err
				}
				tr.SetReference(ref)
				if from != nil {
					if err := tr.Restore(from.state, from.saved); err != nil {
						return err
					}
				}
				for range steps {
					if _, err := tr.Step(context.Background(), batch); err != nil {
						return err
					}
				}
				data := map[string][]float32{}
				keep := func(name string, _ []int, x []float32) error { data[name] = slices.Clone(x); return nil }
				if err := errors.Join(m.Each(keep), tr.Moments(context.Background(), keep)); err != nil {
					return err
				}
				if r == 0 {
					end = after{saved{m, data}, tr.State()}
				}
				return nil
			}()
			if errs[r] != nil {
				g.Fail(errs[r])
			}
		})
	}
	wg.Wait()
	for _, g := range team {
		g.Close()
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return &end
}

// equal demands the same weights and moments, bit for bit.
func equal(t *testing.T, what string, got, want *after) {
	t.Helper()
	if len(want.data) == 0 || len(got.data) != len(want.data) {
		t.Fatalf("%s: %d tensors, want %d", what, len(got.data), len(want.data))
	}
	for _, name := range slices.Sorted(maps.Keys(want.data)) {
		if !bytes.Equal(bitsOf(got.data[name]), bitsOf(want.data[name])) {
			t.Errorf("%s: %s differs", what, name)
			return
		}
	}
}

func bitsOf(x []float32) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, x)
	if err != nil {
		panic(err) // numbers
	}
	return b
}

// Steps with moments in the host's memory have the bits of steps with moments on the
// device, alone and in ranks; a checkpoint of either goes on with the other.
func TestOffloadedMomentsHaveTheSameBits(t *testing.T) {
	batch := groups(t, open(t, cpu.New(1), "llama"), cpu.New(1))
	for _, c := range []struct {
		name   string
		change func(*grouse.Stage)
	}{
		{"float32 moments", func(*grouse.Stage) {}},
		{"bfloat16 moments", func(s *grouse.Stage) { s.Trainer.BF16Moments = true }},
		{"no masters, float32 moments", func(s *grouse.Stage) { s.Trainer.BF16Weights = true }},
		{"no masters, bfloat16 moments", bf16Weights},
	} {
		here := stage()
		c.change(&here)
		there := here
		there.Trainer.OffloadMoments = true
		for _, ranks := range []int{1, 2, 3} {
			want := trained(t, ranks, 2, batch, nil, here)
			equal(t, fmt.Sprintf("%s, %d ranks", c.name, ranks), trained(t, ranks, 2, batch, nil, there), want)
			if ranks == 3 {
				continue
			}
			for what, pair := range map[string][2]grouse.Stage{"here, then there": {here, there}, "there, then here": {there, here}, "there, resumed there": {there, there}} {
				middle := trained(t, ranks, 1, batch, nil, pair[0])
				equal(t, fmt.Sprintf("%s, %d ranks, %s", c.name, ranks, what), trained(t, ranks, 1, batch, middle, pair[1]), want)
			}
		}
	}
}

// Moments that nobody holds give the host's memory back, and what cannot take moments
// there says so.
func TestOffloadedMemory(t *testing.T) {
	drv := emu.New(emu.Options{Bytes: 3 << 20})
	d := cuda.New(drv, cuda.Options{SlabBytes: 64 << 10, OffloadBytes: 4096})
	for range 100 {
		d.Free(d.NewOffloaded(1<<21, false)) // 8 MiB, more than the device has
	}
	if err := drv.Sync(); err != nil {
		t.Fatal(err)
	}
	b := d.NewOffloaded(10, false)
	for name, f := range map[string]func(tensor.Buffer){
		"Read": func(b tensor.Buffer) { d.Read(make([]float32, 10), b) }, "Zero": d.Zero, "SumSquares": func(b tensor.Buffer) { d.SumSquares(b) },
	} {
		func() {
			defer func() {
				if p := recover(); p != "cuda: moments in the host's memory" {
					t.Errorf("%s: %v", name, p)
				}
			}()
			f(b)
		}()
	}
}
