package trainer

import (
	"context"
	"slices"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

// Result is what a step made of its batch.
type Result struct {
	Metrics grouse.Metrics   // deterministic ones only: no times
	Traces  [][]grouse.Trace // of each group's rollouts
}

// completion is one rollout of the batch with what is constant during the step.
type completion struct {
	seq   grpo.Sequence[float32]
	grad  []float32
	trace *grouse.Trace
}

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

// Step trains on scored groups, in candidate order: num_iterations passes of
// mini_batches updates each. The last update's loss metrics stand for the step.
// If ctx ends, the weights are in between two states: the caller reloads. Of several
// ranks all are given the same groups, and rank 0 has the result; others return an empty
// one.
func (t *Trainer) Step(ctx context.Context, groups []grouse.ScoredGroup) (*Result, error) {
	alg := t.obj.Algorithm()
	parts := t.parts(groups)
	batch, err := t.prepare(ctx, groups, parts)
	if err != nil {
		return nil, err
	}
	out := grouse.Metrics{}
	t.resetRouting()
	var mine found
	traces := make([][]grouse.Trace, len(groups))
	var updates []part
	for pass := range alg.NumIterations {
		for _, p := range parts {
			lo, hi := t.mineOf(p)
			if pass == alg.NumIterations-1 {
				for i := lo; i < hi; i++ {
					traces[i] = make([]grouse.Trace, len(batch[i]))
					for j := range batch[i] {
						batch[i][j].trace = &traces[i][j]
					}
				}
			}
			stats, err := t.update(ctx, groups, batch, p)
			if err != nil {
				return nil, err
			}
			mine.Updates = append(mine.Updates, foundUpdate{stats, t.indexerKL})
			updates = append(updates, p)
			if err := t.apply(ctx, out); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range parts {
		lo, hi := t.mineOf(p)
		mine.Traces = append(mine.Traces, traces[lo:hi]...)
	}
	mine.Differ, mine.Counted = t.differ, t.counted
	for i := range groups {
		t.state.Tokens += int64(groupTokens(&groups[i].Group) + len(groups[i].Group.Rollouts))
	}
	all, err := collect(ctx, t, mine)
	if err != nil || !t.first() {
		return &Result{}, err
	}
	for k, v := range grpo.BatchMetrics(groups) {
		out[k] = v
	}
	for u, p := range updates {
		t.updateMetrics(out, groups[p.lo():p.hi()], all, u)
	}
	out["num_tokens"] = float64(t.state.Tokens)
	t.routingMetrics(out, all)
	return &Result{Metrics: out, Traces: inOrder(parts, all)}, nil
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
		indexerMetric(out, kl, rowsOf(groups))
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

// rowsOf is how many rows groups take.
func rowsOf(groups []grouse.ScoredGroup) int {
	rows := 0
	for i := range groups {
		rows += groupTokens(&groups[i].Group)
	}
	return rows
}

// prepare computes what does not change during the step: masks, old and
// reference logprobs, advantages. Logprobs are of this rank's groups only.
func (t *Trainer) prepare(ctx context.Context, groups []grouse.ScoredGroup, parts []part) ([][]completion, error) {
	alg := t.obj.Algorithm()
	betas := map[string]float64{}
	for i := range t.stage.Domains {
		betas[t.stage.Domains[i].Name] = t.stage.Domains[i].BetaOr(alg.Beta)
	}
	batch := make([][]completion, len(groups))
	for i := range groups {
		g := &groups[i].Group
		batch[i] = make([]completion, len(g.Rollouts))
		for j := range g.Rollouts {
			r := &g.Rollouts[j]
			if err := r.Routing.Check(t.model.RoutingShape()); err != nil {
				return nil, grouse.Errorf(grouse.Invalid, "candidate %d, sample %d: %w", g.Candidate, r.Sample, err)
			}
			c := &batch[i][j]
			c.seq = grpo.Sequence[float32]{Domain: g.Prompt.Domain, Beta: betas[g.Prompt.Domain], Mask: r.Mask, RolloutLogprobs: r.Logprobs}
			if alg.MaskTruncatedCompletions && r.Finish == grouse.FinishLength {
				c.seq.Mask = make([]uint8, len(r.ResponseIDs))
			}
			c.grad = make([]float32, len(r.ResponseIDs))
		}
	}
	var own []grouse.ScoredGroup
	var ownBatch [][]completion
	for _, p := range parts {
		lo, hi := t.mineOf(p)
		own, ownBatch = append(own, groups[lo:hi]...), append(ownBatch, batch[lo:hi]...)
	}
	if alg.PiOld == grouse.PiOldRecomputed || alg.KLInReward != 0 {
		err := t.forward(ctx, t.model, t.width(), own, func(i, j int, lp []float32) { ownBatch[i][j].seq.OldLogprobs = lp })
		if err != nil {
			return nil, err
		}
	}
	if t.UsesReference() {
		if t.ref == nil {
			return nil, grouse.Errorf(grouse.Internal, "the stage has a KL strength, but the trainer was given no reference policy")
		}
		width := 0
		if alg.ReferenceRouting {
			width = t.width()
		}
		err := t.forward(ctx, t.ref, width, own, func(i, j int, lp []float32) { ownBatch[i][j].seq.RefLogprobs = lp })
		if err != nil {
			return nil, err
		}
	}
	rewards, err := t.rewards(ctx, groups, batch, parts)
	if err != nil {
		return nil, err
	}
	if alg.ShuffleRewards {
		shuffle(rewards, groups, t.state.Optim.Updates)
	}
	for i := range groups {
		adv := make([]float64, len(rewards[i]))
		t.obj.Advantages(adv, rewards[i])
		for j, a := range adv {
			batch[i][j].seq.Advantage = a
		}
	}
	return batch, nil
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

// shuffle deals the rewards of a batch out anew: the control experiment in which
// nothing can be learned.
func shuffle(rewards [][]float64, groups []grouse.ScoredGroup, update int64) {
	if len(groups) == 0 {
		return
	}
	var all []*float64
	for i := range rewards {
		for j := range rewards[i] {
			all = append(all, &rewards[i][j])
		}
	}
	s := rng.NewKey(rng.Data, "shuffle", groups[0].Group.Seed).Stream(uint32(update), 0, 0)
	s.Shuffle(len(all), func(i, j int) { *all[i], *all[j] = *all[j], *all[i] })
}

// lay lays groups out for one pass, with the experts of each row if width is set.
func (t *Trainer) lay(groups []grouse.ScoredGroup, width int) (*layout, float32) {
	l := &layout{width: width}
	temperature := float32(1)
	for i := range groups {
		g := &groups[i].Group
		temperature = g.Sampling.Temperature
		ids := make([][]int32, len(g.Rollouts))
		for j := range g.Rollouts {
			ids[j] = g.Rollouts[j].ResponseIDs
		}
		var kept func(j, p int) []int32
		if t.stage.Algorithm.KeepSamplingMask && g.Sampling.Truncates() {
			kept = func(j, p int) []int32 { return g.Rollouts[j].Kept.Row(p) }
		} else if l.to.Kept != nil {
			kept = func(int, int) []int32 { return nil }
		}
		routed := func(j int) []int16 { return g.Rollouts[j].Routing.Experts }
		if width == 0 || samePrompt(g, width) {
			l.add(g.Prompt.TokenIDs, ids, kept, routed)
			continue
		}
		for j := range ids {
			var mask func(_, p int) []int32
			if kept != nil {
				mask = func(_, p int) []int32 { return kept(j, p) }
			}
			l.add(g.Prompt.TokenIDs, ids[j:j+1], mask, func(int) []int16 { return routed(j) })
		}
	}
	return l, temperature
}

// micro calls fn for runs of groups that fit micro_batch_tokens.
func (t *Trainer) micro(ctx context.Context, g *tensor.Graph, groups []grouse.ScoredGroup, fn func(lo, hi int) error) error {
	return microBatches(g, len(groups), t.stage.Trainer.MicroBatchTokens, func(i int) int { return groupTokens(&groups[i].Group) }, func(lo, hi int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(lo, hi)
	})
}

// forward computes logprobs of all completions without gradients.
func (t *Trainer) forward(ctx context.Context, m *model.Model, width int, groups []grouse.ScoredGroup, put func(i, j int, lp []float32)) error {
	g := tensor.NewGraph(m.Device(), tensor.Infer)
	defer g.Trim()
	return t.micro(ctx, g, groups, func(lo, hi int) error {
		l, temperature := t.lay(groups[lo:hi], width)
		values := l.logprobs(g, m, temperature, &model.Routing{}, nil).Values
		g.Reset()
		k := 0
		for i := lo; i < hi; i++ {
			for j := range groups[i].Group.Rollouts {
				put(i, j, values[l.spec[k].lo:l.spec[k].hi])
				k++
			}
		}
		return nil
	})
}

// update accumulates the gradient of this rank's share of one optimizer update. Its
// denominators are the whole update's.
func (t *Trainer) update(ctx context.Context, groups []grouse.ScoredGroup, batch [][]completion, p part) ([]grpo.SequenceStats, error) {
	var norm grpo.Normalizers
	for i := p.lo(); i < p.hi(); i++ {
		for j := range batch[i] {
			// Tokens counts the mask, which stands for the logprobs to come.
			norm.Add(maskedTokens(&batch[i][j], len(groups[i].Group.Rollouts[j].ResponseIDs)))
		}
	}
	t.model.ZeroGrads()
	rows := rowsOf(groups[p.lo():p.hi()])
	lo, hi := t.mineOf(p)
	groups, batch = groups[lo:hi], batch[lo:hi]
	t.indexerKL = make([]float64, t.model.Layers())
	var stats []grpo.SequenceStats
	err := t.micro(ctx, t.graph, groups, func(lo, hi int) error {
		l, temperature := t.lay(groups[lo:hi], t.width())
		indexer := t.indexerLoss(rows)
		lp := l.logprobs(t.graph, t.model, temperature, t.countRouting(), indexer)
		coef := make([]float32, len(lp.Values))
		live, k := false, 0
		for i := lo; i < hi; i++ {
			for j := range batch[i] {
				c, s := &batch[i][j], l.spec[k]
				c.seq.Logprobs = lp.Values[s.lo:s.hi]
				stats = append(stats, c.loss(t.obj, norm))
				for p, v := range c.grad {
					coef[s.lo+p] = v
					live = live || v != 0
				}
				k++
			}
		}
		if live {
			lp.Backward(coef)
		} else if indexer != nil {
			t.graph.Backward()
		}
		if indexer != nil {
			indexer.AddTo(t.indexerKL)
		}
		t.graph.Reset()
		return nil
	})
	return stats, err
}

// loss is grpo.Loss, with a trace if one is wanted.
func (c *completion) loss(o *grpo.Objective, norm grpo.Normalizers) grpo.SequenceStats {
	if c.trace == nil {
		return grpo.Loss(o, norm, &c.seq, c.grad, nil)
	}
	var d grpo.Detail
	st := grpo.Loss(o, norm, &c.seq, c.grad, &d)
	*c.trace = grouse.Trace{Advantage: c.seq.Advantage, Dropped: !d.Keep, Logprobs: slices.Clone(c.seq.Logprobs), Ratio: narrow(d.Ratio), Clipped: d.Clipped}
	if c.seq.RefLogprobs != nil {
		c.trace.KL = narrow(d.KL)
	}
	return st
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func maskedTokens(c *completion, n int) int {
	if c.seq.Mask == nil {
		return n
	}
	count := 0
	for _, m := range c.seq.Mask {
		if m != 0 {
			count++
		}
	}
	return count
}
