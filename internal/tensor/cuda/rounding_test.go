//go:build emu

package cuda_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/trainer"
)

// short makes a bfloat16 buffer of numbers, rounded to the nearest.
func short(dev tensor.Device, x []float32) tensor.Buffer {
	b := dev.NewBF16(len(x))
	dev.Write(b, x)
	return b
}

// A weight is rounded to the upper or lower neighbour of what AdamW with float32
// masters makes of it, as the documented random number says; moments are those of
// AdamW. Lengths are not multiples of four.
func TestWeightsAreRoundedByTheirNumbers(t *testing.T) {
	dev := emulated(false)
	const n = 1003
	key := rng.NewKey(rng.Round, "rl", 7)
	noise := tensor.Noise{Key: key, Param: 3, Update: 1<<32 + 5}
	step := tensor.AdamWStep{Scale: 0.5, Beta1: 0.9, OneSubBeta1: 0.1, Beta2: 0.999, OneSubBeta2: 0.001, Shrink: 0.9999, Rate: 3e-3, InvRootBias2: 10, Eps: 1e-8}
	start, grad := make([]float32, n), make([]float32, n)
	stream := key.Stream(1, 2, 3)
	for i := range start {
		start[i], grad[i] = float32(stream.Float64()-0.5), float32(stream.Float64()-0.5)
	}
	grad[7] = float32(math.NaN())
	for _, shortMoments := range []bool{false, true} {
		moment := func() tensor.Buffer {
			if shortMoments {
				return dev.NewBF16(n)
			}
			return dev.New(n)
		}
		p, g := short(dev, start), dev.New(n)
		dev.Write(g, grad)
		wide, m, v, wideM, wideV := dev.New(n), moment(), moment(), moment(), moment()
		dev.Copy(wide, p)
		for range 3 { // the moments of the second and third are not zero
			dev.AdamW(wide, g, wideM, wideV, step)
			dev.AdamWRounded(p, g, m, v, step, noise)
			want, got := make([]float32, n), make([]float32, n)
			dev.Read(want, wide)
			dev.Read(got, p)
			changed := 0
			for i, w := range want {
				x := rng.Philox(key, rng.Counter{uint32(i / 4), 3, 5, 1})
				if i != 7 {
					want[i] = math.Float32frombits((math.Float32bits(w) + x[i%4]&0xffff) &^ 0xffff)
				}
				if want[i] != w {
					changed++
				}
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(i == 7 && got[i] != got[i]) {
					t.Fatalf("short moments %v: weight %d: %v of %v, want %v", shortMoments, i, got[i], w, want[i])
				}
			}
			if changed < n/2 {
				t.Fatalf("only %d weights had anything to round", changed)
			}
			dev.Copy(wide, p)
		}
		for name, b := range map[string][2]tensor.Buffer{"m": {m, wideM}, "v": {v, wideV}} {
			x, y := make([]float32, n), make([]float32, n)
			dev.Read(x, b[0])
			dev.Read(y, b[1])
			for i := range x {
				if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
					t.Fatalf("short moments %v: %s[%d] is %v, AdamW's %v", shortMoments, name, i, x[i], y[i])
				}
			}
		}
	}
}

// Updates that a bfloat16 weight cannot take up add up all the same. A weight at 1
// shrinks by 1e-4 a step, a fortieth of the distance to the next one: rounded to the
// nearest it would never move. The mean of many is the exact value, within four
// standard errors; so is that of weights that grow.
func TestRoundingHasNoBias(t *testing.T) {
	dev := emulated(false)
	const n, steps = 1 << 16, 100
	for name, c := range map[string]struct {
		start, shrink float32
	}{"down": {1, 1 - 1e-4}, "up, negative": {-1.5, 1 + 1e-4}} {
		start := make([]float32, n)
		for i := range start {
			start[i] = c.start
		}
		p, g, m, v := short(dev, start), dev.New(n), dev.New(n), dev.New(n)
		step := tensor.AdamWStep{Scale: 1, Beta1: 0.9, OneSubBeta1: 0.1, Beta2: 0.999, OneSubBeta2: 0.001, Shrink: c.shrink, Rate: 1e-3, InvRootBias2: 1, Eps: 1e-8}
		exact := float64(c.start)
		for i := range steps {
			dev.AdamWRounded(p, g, m, v, step, tensor.Noise{Key: rng.Key{1, 2}, Param: 9, Update: int64(i + 1)})
			exact *= float64(c.shrink)
		}
		got := make([]float32, n)
		dev.Read(got, p)
		mean, squares := 0.0, 0.0
		for _, w := range got {
			mean += float64(w) / n
		}
		for _, w := range got {
			squares += sq(float64(w)-mean) / n
		}
		bound := 4 * math.Sqrt(squares/n)
		t.Logf("%s: mean %v, exact %v, four standard errors %.2g", name, mean, exact, bound)
		if !(math.Abs(mean-exact) <= bound) || bound > 0.05*math.Abs(exact-float64(c.start)) {
			t.Errorf("%s: mean %v, exact %v, four standard errors %.2g", name, mean, exact, bound)
		}
	}
}

