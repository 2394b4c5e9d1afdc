package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
)

type logprobsCmd struct {
	Model  string `arg:"" help:"${modelHelp}"`
	Data   string `required:"" help:"Rows with text, token_ids, prompt or messages: .jsonl, .json, .csv, .parquet." type:"path" placeholder:"FILE"`
	Prompt string `help:"Column to read instead of text." placeholder:"COLUMN"`
	Plain  bool   `help:"Prompts are plain text, not in the model's chat template."`
	Limit  int    `help:"Rows; 0 for all." default:"0"`
	JSON   bool   `name:"json" help:"One JSON object a row."`
}

// Help is shown by `grouse logprobs --help`.
func (c *logprobsCmd) Help() string {
	return `Prints {"index","token_ids","logprobs"} for each row: logprobs[i] is the natural log of the
probability of token i given those before it, at temperature 1; null for the first. A text is
tokenized with what the tokenizer puts around it. The numbers are those of generation and of
training, bit for bit.

Examples:
  echo '{"text":"The capital of France is Paris."}' > t.jsonl; grouse logprobs ./model --data t.jsonl --json
  grouse logprobs model.gguf --data ids.jsonl --json`
}

// logprobsJSON is a line of logprobs.
type logprobsJSON struct {
	Index    int        `json:"index"`
	TokenIDs []int32    `json:"token_ids"`
	Logprobs []*float32 `json:"logprobs"` // [T], the first null
}

// Run computes the log-probabilities of a file's texts.
func (c *logprobsCmd) Run(a *app) error {
	p, _, err := openModel(a, c.Model, "", false)
	if err != nil {
		return err
	}
	lines, err := p.ReadLines(grouse.DataSpec{Path: c.Data, Prompt: c.Prompt, Limit: c.Limit}, worker.ReadOptions{Home: a.home, Plain: c.Plain, Text: true})
	if err != nil {
		return err
	}
	seqs := make([][]int32, len(lines))
	for i, l := range lines {
		seqs[i] = l.IDs
	}
	return p.Logprobs(a.ctx, seqs, func(i int, logprobs []float32) error {
		out := logprobsJSON{i, seqs[i], make([]*float32, len(seqs[i]))}
		for t := range logprobs {
			out.Logprobs[t+1] = &logprobs[t]
		}
		if c.JSON {
			return a.line(out)
		}
		sum := 0.0
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		for t, id := range out.TokenIDs {
			token := ""
			if p.Tokenizer != nil {
				token = visible(p.Tokenizer.Decode(out.TokenIDs[t:t+1], false))
			}
			if out.Logprobs[t] == nil {
				fmt.Fprintf(w, "%d\t%d\t%q\t\n", i, id, token)
				continue
			}
			sum += float64(*out.Logprobs[t])
			fmt.Fprintf(w, "%d\t%d\t%q\t%.6f\n", i, id, token, *out.Logprobs[t])
		}
		fmt.Fprintf(w, "%d\tsum\t%d tokens\t%.6f\n", i, len(out.TokenIDs), sum)
		return w.Flush()
	})
}
