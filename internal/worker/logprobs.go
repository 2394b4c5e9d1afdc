package worker

import (
	"context"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// scoreTokens bounds the rows of one forward pass, unless a sequence is longer.
const scoreTokens = 2048

// Logprobs returns, of each sequence ids, log p(ids[i+1] | ids[:i+1]): natural
// logs at temperature 1 over the whole vocabulary, [len(ids)-1]. They are those
// that generation and training see, bit for bit. each, if not nil, gets them in
// order as they come.
func (p *Policy) Logprobs(ctx context.Context, seqs [][]int32, each func(i int, logprobs []float32) error) error {
	m := p.Model
	for s, ids := range seqs {
		for i, id := range ids {
			if id < 0 || int(id) >= m.Config.VocabSize {
				return grouse.Errorf(grouse.Invalid, "logprobs: sequence %d: token %d is %d, the vocabulary has %d ids", s, i, id, m.Config.VocabSize)
			}
		}
	}
	g := tensor.NewGraph(m.Device(), tensor.Infer)
	for lo := 0; lo < len(seqs); {
		if err := ctx.Err(); err != nil {
			return err
		}
		hi, rows := lo, 0
		for hi < len(seqs) && (hi == lo || rows+len(seqs[hi]) <= scoreTokens) {
			rows += len(seqs[hi])
			hi++
		}
		values := score(g, m, seqs[lo:hi])
		g.Reset()
		for i := lo; i < hi; i++ {
			n := max(0, len(seqs[i])-1)
			if err := each(i, values[:n:n]); err != nil {
				return err
			}
			values = values[n:]
		}
		lo = hi
	}
	return nil
}

// score is one forward pass over sequences side by side.
func score(g *tensor.Graph, m *model.Model, seqs [][]int32) []float32 {
	layout := &tensor.Seqs{}
	var ids []int32
	targets := &tensor.Targets{Temperature: 1}
	for _, s := range seqs {
		if len(s) < 2 {
			continue
		}
		layout.Add(len(s)-1, -1)
		ids = append(ids, s[:len(s)-1]...) // the last token is never fed
		targets.IDs = append(targets.IDs, s[1:]...)
	}
	if len(ids) == 0 {
		return nil
	}
	h := m.Forward(g, model.Input{IDs: ids, Pos: layout.Positions(), Attend: m.InBatch(g, layout)})
	return g.Logprob(h, m.Head(), targets).Values
}
