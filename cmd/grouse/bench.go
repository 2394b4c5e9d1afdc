package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
	"github.com/grouse-rl/grouse/rollout/engine"
	"github.com/grouse-rl/grouse/trainer"
)

type benchCmd struct {
	Generate benchGenerateCmd `cmd:"" help:"Tokens a second of generation."`
	Train    benchTrainCmd    `cmd:"" help:"Tokens a second of training."`
	Matmul   benchMatmulCmd   `cmd:"" help:"Rate of the float32 matrix product."`
}

// Help is shown by `grouse bench --help`.
func (c *benchCmd) Help() string {
	return `Each prints the median of several repeats after a warm-up; --json prints one object.

Examples:
  grouse bench generate --model ./SmolLM2-135M --batch 16 --prompt 32 --new 64 --json
  grouse bench train --model ./SmolLM2-135M --batch 16 --seq 128
  grouse bench matmul --size 1024 --json`
}

// benchJSON is what generate and train print.
type benchJSON struct {
	Bench     string    `json:"bench"`
	Model     string    `json:"model"`
	Batch     int       `json:"batch"`
	Prompt    int       `json:"prompt,omitempty"`
	New       int       `json:"new,omitempty"`
	Seq       int       `json:"seq,omitempty"`
	TokensPer float64   `json:"tokens_per_s"`
	PeakRSS   float64   `json:"peak_rss_mb"` // of the process, MiB
	Seconds   []float64 `json:"seconds"`     // of each repeat
	Device    string    `json:"device"`
	Threads   int       `json:"threads"`
}

// repeats times work, after a warm-up, and returns the seconds of each.
func repeats(n int, work func() error) ([]float64, error) {
	var out []float64
	for i := range n + 1 {
		began := time.Now()
		if err := work(); err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, time.Since(began).Seconds())
		}
	}
	return out, nil
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// peakRSS is the most memory that the process has had, MiB.
func peakRSS() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return math.NaN()
	}
	if runtime.GOOS == "darwin" {
		return float64(u.Maxrss) / (1 << 20) // bytes
	}
	return float64(u.Maxrss) / (1 << 10) // KiB
}

// randomIDs are token ids without meaning, the same in each call.
func randomIDs(vocab, n int, row uint32) []int32 {
	stream := rng.NewKey(rng.Data, "bench", 0).Stream(row, 0, 0)
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(stream.Below(uint64(vocab)))
	}
	return ids
}

