//go:build emu

package cuda_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/emu"
	"github.com/grouse-rl/grouse/internal/tensor/tensortest"
	"github.com/grouse-rl/grouse/rollout/engine"
)

// graphs counts what becomes of a driver's graphs.
type graphs struct {
	driver.Driver
	captured, launched, freed int
}

type countedGraph struct {
	driver.Graph
	of *graphs
}

func (g *graphs) Capture(f func()) (driver.Graph, error) {
	g.captured++
	graph, err := g.Driver.Capture(f)
	return &countedGraph{graph, g}, err
}

func (g *countedGraph) Launch() { g.of.launched++; g.Graph.Launch() }
func (g *countedGraph) Free()   { g.of.freed++; g.Graph.Free() }

// recording returns a device with graphs or without. Every buffer is an allocation of its
// own: a graph that refers to one that was freed is an error of the emulation.
func recording(f32, without bool) (*cuda.Device, *graphs) {
	g := &graphs{Driver: emu.New(emu.Options{Order: emu.Scattered, Threads: 2})}
	return cuda.New(g, cuda.Options{Float32: f32, NoGraphs: without, SlabBytes: 1}), g
}

// prompts are groups of different sizes, lengths and settings.
func prompts(n int) []engine.Request {
	var reqs []engine.Request
	for i := range n {
		r := engine.Request{N: 1 + i*3%5, MaxTokens: 4 + 7*i%17, StopIDs: []int32{1}, Key: rng.NewKey(rng.Rollout, "g", 3), Candidate: uint32(i), KeepRouting: true,
			Sampling: []grouse.Sampling{{Temperature: 1, TopP: 1}, {Temperature: 0.8, TopK: 12, TopP: 0.9}}[i%2]}
		for j := range 2 + 13*i%29 {
			r.Prompt = append(r.Prompt, int32(2+(7*i+3*j)%38))
		}
		reqs = append(reqs, r)
	}
	return reqs
}

