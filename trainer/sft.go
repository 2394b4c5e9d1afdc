package trainer

import (
	"context"
	"slices"

	"github.com/grouse-rl/grouse"
)

// Example is one worked example of supervised fine-tuning.
type Example struct {
	Prompt     []int32
	Completion []int32 // its end token included
}

// SFT does one update: the mean over completion tokens of -log p, prompts not
// counted. Examples stand one after the other without padding (packing), each
// seeing only itself. Of several ranks all are given the same examples, and rank 0 has the
// metrics.
func (t *Trainer) SFT(ctx context.Context, examples []Example) (grouse.Metrics, error) {
	tokens := 0
	for _, e := range examples {
		tokens += len(e.Completion)
	}
	if tokens == 0 {
		return nil, grouse.Errorf(grouse.Invalid, "sft: a batch of %d examples without a completion token", len(examples))
	}
	t.model.ZeroGrads()
	rows := 0
	for _, e := range examples {
		rows += len(e.Prompt) + max(0, len(e.Completion)-1)
		t.state.Tokens += int64(len(e.Prompt) + len(e.Completion))
	}
	from, to := t.share(len(examples), func(i int) int { return len(examples[i].Prompt) + len(examples[i].Completion) })
	examples = examples[from:to]
	size := func(i int) int { return len(examples[i].Prompt) + len(examples[i].Completion) }
	mine := foundExamples{KL: make([]float64, t.model.Layers())}
	err := microBatches(t.graph, len(examples), t.stage.Trainer.MicroBatchTokens, size, func(lo, hi int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := &layout{}
		for _, e := range examples[lo:hi] {
			fed := path{ids: slices.Concat(e.Prompt, e.Completion[:max(0, len(e.Completion)-1)])}
			l.add(plant([]path{fed}, 0), len(e.Prompt), [][]int32{e.Completion}, nil)
		}
		indexer := t.indexerLoss(rows)
		lp := l.logprobs(t.graph, t.model, 1, nil, indexer)
		coef := make([]float32, len(lp.Values))
		mine.Logprobs = append(mine.Logprobs, lp.Values...)
		for i := range coef {
			coef[i] = float32(-1 / float64(tokens))
		}
		if indexer != nil && indexer.Dense {
			t.graph.Backward() // the indexers' loss alone
		} else {
			lp.Backward(coef)
		}
		if indexer != nil {
			indexer.AddTo(mine.KL)
		}
		t.graph.Reset()
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := grouse.Metrics{}
	if err := t.apply(ctx, out); err != nil {
		return nil, err
	}
	all, err := collect(ctx, t, mine)
	if err != nil || !t.first() {
		return nil, err
	}
	loss, kl := 0.0, make([]float64, t.model.Layers())
	for r := range all {
		for _, v := range all[r].Logprobs {
			loss -= float64(v)
		}
		for l, v := range all[r].KL {
			kl[l] += v
		}
	}
	out["loss"], out["num_tokens"] = loss/float64(tokens), float64(t.state.Tokens)
	if t.indexerLoss(rows) != nil {
		indexerMetric(out, kl, rows)
	}
	return out, nil
}

// foundExamples is what a rank's share of an update's examples came to.
type foundExamples struct {
	Logprobs []float32 // of the completions' tokens, in order
	KL       []float64 // of the indexers, by layer
}