// A part of a matrix is rounded by the numbers that it has in the whole.
func TestPartsAreRoundedAsTheWhole(t *testing.T) {
	dev := emulated(false)
	const n, from = 1003, 384
	step := tensor.AdamWStep{Scale: 0.5, Beta1: 0.9, OneSubBeta1: 0.1, Beta2: 0.999, OneSubBeta2: 0.001, Shrink: 0.9999, Rate: 3e-3, InvRootBias2: 10, Eps: 1e-8}
	start, grad := make([]float32, n), make([]float32, n)
	stream := rng.NewKey(rng.Round, "parts", 1).Stream(1, 2, 3)
	for i := range start {
		start[i], grad[i] = float32(stream.Float64()-0.5), float32(stream.Float64()-0.5)
	}
	g := dev.New(n)
	dev.Write(g, grad)
	whole, parts := short(dev, start), short(dev, start)
	m, v, m2, v2 := dev.New(n), dev.New(n), dev.New(n), dev.New(n)
	noise := tensor.Noise{Key: rng.Key{1, 2}, Param: 3, Update: 7}
	dev.AdamWRounded(whole, g, m, v, step, noise)
	for _, p := range [][2]int{{from, n}, {0, from}} {
		view := func(b tensor.Buffer) tensor.Buffer { return dev.View(b, p[0], p[1]-p[0]) }
		noise.First = int64(p[0])
		dev.AdamWRounded(view(parts), view(g), view(m2), view(v2), step, noise)
	}
	want, got := make([]float32, n), make([]float32, n)
	dev.Read(want, whole)
	dev.Read(got, parts)
	if !slices.Equal(got, want) {
		t.Error("the parts are rounded otherwise")
	}
}

func bf16Weights(s *grouse.Stage) { s.Trainer.BF16Weights, s.Trainer.BF16Moments = true, true }

// A step of GRPO without masters goes where the CPU's goes, but for the rounding; it
// repeats, and a trainer that was saved after the first step and loaded goes on as the
// one that was not.
func TestTrainingWithoutMasters(t *testing.T) {
	batch := groups(t, open(t, cpu.New(1), "llama"), cpu.New(1))
	before, want, _ := step(t, cpu.New(1), "llama", batch, func(*grouse.Stage) {})
	_, got, _ := step(t, emulated(false), "llama", batch, bf16Weights)
	_, again, _ := step(t, emulated(false), "llama", batch, bf16Weights)
	far, moved := 0.0, 0.0
	for i := range want {
		far += sq(float64(got[i] - want[i]))
		moved += sq(float64(want[i] - before[i]))
		if math.Float32bits(got[i]) != math.Float32bits(again[i]) {
			t.Fatalf("weight %d is %v, then %v", i, got[i], again[i])
		}
	}
	d := math.Sqrt(far / moved)
	t.Logf("relative distance of the changes %.3g", d)
	if !(d <= 0.25) {
		t.Errorf("relative distance of the changes %.3g, allowed 0.25", d)
	}

	s := stage()
	bf16Weights(&s)
	train := func(tr *trainer.Trainer, m *model.Model) {
		t.Helper()
		tr.SetSeed(5)
		tr.SetReference(m.Clone())
		if _, err := tr.Step(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	begin := func() (*model.Model, *trainer.Trainer) {
		m := open(t, emulated(false), "llama")
		tr, err := trainer.New(m, s)
		if err != nil {
			t.Fatal(err)
		}
		return m, tr
	}
	m, tr := begin()
	for _, p := range m.Params() {
		if p.BF16 != (p.In > 0) {
			t.Errorf("%s: bfloat16 %v", p.Name, p.BF16)
		}
	}
	train(tr, m)
	saved := saved{m, map[string][]float32{}}
	keep := func(name string, _ []int, data []float32) error { saved.data[name] = data; return nil }
	if err := m.Each(keep); err != nil {
		t.Fatal(err)
	}
	if err := tr.Moments(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	state := tr.State()
	train(tr, m)

	other, _ := begin()
	if err := other.Load(saved); err != nil {
		t.Fatal(err)
	}
	resumed, err := trainer.New(other, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := resumed.Restore(state, saved); err != nil {
		t.Fatal(err)
	}
	train(resumed, other)
	for i, p := range m.Params() {
		a, b := p.Read(m.Device()), other.Params()[i].Read(other.Device())
		for j := range a {
			if p.BF16 && math.Float32bits(a[j])&0xffff != 0 {
				t.Fatalf("%s[%d] = %v is no bfloat16 number", p.Name, j, a[j])
			}
			if math.Float32bits(a[j]) != math.Float32bits(b[j]) {
				t.Fatalf("%s[%d]: %v, resumed %v", p.Name, j, a[j], b[j])
			}
		}
	}
}

// saved is what a checkpoint has of a model and its trainer.
type saved struct {
	m    *model.Model
	data map[string][]float32
}

func (s saved) Names() []string {
	var names []string
	for _, p := range s.m.Params() {
		names = append(names, p.Name)
	}
	return names
}

func (s saved) Shape(name string) []int {
	for _, p := range s.m.Params() {
		if p.Name == name {
			return p.Shape()
		}
	}
	return nil
}

func (s saved) Float32(name string, dst []float32) error { copy(dst, s.data[name]); return nil }
