package engine_test

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
)

func open(t *testing.T, threads int, family string) *model.Model {
	t.Helper()
	m, err := model.Open(cpu.New(threads), filepath.Join("../../internal/model/testdata", family))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func requests(n int, s grouse.Sampling) []engine.Request {
	key := rng.NewKey(rng.Rollout, "rl", 3)
	var reqs []engine.Request
	for i := range n {
		var prompt []int32
		for j := range 3 + 11*i%37 {
			prompt = append(prompt, int32(2+(7*i+3*j)%38))
		}
		reqs = append(reqs, engine.Request{Prompt: prompt, N: 1 + i%5, Sampling: s, MaxTokens: 5 + 9*i%40, StopIDs: []int32{1}, Key: key, Step: 4, Candidate: uint32(i), KeepRouting: true})
	}
	return reqs
}

func generate(t *testing.T, m *model.Model, threads int, opts engine.Options, reqs []engine.Request) [][]grouse.Rollout {
	t.Helper()
	e := engine.New(cpu.New(threads), opts)
	defer e.Close()
	e.SetPolicy(m, 9)
	out, err := e.GenerateAll(context.Background(), reqs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *testing.T, what string, a, b []grouse.Rollout) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%s: %d rollouts, want %d", what, len(a), len(b))
	}
	for i := range a {
		x, y := a[i], b[i]
		if len(x.ResponseIDs) != len(y.ResponseIDs) || x.Finish != y.Finish {
			t.Fatalf("%s: sample %d: %d tokens (%s), want %d (%s)", what, i, len(x.ResponseIDs), x.Finish, len(y.ResponseIDs), y.Finish)
		}
		if !slices.Equal(x.Routing.Experts, y.Routing.Experts) {
			t.Fatalf("%s: sample %d: other experts", what, i)
		}
		for j := range x.ResponseIDs {
			if x.ResponseIDs[j] != y.ResponseIDs[j] || math.Float32bits(x.Logprobs[j]) != math.Float32bits(y.Logprobs[j]) {
				t.Fatalf("%s: sample %d token %d: %d %v, want %d %v", what, i, j, x.ResponseIDs[j], x.Logprobs[j], y.ResponseIDs[j], y.Logprobs[j])
			}
		}
	}
}

var samplings = map[string]grouse.Sampling{
	"full":      {Temperature: 1, TopP: 1},
	"truncated": {Temperature: 0.8, TopK: 12, TopP: 0.9},
	"greedy":    {Temperature: 0},
}

// The same completions alone, together, in little memory, in small prefill
// chunks, on one thread and on several.
func TestCompletionsDoNotDependOnCompany(t *testing.T) {
	for name, s := range samplings {
		for _, family := range []string{"llama", "qwen3moe", "deepseek", "deepseek-sparse"} {
			notByCompany(t, name, family, s)
		}
	}
}

func notByCompany(t *testing.T, name, family string, s grouse.Sampling) {
	t.Run(family+"/"+name, func(t *testing.T) {
		m, reqs := open(t, 2, family), requests(12, s)
		want := generate(t, m, 2, engine.Options{}, reqs)
		for _, v := range []struct {
			threads int
			opts    engine.Options
		}{{1, engine.Options{}}, {3, engine.Options{PrefillChunk: 5}}, {2, engine.Options{MaxKVTokens: 160, MaxSequences: 3}}} {
			got := generate(t, m, v.threads, v.opts, reqs)
			for i := range want {
				same(t, "together", got[i], want[i])
			}
		}
		for i := range reqs {
			same(t, "alone", generate(t, m, 2, engine.Options{}, reqs[i:i+1])[0], want[i])
		}
		second := reqs[4]
		second.FirstSample, second.N = 2, 1
		same(t, "one sample of a group", generate(t, m, 2, engine.Options{}, []engine.Request{second})[0], want[4][2:3])
	})
}

// The trainer's forward pass, with and without the shared prompt, gives the
// engine's logprobs bit for bit.
func TestLogprobsAreTheTrainers(t *testing.T) {
	for _, family := range []string{"llama", "llama3", "qwen2", "qwen3", "qwen3moe", "qwen3moe-nonorm", "deepseek", "deepseek-plain", "deepseek-sparse"} {
		for name, s := range samplings {
			t.Run(family+"/"+name, func(t *testing.T) {
				m, reqs := open(t, 2, family), requests(7, s)
				out := generate(t, m, 2, engine.Options{}, reqs)
				for _, shared := range []bool{true, false} {
					got, experts := trainer(m, reqs, out, shared)
					i := 0
					for _, rs := range out {
						for _, r := range rs {
							if !slices.Equal(r.Routing.Experts, experts[0]) {
								t.Fatalf("shared prompt %v: the engine recorded experts %v, the trainer chose %v", shared, r.Routing.Experts, experts[0])
							}
							experts = experts[1:]
							for _, lp := range r.Logprobs {
								if math.Float32bits(lp) != math.Float32bits(got[i]) {
									t.Fatalf("shared prompt %v: token %d: engine %v, trainer %v", shared, i, lp, got[i])
								}
								i++
							}
						}
					}
				}
			})
		}
	}
}

