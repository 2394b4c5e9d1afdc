//go:build emu

package cuda_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/trainer"
)

// Two and three ranks, each with an emulated device, go where one goes, and the same ranks
// to the same bits; all ranks have the same weights. The sums of NCCL are collective.Star's
// here.
func TestRanksOnTheDevice(t *testing.T) {
	for _, c := range []struct {
		name   string
		f32    bool
		family string
		far    float64 // of the changes, relative, from one rank's
		change func(*grouse.Stage)
	}{
		{"float32", true, "llama", 1e-3, func(*grouse.Stage) {}},
		{"bfloat16", false, "qwen3moe", 0.01, func(s *grouse.Stage) { s.Trainer.BF16Moments = true }},
		{"without masters", false, "llama", 0.01, bf16Weights},
	} {
		batch := groups(t, open(t, cpu.New(1), c.family), cpu.New(1))
		before, _, _ := step(t, emulated(c.f32), c.family, batch, c.change)
		for i, g := range batch { // so that two ranks share an update
			g.Group.Candidate = uint32(len(batch))
			g.Scores = slices.Clone(g.Scores)
			for j := range g.Scores {
				g.Scores[j].Reward = ptr(float64((i + 2*j) % 5))
			}
			batch = append(batch, g)
		}
		one := stepsOf(t, c.f32, c.family, 1, batch, c.change)
		for _, ranks := range []int{2, 3} {
			got := stepsOf(t, c.f32, c.family, ranks, batch, c.change)
			if again := stepsOf(t, c.f32, c.family, ranks, batch, c.change); !slices.Equal(got, again) {
				t.Errorf("%s: %d ranks: other bits the second time", c.name, ranks)
			}
			far, moved := 0.0, 0.0
			for i := range got {
				far += sq(float64(got[i] - one[i]))
				moved += sq(float64(one[i] - before[i]))
			}
			d := math.Sqrt(far / moved)
			t.Logf("%s: %d ranks: relative distance of the changes from one rank's %.3g", c.name, ranks, d)
			if !(moved > 0 && d <= c.far) || c.f32 && d == 0 {
				t.Errorf("%s: %d ranks: relative distance of the changes %.3g, allowed %.3g", c.name, ranks, d, c.far)
			}
		}
	}
}

// stepsOf does three steps with some ranks and returns their weights, which are the same.
func stepsOf(t *testing.T, f32 bool, family string, ranks int, batch []grouse.ScoredGroup, change func(*grouse.Stage)) []float32 {
	t.Helper()
	s := stage()
	change(&s)
	errs, all := make([]error, ranks), make([][]float32, ranks)
	var wg sync.WaitGroup
	team := collective.Local(ranks)
	for r, g := range team {
		m := open(t, emulated(f32), family)
		wg.Go(func() {
			tr, err := trainer.NewRank(m, s, g)
			if err == nil {
				tr.SetReference(m.Clone())
				for range 3 {
					if err == nil {
						_, err = tr.Step(context.Background(), batch)
					}
				}
			}
			if errs[r] = err; err != nil {
				g.Fail(err)
				return
			}
			for _, p := range m.Params() {
				all[r] = append(all[r], p.Read(m.Device())...)
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
	for r, w := range all {
		if !slices.Equal(w, all[0]) {
			t.Fatalf("rank %d has other weights than rank 0", r)
		}
	}
	return all[0]
}
