package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
	"github.com/grouse-rl/grouse/internal/worker"
	"github.com/grouse-rl/grouse/rollout/engine"
)

const modelHelp = "A run (NAME, NAME@STEP), a model folder, a .gguf file, or ORG/NAME that was pulled."

// openModel opens the model that MODEL names; needTokenizer refuses one that
// can only be given token ids.
func openModel(a *app, name, template string, needTokenizer bool) (*worker.Policy, *worker.Located, error) {
	at, err := locate(a, name)
	if err != nil {
		return nil, nil, err
	}
	var p *worker.Policy
	if template == "" && at.Run != nil {
		template = at.Run.Spec.Model.ChatTemplate
	}
	dev, err := a.device()
	if err != nil {
		return nil, nil, err
	}
	if needTokenizer {
		p, err = worker.Open(dev, at.Path, template)
	} else {
		p, err = worker.OpenWeights(dev, at.Path, template)
	}
	return p, at, err
}

func locate(a *app, name string) (*worker.Located, error) {
	at, err := worker.Locate(a.home, name)
	if err != nil {
		return nil, err
	}
	for _, s := range at.Skipped {
		fmt.Fprintf(a.stderr, "grouse: %v\n", s)
	}
	return at, nil
}

// device opens what --device names.
func (a *app) device() (tensor.Device, error) { return devices.Open(a.backend, 0) }

// samplingFlags are how tokens are drawn. What is not given is the base's.
type samplingFlags struct {
	Greedy      bool     `help:"Always take the most probable token." group:"sampling"`
	Temperature *float32 `help:"Divides the logits; 0 is --greedy." placeholder:"X" group:"sampling"`
	TopK        *int32   `help:"Keep the K most probable tokens." placeholder:"K" group:"sampling"`
	TopP        *float32 `help:"Keep the most probable tokens up to this mass." placeholder:"X" group:"sampling"`
	MinP        *float32 `help:"Keep tokens of this share of the best one's probability." placeholder:"X" group:"sampling"`
	Stop        []string `help:"A text that ends a completion; may be given again." placeholder:"TEXT" sep:"none" group:"sampling"`
	Seed        *uint64  `help:"Random seed." placeholder:"N" group:"sampling"`
}

func (f *samplingFlags) sampling(base grouse.Sampling) grouse.Sampling {
	if f.Temperature != nil {
		base.Temperature = *f.Temperature
	}
	if f.TopK != nil {
		base.TopK = *f.TopK
	}
	if f.TopP != nil {
		base.TopP = *f.TopP
	}
	if f.MinP != nil {
		base.MinP = *f.MinP
	}
	if f.Greedy {
		base.Temperature = 0
	}
	return base
}

func (f *samplingFlags) seed(base uint64) uint64 {
	if f.Seed != nil {
		return *f.Seed
	}
	return base
}

// inFlight is how many requests the engine is given at once.
const inFlight = 1024

// generateInOrder runs requests and calls each with the completions of one after
// the other, as soon as it and those before it are there.
func generateInOrder(ctx context.Context, p *worker.Policy, reqs []engine.Request, each func(i int, out []grouse.Rollout) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := engine.New(devices.Beside(p.Model.Device()), engine.Options{MaxKVTokens: cacheTokens(reqs)})
	defer e.Close()
	e.SetPolicy(p.Model, 0)
	type result struct {
		out []grouse.Rollout
		err error
	}
	waiting := make([]chan result, len(reqs))
	begun := 0
	begin := func(until int) {
		for ; begun < min(until, len(reqs)); begun++ {
			ch := make(chan result, 1)
			waiting[begun] = ch
			r := reqs[begun]
			go func() {
				out, err := e.Generate(ctx, r)
				ch <- result{out, err}
			}()
		}
	}
	begin(inFlight)
	var first error
	for i := 0; i < begun; i++ {
		r := <-waiting[i]
		waiting[i] = nil
		if first == nil {
			if first = r.err; first == nil {
				first = each(i, r.out)
			}
			if first != nil {
				cancel()
				continue
			}
			begin(i + 1 + inFlight)
		}
	}
	return first
}

// cacheTokens is the engine's cache: its default, or what the longest request
// with all its samples needs.
func cacheTokens(reqs []engine.Request) int {
	most, sum := 0, 0
	for _, r := range reqs {
		per := (len(r.Prompt) + r.MaxTokens + 2*tensor.BlockTokens) / tensor.BlockTokens * tensor.BlockTokens
		most = max(most, 2*per)
		sum += (r.N + 1) * per
	}
	return max(most, min(sum, 1<<16))
}

// line prints one JSON object on stdout.
func (a *app) line(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return grouse.Errorf(grouse.Internal, "%w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", raw)
	return err
}
