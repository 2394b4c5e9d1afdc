package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/rollout/engine"
	"github.com/grouse-rl/grouse/trainer"
)

// line is one measurement; gpucheck.py speed prints the same of torch.
type line struct {
	Who      string    `json:"who"`
	What     string    `json:"what"` // train | generate
	Shape    string    `json:"shape"`
	Device   string    `json:"device"`
	Batch    int       `json:"batch"`
	Seq      int       `json:"seq,omitempty"`
	Prompt   int       `json:"prompt,omitempty"`
	New      int       `json:"new,omitempty"`
	TokensPS float64   `json:"tokens_per_s"`
	FlopsPS  float64   `json:"flops_per_s,omitempty"` // of training, by shape.flops
	Seconds  []float64 `json:"seconds"`
}

// flops is the operations of one token's forward and backward pass: 6 for each
// weight of a product (the embedding's look-up is none), and causal attention over
// seq positions, 6 layers heads headDim seq.
func (s shape) flops(seq int) float64 {
	attention := s.headDim * s.hidden * (2*s.heads + 2*s.kvHeads)
	products := s.layers*(attention+3*s.hidden*s.inner) + s.vocab*s.hidden
	return 6*float64(products) + 6*float64(s.layers*s.heads*s.headDim)*float64(seq)
}

// size of the measurements: tokens that a real step would have, as far as a short
// run allows.
func (s shape) work() (batch, seq, decode, prompt, tokens int) {
	if s.hidden < 512 {
		return 2, 32, 8, 8, 8
	}
	return 4, 4096, 256, 128, 128
}

func speed(ctx context.Context, dev tensor.Device, name string, out io.Writer) error {
	m, err := random(dev, name)
	if err != nil {
		return err
	}
	s := shapes[name]
	batch, seq, decode, prompt, tokens := s.work()
	print := func(l line) error {
		l.Who, l.Shape, l.Device = "grouse", name, dev.Name()
		raw, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", raw)
		return err
	}

	reqs := make([]engine.Request, decode)
	for i := range reqs {
		reqs[i] = engine.Request{Prompt: ids(s.vocab, prompt, i), N: 1, MaxTokens: tokens, Sampling: grouse.Sampling{Temperature: 1, TopP: 1},
			Key: rng.NewKey(rng.Eval, "gpucheck", 0), Candidate: uint32(i)}
	}
	e := engine.New(dev, engine.Options{MaxKVTokens: 2 * decode * (prompt + tokens + 2*tensor.BlockTokens)})
	e.SetPolicy(m, 0)
	seconds, err := timed(2, func() error { _, err := e.GenerateAll(ctx, reqs, nil); return err })
	e.Close()
	if err != nil {
		return err
	}
	if err := print(line{What: "generate", Batch: decode, Prompt: prompt, New: tokens, TokensPS: float64(decode*tokens) / slices.Min(seconds), Seconds: seconds}); err != nil {
		return err
	}

	tr, err := trainer.New(m, grouse.Stage{Kind: grouse.StageSFT, Steps: 4, Trainer: grouse.TrainerSpec{LearningRate: 1e-6, Schedule: "constant",
		Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxGradNorm: 1, MicroBatchTokens: seq}})
	if err != nil {
		return err
	}
	examples := make([]trainer.Example, batch)
	for i := range examples {
		row := ids(s.vocab, seq+1, i)
		examples[i] = trainer.Example{Prompt: row[:1], Completion: row[1:]}
	}
	if seconds, err = timed(3, func() error { _, err := tr.SFT(ctx, examples); return err }); err != nil {
		return err
	}
	rate := float64(batch*seq) / slices.Min(seconds)
	return print(line{What: "train", Batch: batch, Seq: seq, TokensPS: rate, FlopsPS: rate * s.flops(seq), Seconds: seconds})
}

// timed runs work once to warm up, then n times.
func timed(n int, work func() error) ([]float64, error) {
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
