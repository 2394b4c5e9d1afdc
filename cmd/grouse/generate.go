package main

import (
	"fmt"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/worker"
	"github.com/grouse-rl/grouse/rollout/engine"
)

type generateCmd struct {
	Model     string `arg:"" help:"${modelHelp}"`
	Data      string `required:"" help:"Rows with prompt, messages, text or token_ids: .jsonl, .json, .csv, .parquet." type:"path" placeholder:"FILE"`
	N         int    `short:"n" help:"Completions a row." default:"1"`
	MaxTokens int    `help:"Longest completion, tokens." default:"64"`
	Prompt    string `help:"Column of the prompt." placeholder:"COLUMN"`
	System    string `help:"System prompt." placeholder:"TEXT"`
	Plain     bool   `help:"Prompts are plain text, not in the model's chat template."`
	Limit     int    `help:"Rows; 0 for all." default:"0"`
	JSON      bool   `name:"json" help:"One JSON object a completion."`
	samplingFlags
}

// Help is shown by `grouse generate --help`.
func (c *generateCmd) Help() string {
	return `Prints {"index","sample","token_ids","logprobs","text","finish_reason"} for each completion, in the
order of rows, then samples. logprobs are natural logs under the distribution that the token was
drawn from (temperature, top-k, top-p and min-p applied); with --greedy those of temperature 1 over
the whole vocabulary. A completion depends on model, row, settings and seed, not on other rows.

Examples:
  echo '{"prompt":"12+34="}' > p.jsonl; grouse generate quickstart --data p.jsonl --n 4 --json
  grouse generate ./SmolLM2-135M-Instruct --data p.jsonl --greedy --max-tokens 128
  grouse generate model.gguf --data ids.jsonl --temperature 0.7 --top-p 0.9 --seed 3 --json`
}

// completionJSON is a line of generate.
type completionJSON struct {
	Index    int                 `json:"index"`
	Sample   int                 `json:"sample"`
	TokenIDs []int32             `json:"token_ids"`
	Logprobs []float32           `json:"logprobs"`
	Text     string              `json:"text"`
	Finish   grouse.FinishReason `json:"finish_reason"`
}

// Run generates completions of a file's prompts.
func (c *generateCmd) Run(a *app) error {
	p, _, err := openModel(a, c.Model, "", false)
	if err != nil {
		return err
	}
	lines, err := p.ReadLines(grouse.DataSpec{Path: c.Data, Prompt: c.Prompt, Limit: c.Limit}, worker.ReadOptions{Home: a.home, System: c.System, Plain: c.Plain})
	if err != nil {
		return err
	}
	sampling := c.sampling(grouse.Sampling{Temperature: 1, TopP: 1})
	key := rng.NewKey(rng.Eval, "generate", c.seed(0))
	reqs := make([]engine.Request, len(lines))
	for i, l := range lines {
		reqs[i] = engine.Request{Prompt: l.IDs, N: c.N, Sampling: sampling, MaxTokens: c.MaxTokens, StopIDs: p.StopIDs(), StopStrings: c.Stop,
			Decode: p.Decode, Key: key, Candidate: uint32(i)}
	}
	if p.Tokenizer == nil && len(c.Stop) > 0 {
		return grouse.Errorf(grouse.Invalid, "--stop needs a tokenizer, which %s does not have", c.Model)
	}
	return generateInOrder(a.ctx, p, reqs, func(i int, out []grouse.Rollout) error {
		if sampling.Temperature == 0 {
			if err := rescore(a, p, lines[i].IDs, out); err != nil {
				return err
			}
		}
		for _, r := range out {
			if err := c.print(a, i, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *generateCmd) print(a *app, i int, r grouse.Rollout) error {
	if c.JSON {
		return a.line(completionJSON{i, int(r.Sample), r.ResponseIDs, r.Logprobs, r.Text, r.Finish})
	}
	text := strings.TrimRight(r.Text, "\n")
	if text == "" && len(r.ResponseIDs) > 0 {
		text = fmt.Sprint(r.ResponseIDs)
	}
	_, err := fmt.Fprintf(a.stdout, "── row %d, sample %d (%d tokens, %s)\n%s\n", i, r.Sample, len(r.ResponseIDs), r.Finish, printable(text))
	return err
}

// printable is visible for texts of several lines.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

// rescore gives greedy completions the logprobs of temperature 1: those that
// greedy sampling itself records are 0.
func rescore(a *app, p *worker.Policy, prompt []int32, out []grouse.Rollout) error {
	seqs := make([][]int32, len(out))
	for i, r := range out {
		seqs[i] = append(append([]int32(nil), prompt...), r.ResponseIDs...)
	}
	return p.Logprobs(a.ctx, seqs, func(i int, logprobs []float32) error {
		out[i].Logprobs = logprobs[len(prompt)-1:]
		return nil
	})
}
