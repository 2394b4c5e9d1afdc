package trainer

import (
	"context"

	"github.com/grouse-rl/grouse"
)

// Example is one worked example of supervised fine-tuning.
type Example struct {
	Prompt     []int32
	Completion []int32 // its end token included
}

// SFT does one update: the mean over completion tokens of -log p, prompts not
// counted. Examples stand one after the other without padding (packing), each
// seeing only itself.
func (t *Trainer) SFT(ctx context.Context, examples []Example) (grouse.Metrics, error) {
	tokens := 0
	for _, e := range examples {
		tokens += len(e.Completion)
	}
	if tokens == 0 {
		return nil, grouse.Errorf(grouse.Invalid, "sft: a batch of %d examples without a completion token", len(examples))
	}
	t.model.ZeroGrads()
	loss := 0.0
	rows, kl := 0, make([]float64, t.model.Layers())
	for _, e := range examples {
		rows += len(e.Prompt) + max(0, len(e.Completion)-1)
	}
	size := func(i int) int { return len(examples[i].Prompt) + len(examples[i].Completion) }
	err := microBatches(t.graph, len(examples), t.stage.Trainer.MicroBatchTokens, size, func(lo, hi int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := &layout{}
		for _, e := range examples[lo:hi] {
			l.add(e.Prompt, [][]int32{e.Completion}, nil, nil)
			t.state.Tokens += int64(len(e.Prompt) + len(e.Completion))
		}
		indexer := t.indexerLoss(rows)
		lp := l.logprobs(t.graph, t.model, 1, nil, indexer)
		coef := make([]float32, len(lp.Values))
		for i, v := range lp.Values {
			loss -= float64(v)
			coef[i] = float32(-1 / float64(tokens))
		}
		if indexer != nil && indexer.Dense {
			t.graph.Backward() // the indexers' loss alone
		} else {
			lp.Backward(coef)
		}
		if indexer != nil {
			indexer.AddTo(kl)
		}
		t.graph.Reset()
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := grouse.Metrics{"loss": loss / float64(tokens), "num_tokens": float64(t.state.Tokens)}
	if t.indexerLoss(rows) != nil {
		indexerMetric(out, kl, rows)
	}
	t.apply(out)
	return out, nil
}
