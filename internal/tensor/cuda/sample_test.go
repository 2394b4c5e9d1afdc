//go:build emu

package cuda_test

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/emu"
	"github.com/grouse-rl/grouse/rollout/engine"
	"github.com/grouse-rl/grouse/rollout/sampling"
)

// sampled is a problem of rows whose logits are of the given spread.
func sampled(dev tensor.Device, seed uint32, rows, dim, vocab int, spread float64, ties bool) (h, w tensor.Buffer) {
	key := rng.NewKey(rng.Data, "draw", 1)
	fill := func(n int, stream uint32, scale float64) []float32 {
		f, out := make([]float64, n), make([]float32, n)
		key.Normals(f, seed, stream, 0)
		for i, v := range f {
			out[i] = float32(v * scale)
			if ties { // products of small integers: many logits are equal, and 0 has both signs
				out[i] = float32(math.Round(v))
			}
		}
		return out
	}
	h, w = dev.New(rows*dim), dev.NewMatrix(vocab, dim)
	dev.Write(h, fill(rows*dim, 1, spread/math.Sqrt(float64(dim))))
	dev.WriteMatrix(w, fill(vocab*dim, 2, 1), vocab, dim)
	return h, w
}

// The device draws the token that rollout/sampling draws from the same logits, with
// the same log-probability, entropy and kept set, bit for bit, in every order of the
// emulation's threads.
func TestTheDeviceDrawsAsTheHost(t *testing.T) {
	const rows, dim = 3, 4
	settings := []grouse.Sampling{
		{Temperature: 1, TopP: 1}, {Temperature: 0.7, TopP: 1}, {Temperature: 0}, {Temperature: 1, TopP: 1, TopK: 1}, {Temperature: 1.3, TopP: 1, TopK: 50},
		{Temperature: 0.6, TopK: 512, TopP: 0.95}, {Temperature: 1.1, TopK: 40, TopP: 0.9, MinP: 0.02}, {Temperature: 1, TopP: 1, TopK: 300, MinP: 0.3}, {Temperature: 2, TopK: 1024, TopP: 0.999},
		{Temperature: 1, TopP: 1e-6, TopK: 20},
	}
	numbers := [][]float32{{0, 0.1, 0.5, 0.77, 1 - 0x1p-24}, nil, {0.3}}
	for _, order := range []emu.Order{emu.Forward, emu.Reverse, emu.Scattered} {
		dev := cuda.New(emu.New(emu.Options{Order: order, Threads: 2}), cuda.Options{SlabBytes: slabBytes, ChunkBytes: 40000})
		for _, vocab := range []int{2, 9, 1025, 3000} {
			for si, set := range settings {
				s, err := sampling.New(set, vocab)
				if err != nil {
					t.Fatal(err)
				}
				want := tensor.Sampling{Temperature: set.Temperature}
				want.TopK, want.TopP, want.MinP = s.Filters()
				for k, spread := range []float64{0, 0.5, 3, 300} {
					h, w := sampled(dev, uint32(100*si+k), rows, dim, vocab, spread, k == 1)
					name := fmt.Sprintf("%d of %+v, spread %v", vocab, set, spread)
					host := make([][]sampling.Draw, rows)
					dev.Logits(h, w, rows, dim, vocab, set.Temperature, func(i int, logits []float32, m *logprob.Masses) {
						s, err := sampling.New(set, vocab)
						for _, u := range numbers[i] {
							d, e := s.Sample(logits, u, m)
							d.Kept = slices.Clone(d.Kept)
							host[i] = append(host[i], d)
							if e != nil {
								err = e
							}
						}
						if err != nil {
							t.Errorf("%s: %v", name, err)
						}
					})
					there := make([][]sampling.Draw, rows)
					forHost := set.Temperature > 0 && want.TopK == 0 && (want.TopP < 1 || want.MinP > 0)
					if done := dev.Draw(h, w, rows, dim, vocab, want, numbers, func(i, j int, d tensor.Draw) {
						if j != len(there[i]) {
							t.Errorf("%s: row %d: draw %d after %d", name, i, j, len(there[i]))
						}
						d.Kept = slices.Clone(d.Kept)
						there[i] = append(there[i], sampling.Draw(d))
					}); done == forHost {
						t.Fatalf("%s: drawn on the device: %v", name, done)
					}
					if !forHost && !reflect.DeepEqual(host, there) {
						t.Fatalf("%s: the device drew\n%+v, the host\n%+v", name, there, host)
					}
					dev.Free(h)
					dev.Free(w)
				}
			}
		}
	}
}

