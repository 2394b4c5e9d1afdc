package trainer

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// layout is the rows of one forward pass over whole trees: a prompt, then its
// completions, which continue it. The prompt is computed once, and its gradient
// is the sum over the completions in order.
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

// add lays out a prompt with its completions; kept gives each its sampling mask,
// routed its experts if width is set. The prompt takes the first one's.
func (l *layout) add(prompt []int32, completions [][]int32, kept func(i, t int) []int32, routed func(i int) []int16) {
	if l.width > 0 {
		l.route(routed(0), 0, len(prompt))
	}
	l.ids = append(l.ids, prompt...)
	tree := l.seqs.Add(len(prompt), -1)
	last := int32(len(l.ids) - 1)
	for i, ids := range completions {
		lo := len(l.rows)
		if n := len(ids) - 1; n > 0 { // the last token is never fed
			l.seqs.Add(n, tree)
			if l.width > 0 {
				l.route(routed(i), len(prompt), n)
			}
		}
		for t, id := range ids {
			row := last
			if t > 0 {
				row = int32(len(l.ids) - 1)
			}
			if t < len(ids)-1 {
				l.ids = append(l.ids, id)
			}
			l.rows = append(l.rows, row)
			l.to.IDs = append(l.to.IDs, id)
			if kept != nil {
				l.to.Kept = append(l.to.Kept, kept(i, t))
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

// groupTokens is the rows that a group takes in a forward pass.
func groupTokens(g *grouse.Group) int {
	n := len(g.Prompt.TokenIDs)
	for i := range g.Rollouts {
		n += max(0, len(g.Rollouts[i].ResponseIDs)-1)
	}
	return n
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