func completions(t *testing.T, dev tensor.Device, opts engine.Options, m *model.Model, reqs []engine.Request) [][]grouse.Rollout {
	t.Helper()
	e := engine.New(dev, opts)
	defer e.Close()
	e.SetPolicy(m, 1)
	out, err := e.GenerateAll(t.Context(), reqs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameRollouts(t *testing.T, got, want [][]grouse.Rollout) {
	t.Helper()
	for i := range want {
		for j, w := range want[i] {
			g := got[i][j]
			if !slices.Equal(g.ResponseIDs, w.ResponseIDs) || g.Finish != w.Finish || !slices.Equal(g.Routing.Experts, w.Routing.Experts) {
				t.Fatalf("request %d, sample %d: %v, want %v", i, j, g.ResponseIDs, w.ResponseIDs)
			}
			for k := range w.Logprobs {
				if math.Float32bits(g.Logprobs[k]) != math.Float32bits(w.Logprobs[k]) {
					t.Fatalf("request %d, sample %d, token %d: logprob %v, want %v", i, j, k, g.Logprobs[k], w.Logprobs[k])
				}
			}
		}
	}
}

// Completions with graphs are those without, bit for bit, and most tokens come of a graph
// that was launched again. Models whose operations the host decides on take none.
func TestDecodingFromGraphs(t *testing.T) {
	for _, c := range []struct {
		family   string
		f32      bool
		opts     engine.Options
		recorded bool
	}{
		{"llama", true, engine.Options{}, true},
		{"llama", false, engine.Options{}, true},
		{"qwen3", false, engine.Options{MaxSequences: 3}, true},
		{"qwen2", false, engine.Options{MaxKVTokens: 320, PrefillChunk: 5}, true},
		{"qwen3moe", false, engine.Options{}, false},
		{"deepseek", false, engine.Options{Compressed: true}, false},
		{"deepseek-sparse", false, engine.Options{}, false},
	} {
		t.Run(fmt.Sprintf("%s,float32=%v,%+v", c.family, c.f32, c.opts), func(t *testing.T) {
			if c.opts.MaxKVTokens == 0 {
				c.opts.MaxKVTokens = 2048
			}
			reqs := prompts(6)
			plain, none := recording(c.f32, true)
			want := completions(t, plain, c.opts, open(t, plain, c.family), reqs)
			dev, g := recording(c.f32, false)
			got := completions(t, dev, c.opts, open(t, dev, c.family), reqs)
			sameRollouts(t, got, want)
			t.Logf("%d graphs were captured, launched %d times", g.captured, g.launched)
			if none.captured != 0 {
				t.Errorf("%d graphs with NoGraphs", none.captured)
			}
			if !c.recorded && g.captured != 0 {
				t.Errorf("%d graphs of a model that decides on the host", g.captured)
			}
			if c.recorded && (g.captured == 0 || g.launched < 2*g.captured) {
				t.Errorf("%d graphs were captured and launched %d times: few were used again", g.captured, g.launched)
			}
			if g.freed != g.captured {
				t.Errorf("%d graphs of %d were given back when the engine was closed", g.freed, g.captured)
			}
		})
	}
}

// Sequences that outgrow the table of angles are recorded again, others are not.
func TestATableThatGrowsIsRecordedAgain(t *testing.T) {
	r := engine.Request{N: 1, MaxTokens: 12, Sampling: grouse.Sampling{Temperature: 1, TopP: 1}, Key: rng.NewKey(rng.Rollout, "g", 3)}
	for _, c := range []struct{ prompt, captured int }{{240, 1}, {250, 2}} {
		r.Prompt = nil
		for i := range c.prompt {
			r.Prompt = append(r.Prompt, int32(2+i*5%38))
		}
		plain, _ := recording(false, true)
		want := completions(t, plain, engine.Options{MaxKVTokens: 512}, open(t, plain, "qwen3"), []engine.Request{r})
		dev, g := recording(false, false)
		sameRollouts(t, completions(t, dev, engine.Options{MaxKVTokens: 512}, open(t, dev, "qwen3"), []engine.Request{r}), want)
		if g.captured != c.captured {
			t.Errorf("a prompt of %d: %d graphs were captured, want %d", c.prompt, g.captured, c.captured)
		}
	}
}

// Weights that are written in place are read by graphs that exist; another model, or memory
// of its own for a weight, is recorded anew, and what was recorded of the last is given back.
func TestGraphsAndNewWeights(t *testing.T) {
	reqs := prompts(3)[2:]
	reqs[0].N, reqs[0].StopIDs = 1, nil
	change := func(m *model.Model) {
		for i, p := range m.Params() {
			w := p.Read(m.Device())
			for j := range w {
				w[j] *= 1 + float32((i+j)%3)/8
			}
			p.Write(m.Device(), w)
		}
	}
	plain, _ := recording(false, true)
	before := open(t, plain, "qwen3")
	want := completions(t, plain, engine.Options{MaxKVTokens: 1024}, before, reqs)
	change(before)
	changed := completions(t, plain, engine.Options{MaxKVTokens: 1024}, before, reqs)
	if slices.Equal(want[0][0].Logprobs, changed[0][0].Logprobs) {
		t.Fatal("the change changes nothing")
	}

	dev, g := recording(false, false)
	m := open(t, dev, "qwen3")
	e := engine.New(dev, engine.Options{MaxKVTokens: 1024})
	defer e.Close()
	version := int64(0)
	with := func(m *model.Model, want [][]grouse.Rollout, captured, freed int) {
		t.Helper()
		version++
		e.SetPolicy(m, version)
		got, err := e.GenerateAll(t.Context(), reqs, nil)
		if err != nil {
			t.Fatal(err)
		}
		sameRollouts(t, got, want)
		if g.captured != captured || g.freed != freed {
			t.Errorf("version %d: %d graphs captured, %d freed, want %d and %d", version, g.captured, g.freed, captured, freed)
		}
	}
	with(m, want, 1, 0)
	with(m, want, 1, 0)
	old := m.Clone()
	change(m)
	with(m, changed, 1, 0)
	with(old, want, 2, 1)
	with(m, changed, 3, 2)
	p := m.Params()[len(m.Params())-1]
	was := p.Read(dev)
	p.Data = dev.NewMatrix(p.Out, max(1, p.In))
	p.Write(dev, was)
	with(m, changed, 4, 3)
}

// What would be repeated as it is now is refused while it is recorded.
func TestWhatCannotBeRecorded(t *testing.T) {
	for what, f := range map[string]func(dev tensor.Device, in *tensor.Decode, x, y tensor.Buffer){
		"a copy of a list": func(dev tensor.Device, in *tensor.Decode, x, y tensor.Buffer) {
			dev.Gather(y, x, slices.Clone(in.IDs), 4)
		},
		"memory":  func(dev tensor.Device, in *tensor.Decode, x, y tensor.Buffer) { dev.New(3) },
		"a wait":  func(dev tensor.Device, in *tensor.Decode, x, y tensor.Buffer) { dev.Read(make([]float32, 1), x) },
		"numbers": func(dev tensor.Device, in *tensor.Decode, x, y tensor.Buffer) { dev.Write(x, []float32{1}) },
		"a choice of experts": func(dev tensor.Device, in *tensor.Decode, x, y tensor.Buffer) {
			dev.Route(y, []int32{-1, -1}, x, nil, &tensor.Router{TopK: 1, Scale: 1}, 2, 4)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dev, _ := recording(true, false)
			x, y := dev.New(16), dev.New(16)
			in := &tensor.Decode{IDs: []int32{1, 0}}
			defer func() {
				if recover() == nil {
					t.Error("was recorded")
				}
			}()
			rec := dev.Recorder()
			rec.Record(in, nil, func() { f(rec, in, x, y) })
		})
	}
}

// Three products of different sizes: each operand has room both times that they are asked for.
func TestOperandsOfARecording(t *testing.T) {
	dev, _ := recording(false, false)
	fill := func(n, seed int) tensor.Buffer {
		b := dev.New(n)
		dev.Write(b, tensortest.Ramp(n, uint32(seed)))
		return b
	}
	const small, large = 8, 1024
	x, up, down := fill(small, 1), fill(large*small, 2), fill(small*large, 3)
	y, z, o := dev.New(large), dev.New(small), dev.New(large)
	ask := func(d tensor.Device) {
		d.Linear(y, x, up, nil, 1, large, small)
		d.Linear(z, y, down, nil, 1, small, large)
		d.Linear(o, z, up, nil, 1, large, small)
	}
	want, got := make([]float32, large), make([]float32, large)
	ask(dev)
	dev.Read(want, o)
	weights, in := []tensor.Buffer{up, down}, &tensor.Decode{IDs: []int32{0}}
	rec := dev.Recorder()
	pass := rec.Record(in, weights, func() { ask(rec) })
	dev.Zero(o)
	if !pass.Replay(in, weights) {
		t.Fatal("not repeated")
	}
	if dev.Read(got, o); !slices.Equal(got, want) {
		t.Error("repeated, it is something else")
	}
	dev.Write(x, tensortest.Ramp(small, 9))
	ask(dev)
	dev.Read(want, o)
	dev.Zero(o)
	pass.Replay(in, weights)
	if dev.Read(got, o); !slices.Equal(got, want) {
		t.Error("a buffer that was written is not read again")
	}
}