// What the device has no way for, or what is no distribution, is left to the host and
// nothing is drawn.
func TestWhatIsLeftToTheHost(t *testing.T) {
	dev := emulated(true)
	h, w := sampled(dev, 1, 2, 4, 2000, 1, false)
	numbers := [][]float32{{0.5}, {0.5}}
	none := func(i, j int, d tensor.Draw) { t.Errorf("row %d: token %d was drawn", i, d.Token) }
	for _, s := range []tensor.Sampling{{Temperature: 1, TopP: 0.9}, {Temperature: 1, TopP: 1, MinP: 0.1}, {Temperature: 1, TopP: 1, TopK: 1025}} {
		if dev.Draw(h, w, 2, 4, 2000, s, numbers, none) {
			t.Errorf("%+v was taken", s)
		}
	}
	bad := make([]float32, 2*4)
	dev.Read(bad, h)
	for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		bad[5] = v
		dev.Write(h, bad)
		for _, s := range []tensor.Sampling{{Temperature: 1, TopP: 1}, {Temperature: 1, TopP: 1, TopK: 5}} {
			if dev.Draw(h, w, 2, 4, 2000, s, numbers, none) {
				t.Errorf("%v in a row was taken by %+v", v, s)
			}
		}
	}
}

// onTheHost hides that a device can draw.
type onTheHost struct{ tensor.Device }

// An engine makes the same completions whoever draws, of several settings at once.
func TestAnEngineDrawsOnTheDevice(t *testing.T) {
	dev := emulated(false)
	m := open(t, dev, "qwen3")
	generate := func(dev tensor.Device) [][]grouse.Rollout {
		e := engine.New(dev, engine.Options{MaxKVTokens: 2048})
		defer e.Close()
		e.SetPolicy(m, 3)
		var reqs []engine.Request
		for c, s := range []grouse.Sampling{{Temperature: 1, TopP: 1}, {Temperature: 0.9, TopK: 20, TopP: 0.9}, {Temperature: 0}, {Temperature: 0.9, TopP: 0.8}} {
			reqs = append(reqs, engine.Request{Prompt: []int32{5, 7, int32(c)}, N: 2, MaxTokens: 12, StopIDs: []int32{1}, Sampling: s, Key: rng.NewKey(rng.Rollout, "0", 1), Candidate: uint32(c)})
		}
		out, err := e.GenerateAll(context.Background(), reqs, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	counted := &counting{Device: dev}
	there := generate(counted)
	if here := generate(onTheHost{dev}); !reflect.DeepEqual(there, here) {
		t.Errorf("drawn on the device\n%+v, on the host\n%+v", there, here)
	}
	if counted.drawn == 0 || counted.left == 0 {
		t.Errorf("%d batches were drawn on the device, %d left to the host: the test wants both", counted.drawn, counted.left)
	}
}

// counting counts who drew.
type counting struct {
	*cuda.Device
	drawn, left int
}

func (c *counting) Draw(h, w tensor.Buffer, rows, dim, vocab int, s tensor.Sampling, u [][]float32, draw func(i, j int, d tensor.Draw)) bool {
	ok := c.Device.Draw(h, w, rows, dim, vocab, s, u, draw)
	if ok {
		c.drawn++
	} else {
		c.left++
	}
	return ok
}