// trainer returns the trainer's logprobs and the experts it chose for each rollout.
func trainer(m *model.Model, reqs []engine.Request, out [][]grouse.Rollout, shared bool) (lps []float32, experts [][]int16) {
	g := tensor.NewGraph(m.Device(), tensor.Train)
	seqs := &tensor.Seqs{}
	var ids, rows []int32
	var spans [][]int // rows of each rollout, as [from, to, from, to]
	tg := &tensor.Targets{Temperature: max(reqs[0].Sampling.Temperature, 0)}
	if tg.Temperature == 0 {
		tg.Temperature = 1
	}
	for i, rs := range out {
		prompt, prefix := reqs[i].Prompt, -1
		if shared {
			ids = append(ids, prompt...)
			prefix = seqs.Add(len(prompt), -1)
		}
		last := int32(len(ids) - 1)
		for _, r := range rs {
			span := []int{len(ids) - len(prompt), len(ids), len(ids), len(ids) + len(r.ResponseIDs) - 1}
			if shared {
				span[0], span[1] = int(last)+1-len(prompt), int(last)+1
			} else {
				span = []int{len(ids), len(ids) + len(prompt) + len(r.ResponseIDs) - 1}
			}
			spans = append(spans, span)
			first := last // the row that predicts the first token
			n := len(r.ResponseIDs) - 1
			if !shared {
				ids = append(ids, prompt...)
				first = int32(len(ids) - 1)
				n += len(prompt)
			}
			seqs.Add(n, prefix)
			for j, id := range r.ResponseIDs {
				if j == 0 {
					rows = append(rows, first)
				} else {
					rows = append(rows, int32(len(ids)-1))
				}
				if j < len(r.ResponseIDs)-1 {
					ids = append(ids, id)
				}
				tg.IDs = append(tg.IDs, id)
				tg.Kept = append(tg.Kept, r.Kept.Row(j))
			}
		}
	}
	width := m.MoELayers() * m.ExpertsPerToken()
	routing := &model.Routing{Chosen: make([]int16, len(ids)*width)}
	h := m.Forward(g, model.Input{IDs: ids, Pos: seqs.Positions(), Rows: rows, Routing: routing, Attend: m.InBatch(g, seqs)})
	for _, s := range spans {
		var of []int16
		for ; len(s) > 0; s = s[2:] {
			of = append(of, routing.Chosen[s[0]*width:s[1]*width]...)
		}
		experts = append(experts, of)
	}
	return g.Logprob(h, m.Head(), tg).Values, experts
}

func TestCancelFreesAndBadRequestsAreNamed(t *testing.T) {
	m := open(t, 1, "llama")
	e := engine.New(cpu.New(1), engine.Options{MaxKVTokens: 64})
	defer e.Close()
	r := requests(1, samplings["full"])[0]
	if _, err := e.Generate(context.Background(), r); grouse.KindOf(err) != grouse.Unavailable {
		t.Fatalf("without weights: %v", err)
	}
	e.SetPolicy(m, 0)
	long := r
	long.MaxTokens = 100
	if _, err := e.Generate(context.Background(), long); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
		t.Fatalf("too long: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	forever := r
	forever.MaxTokens, forever.StopIDs = 40, nil
	forever.Token = func(int, int32, float32) { cancel() }
	if _, err := e.Generate(ctx, forever); err != context.Canceled {
		t.Fatalf("cancelled: %v", err)
	}
	forever.Token = nil
	for range 20 { // needs all of the memory each time
		forever.N = 2
		if _, err := e.Generate(context.Background(), forever); err != nil {
			t.Fatal(err)
		}
	}
}

// Decoding on the compressed cache: completions do not depend on company either,
// and their logprobs are the trainer's up to rounding, but not bit for bit. Prompts
// are computed in the expanded form: the first token's logprob is the trainer's.
func TestCompressedCache(t *testing.T) {
	for _, family := range []string{"deepseek", "deepseek-plain", "deepseek-sparse", "qwen3"} {
		m, reqs := open(t, 2, family), requests(7, samplings["full"])
		out := generate(t, m, 2, engine.Options{Compressed: true}, reqs)
		again := generate(t, m, 1, engine.Options{Compressed: true, PrefillChunk: 5, MaxKVTokens: 160}, reqs)
		for i := range out {
			same(t, family, again[i], out[i])
		}
		got, _ := trainer(m, reqs, out, true)
		i, worst := 0, 0.0
		for _, rs := range out {
			for _, r := range rs {
				for j, lp := range r.Logprobs {
					if j == 0 && lp != got[i] {
						t.Errorf("%s: a first token's logprob is %v, the trainer's %v", family, lp, got[i])
					}
					worst = max(worst, math.Abs(float64(lp)-float64(got[i])))
					i++
				}
			}
		}
		t.Logf("%s: logprobs differ by up to %.1e", family, worst)
		if worst > 1e-4 || (worst == 0) != (family == "qwen3") {
			t.Errorf("%s: logprobs differ by up to %v", family, worst)
		}
	}
}