func (b *benchJSON) print(a *app, asJSON bool, m *model.Model) error {
	b.PeakRSS, b.Device = peakRSS(), m.Device().Name()
	if d, ok := m.Device().(*cpu.Device); ok {
		b.Threads = d.Threads()
	}
	if asJSON {
		return a.line(b)
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %.1f tokens/s, peak memory %.0f MiB (%s, %s, %d threads, median of %d)\n", b.Bench, b.TokensPer, b.PeakRSS, b.Model, b.Device, b.Threads, len(b.Seconds))
	return err
}

// positive refuses sizes below 1.
func positive(name string, v int) error {
	if v < 1 {
		return grouse.Errorf(grouse.Invalid, "--%s is %d", name, v).WithFix("want at least 1")
	}
	return nil
}

type benchGenerateCmd struct {
	Model  string `required:"" help:"${modelHelp}" placeholder:"MODEL"`
	Batch  int    `help:"Different prompts, generated together." default:"16"`
	Prompt int    `help:"Tokens of a prompt." default:"32"`
	New    int    `help:"Tokens of a completion." default:"64"`
	Repeat int    `help:"Timed repeats." default:"3"`
	JSON   bool   `name:"json" help:"One JSON object."`
}

// Help is shown by `grouse bench generate --help`.
func (c *benchGenerateCmd) Help() string {
	return `Random prompts; temperature 1, full vocabulary, logprobs recorded, stop tokens ignored. Counted are the
new tokens, in the time of prompts and completions together.`
}

// Run times generation.
func (c *benchGenerateCmd) Run(a *app) error {
	for name, v := range map[string]int{"batch": c.Batch, "prompt": c.Prompt, "new": c.New, "repeat": c.Repeat} {
		if err := positive(name, v); err != nil {
			return err
		}
	}
	p, _, err := openModel(a, c.Model, "", false)
	if err != nil {
		return err
	}
	reqs := make([]engine.Request, c.Batch)
	for i := range reqs {
		reqs[i] = engine.Request{Prompt: randomIDs(p.Model.Config.VocabSize, c.Prompt, uint32(i)), N: 1, MaxTokens: c.New,
			Sampling: grouse.Sampling{Temperature: 1, TopP: 1}, Key: rng.NewKey(rng.Eval, "bench", 0), Candidate: uint32(i)}
	}
	e := engine.New(devices.Beside(p.Model.Device()), engine.Options{MaxKVTokens: cacheTokens(reqs)})
	defer e.Close()
	e.SetPolicy(p.Model, 0)
	seconds, err := repeats(c.Repeat, func() error {
		_, err := e.GenerateAll(a.ctx, reqs, nil)
		return err
	})
	if err != nil {
		return err
	}
	out := &benchJSON{Bench: "generate", Model: c.Model, Batch: c.Batch, Prompt: c.Prompt, New: c.New, Seconds: seconds}
	out.TokensPer = float64(c.Batch*c.New) / median(seconds)
	return out.print(a, c.JSON, p.Model)
}

type benchTrainCmd struct {
	Model            string `required:"" help:"${modelHelp}" placeholder:"MODEL"`
	Batch            int    `help:"Sequences." default:"16"`
	Seq              int    `help:"Tokens of a sequence." default:"128"`
	MicroBatchTokens int    `help:"Most tokens in one forward pass; the result is the same." default:"4096"`
	Recompute        bool   `help:"Compute activations again in the backward pass: less memory."`
	Repeat           int    `help:"Timed repeats." default:"3"`
	JSON             bool   `name:"json" help:"One JSON object."`
}

// Help is shown by `grouse bench train --help`.
func (c *benchTrainCmd) Help() string {
	return `One repeat is forward, backward and AdamW on batch x seq random tokens, each with a next token to learn.`
}

// Run times training.
func (c *benchTrainCmd) Run(a *app) error {
	for name, v := range map[string]int{"batch": c.Batch, "seq": c.Seq, "repeat": c.Repeat, "micro-batch-tokens": c.MicroBatchTokens} {
		if err := positive(name, v); err != nil {
			return err
		}
	}
	p, _, err := openModel(a, c.Model, "", false)
	if err != nil {
		return err
	}
	tr, err := trainer.New(p.Model, benchStage(c))
	if err != nil {
		return err
	}
	batch := make([]trainer.Example, c.Batch)
	for i := range batch {
		// The last token is only learned, never fed: seq rows, each with a target.
		ids := randomIDs(p.Model.Config.VocabSize, c.Seq+1, uint32(i))
		batch[i] = trainer.Example{Prompt: ids[:1], Completion: ids[1:]}
	}
	seconds, err := repeats(c.Repeat, func() error {
		_, err := tr.SFT(context.Background(), batch)
		return err
	})
	if err != nil {
		return err
	}
	out := &benchJSON{Bench: "train", Model: c.Model, Batch: c.Batch, Seq: c.Seq, Seconds: seconds}
	out.TokensPer = float64(c.Batch*c.Seq) / median(seconds)
	return out.print(a, c.JSON, p.Model)
}

func benchStage(c *benchTrainCmd) grouse.Stage {
	return grouse.Stage{Kind: grouse.StageSFT, Steps: c.Repeat + 1, Trainer: grouse.TrainerSpec{Backend: "cpu", LearningRate: 1e-6, Schedule: "constant",
		Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxGradNorm: 1, MicroBatchTokens: c.MicroBatchTokens, Recompute: c.Recompute}}
}

type benchMatmulCmd struct {
	Size   int  `help:"Rows and columns of all three matrices." default:"1024"`
	Repeat int  `help:"Timed repeats." default:"11"`
	JSON   bool `name:"json" help:"One JSON object."`
}

// Help is shown by `grouse bench matmul --help`.
func (c *benchMatmulCmd) Help() string {
	return `The product of activations and a weight that lies packed, as models use it: 2 size³ operations.`
}

// matmulJSON is what matmul prints.
type matmulJSON struct {
	Bench   string    `json:"bench"`
	Size    int       `json:"size"`
	Gflops  float64   `json:"gflops"`
	Best    float64   `json:"gflops_best"`
	Seconds []float64 `json:"seconds"`
	Device  string    `json:"device"`
	Threads int       `json:"threads"`
}

// Run times the matrix product.
func (c *benchMatmulCmd) Run(a *app) error {
	if err := positive("size", c.Size); err != nil {
		return err
	}
	if err := positive("repeat", c.Repeat); err != nil {
		return err
	}
	if a.backend != devices.CPU {
		return grouse.Errorf(grouse.Invalid, "bench matmul measures the processor").WithFix("leave --device out; `bench train` and `bench generate` measure a GPU")
	}
	n := c.Size
	d := cpu.New(0)
	x, y, w := d.New(n*n), d.New(n*n), tensor.NewParam(d, "w", n, n)
	values := make([]float32, n*n)
	for i := range values {
		values[i] = float32(i%17)/17 - 0.5
	}
	d.Write(x, values)
	w.Write(d, values)
	seconds, err := repeats(c.Repeat, func() error {
		d.Linear(y, x, w.Data, nil, n, n, n)
		return a.ctx.Err()
	})
	if err != nil {
		return err
	}
	flop := 2 * float64(n) * float64(n) * float64(n)
	out := matmulJSON{Bench: "matmul", Size: n, Gflops: flop / median(seconds) / 1e9, Best: flop / slices.Min(seconds) / 1e9, Seconds: seconds, Device: d.Name(), Threads: d.Threads()}
	if c.JSON {
		return a.line(out)
	}
	_, err = fmt.Fprintf(a.stdout, "matmul %d³: %.1f GFLOP/s, best %.1f (%s, %d threads, median of %d)\n", n, out.Gflops, out.Best, out.Device, out.Threads, len(seconds))
	return err
}
