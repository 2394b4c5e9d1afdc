package trainer

import (
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// layout is the rows of one forward pass over whole trees.
type layout struct {
	ids  []int32
	seqs tensor.Seqs
	rows []int32 // the row that predicts each response token
	to   tensor.Targets
	spec []span // of each completion, in order

	width  int     // experts of a row, all layers; 0: rows route freely
	routed []int16 // [rows, width]
}

// span is a completion's stretch of rows and targets.
type span struct{ lo, hi int }

// add lays out a tree of completions of a prompt of so many tokens; kept gives each its
// sampling mask.
func (l *layout) add(t *tree, prompt int, completions [][]int32, kept func(i, t int) []int32) {
	base, first := int32(len(l.ids)), len(l.seqs.Start)
	for _, s := range t.segs {
		prefix := s.prefix
		if prefix >= 0 {
			prefix += first
		}
		l.ids = append(l.ids, s.ids...)
		l.seqs.Add(len(s.ids), prefix)
		l.route(s.experts, len(s.ids))
	}
	for i, ids := range completions {
		lo := len(l.rows)
		for p, id := range ids {
			l.rows = append(l.rows, base+t.at[i][prompt-1+p])
			l.to.IDs = append(l.to.IDs, id)
			if kept != nil {
				l.to.Kept = append(l.to.Kept, kept(i, p))
			}
		}
		l.spec = append(l.spec, span{lo, len(l.rows)})
	}
}

// logprobs runs the forward pass. routing may be nil; its table of forced experts
// is the layout's. indexer may be nil.
func (l *layout) logprobs(g *tensor.Graph, m *model.Model, temperature float32, routing *model.Routing, indexer *model.IndexerLoss) *tensor.Logprobs {
	l.to.Temperature = temperature
	if routing != nil {
		routing.Forced = l.routed
	}
	h := m.Forward(g, model.Input{IDs: l.ids, Pos: l.seqs.Positions(), Rows: l.rows, Routing: routing, Indexer: indexer, Attend: m.InBatch(g, &l.seqs)})
	return g.Logprob(h, m.Head(), &l.to)
}

// microBatches calls fn for runs of items of at most limit tokens, each at least
// one item, with the graph's memory made for the largest. Cuts lie between trees, so
// they change no bit of the result on the CPU.
func microBatches(g *tensor.Graph, n, limit int, tokens func(i int) int, fn func(lo, hi int) error) error {
	var ends []int
	most := 0
	for lo := 0; lo < n; {
		hi, sum := lo, 0
		for hi < n && (hi == lo || sum+tokens(hi) <= limit) {
			sum += tokens(hi)
			hi++
		}
		ends, most = append(ends, hi), max(most, sum)
		lo = hi
	}
	g.Reserve(most)
	lo := 0
	for _, hi := range ends {
		if err := fn(lo, hi); err != nil {
			return err
		}
		lo = hi
	}
	return nil
}
