package trainer

import (
	"context"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

// How a step is shared out among ranks, and how what each found out comes together.
// With one rank all of it is that rank's.

// part is a mini-batch: groups from[0] to from[ranks]-1, of which rank r has from[r] to
// from[r+1]-1.
type part struct{ from []int }

func (p part) lo() int { return p.from[0] }
func (p part) hi() int { return p.from[len(p.from)-1] }

// parts cuts a step's groups into mini-batches that are not empty, and those into the
// ranks' shares.
func (t *Trainer) parts(groups []grouse.ScoredGroup) []part {
	n, ranks := len(groups), 1
	if t.ranks != nil {
		ranks = t.ranks.group.Size()
	}
	var out []part
	batches := t.obj.Algorithm().MiniBatches
	for b := range batches {
		lo, hi := b*n/batches, (b+1)*n/batches
		if lo == hi {
			continue
		}
		from := cut(hi-lo, ranks, func(i int) int { return groupTokens(&groups[lo+i].Group) })
		for r := range from {
			from[r] += lo
		}
		out = append(out, part{from})
	}
	return out
}

// mineOf is this rank's share of a part.
func (t *Trainer) mineOf(p part) (lo, hi int) {
	if t.ranks == nil {
		return p.lo(), p.hi()
	}
	r := t.ranks.group.Rank()
	return p.from[r], p.from[r+1]
}

// found is what a rank's share of a step came to.
type found struct {
	Updates         []foundUpdate
	Traces          [][]grouse.Trace // of its groups, in order
	Differ, Counted []int            // kept routing, by layer
}

type foundUpdate struct {
	Stats     []grpo.SequenceStats // of its completions, in order
	IndexerKL []float64            // by layer
}

// rewards are what the advantages are made from. Where they depend on logprobs, their
// groups' ranks tell the others.
func (t *Trainer) rewards(ctx context.Context, groups []grouse.ScoredGroup, batch [][]completion, parts []part) ([][]float64, error) {
	alg := t.obj.Algorithm()
	rewards := make([][]float64, len(groups))
	penalized := func(i int) {
		rewards[i] = make([]float64, len(batch[i]))
		for j := range rewards[i] {
			s := &batch[i][j].seq
			rewards[i][j] = grpo.PenalizedReward(*groups[i].Scores[j].Reward, alg.KLInReward, s.OldLogprobs, s.RefLogprobs, s.Mask)
		}
	}
	if t.ranks == nil || alg.KLInReward == 0 {
		for i := range groups {
			penalized(i)
		}
		return rewards, nil
	}
	var mine, flat []float64
	for _, p := range parts {
		lo, hi := t.mineOf(p)
		for i := lo; i < hi; i++ {
			penalized(i)
			mine = append(mine, rewards[i]...)
		}
	}
	all, err := collect(ctx, t, mine)
	if err != nil {
		return nil, err
	}
	each := func(visit func(rank, i int)) { // groups in order
		for _, p := range parts {
			for r := range len(p.from) - 1 {
				for i := p.from[r]; i < p.from[r+1]; i++ {
					visit(r, i)
				}
			}
		}
	}
	if t.first() {
		each(func(r, i int) {
			n := len(batch[i])
			flat, all[r] = append(flat, all[r][:n]...), all[r][n:]
		})
	}
	if flat, err = t.agree(ctx, flat); err != nil {
		return nil, err
	}
	each(func(_, i int) {
		n := len(batch[i])
		rewards[i], flat = flat[:n:n], flat[n:]
	})
	return rewards, nil
}

// updateMetrics adds the loss metrics of update u.
func (t *Trainer) updateMetrics(out grouse.Metrics, groups []grouse.ScoredGroup, all []found, u int) {
	var stats []grpo.SequenceStats
	kl := make([]float64, t.model.Layers())
	for r := range all {
		f := &all[r].Updates[u]
		stats = append(stats, f.Stats...)
		for l, v := range f.IndexerKL {
			kl[l] += v
		}
	}
	for k, v := range grpo.LossMetrics(stats) {
		out[k] = v
	}
	if t.indexerLoss(1) != nil {
		indexerMetric(out, kl, rowsOf(treesOf(groups, t.width())))
	}
}

// inOrder puts the ranks' traces in the order of the groups.
func inOrder(parts []part, all []found) [][]grouse.Trace {
	out := [][]grouse.Trace{}
	next := make([]int, len(all))
	for _, p := range parts {
		for r := range all {
			n := p.from[r+1] - p.from[r]
			out = append(out, all[r].Traces[next[r]:next[r]+n]...)
			next[r] += n
		}
	}
	return out
}

// groupTokens counts a group's prompt and what its completions feed to the model.
func groupTokens(g *grouse.Group) int {
	n := len(g.Prompt.TokenIDs)
	for i := range g.Rollouts {
		n += max(0, len(g.Rollouts[i].ResponseIDs)-1)
	}
	return n
}
