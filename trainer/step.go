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

// lay lays some of the groups out for one pass, with the experts of each row if width is
// set.
func (t *Trainer) lay(groups []grouse.ScoredGroup, trees []*tree, which []int, width int) (*layout, float32) {
	l := &layout{width: width}
	temperature := float32(1)
	for _, i := range which {
		g := &groups[i].Group
		temperature = g.Sampling.Temperature
		ids := make([][]int32, len(g.Rollouts))
		for j := range g.Rollouts {
			ids[j] = g.Rollouts[j].ResponseIDs
		}
		var kept func(j, p int) []int32
		if t.stage.Algorithm.KeepSamplingMask && g.Sampling.Truncates() {
			for len(l.to.Kept) < len(l.to.IDs) {
				l.to.Kept = append(l.to.Kept, nil)
			}
			kept = func(j, p int) []int32 { return g.Rollouts[j].Kept.Row(p) }
		} else if l.to.Kept != nil {
			kept = func(int, int) []int32 { return nil }
		}
		l.add(trees[i], len(g.Prompt.TokenIDs), ids, kept)
	}
	return l, temperature
}

// pass calls fn with the layouts of the groups of those indices, as many as fit
// micro_batch_tokens at a time, and with their indices.
func (t *Trainer) pass(ctx context.Context, groups []grouse.ScoredGroup, trees []*tree, which []int, width int, fn func(l *layout, temperature float32, which []int)) error {
	return microBatches(t.graph, len(which), t.stage.Trainer.MicroBatchTokens, func(i int) int { return trees[which[i]].rows }, func(lo, hi int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		l, temperature := t.lay(groups, trees, which[lo:hi], width)
		fn(l, temperature, which[lo:hi])
		t.graph.Reset()
		return nil
	})
}

// forward computes logprobs of all completions without gradients.
func (t *Trainer) forward(ctx context.Context, m *model.Model, width int, groups []grouse.ScoredGroup, put func(i, j int, lp []float32)) error {
	all := make([]int, len(groups))
	for i := range all {
		all[i] = i
	}
	t.graph.SetMode(tensor.Infer)
	defer t.graph.SetMode(t.mode())
	return t.pass(ctx, groups, treesOf(groups, width), all, width, func(l *layout, temperature float32, which []int) {
		values, k := l.logprobs(t.graph, m, temperature, &model.Routing{}, nil).Values, 0
		for _, i := range which {
			for j := range groups[i].Group.Rollouts {
				put(i, j, values[l.spec[k].lo:l.spec[k].hi])
				k++
			}
		}
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
	t.indexerKL = make([]float64, t.model.Layers())
	trees := treesOf(groups[p.lo():p.hi()], t.width())
	rows := rowsOf(trees)
	lo, hi := t.mineOf(p)
	groups, batch, trees = groups[lo:hi], batch[lo:hi], trees[lo-p.lo():hi-p.lo()]
	var learning, rest []int
	for i := range groups {
		if t.indexerLoss(rows) != nil || learns(batch[i]) {
			learning = append(learning, i)
		} else {
			rest = append(rest, i)
		}
	}
	stats := make([][]grpo.SequenceStats, len(groups))
	losses := func(l *layout, temperature float32, which []int, indexer *model.IndexerLoss) (*tensor.Logprobs, []float32) {
		lp := l.logprobs(t.graph, t.model, temperature, t.countRouting(), indexer)
		coef, k := make([]float32, len(lp.Values)), 0
		for _, i := range which {
			for j := range batch[i] {
				c, s := &batch[i][j], l.spec[k]
				c.seq.Logprobs = lp.Values[s.lo:s.hi]
				stats[i] = append(stats[i], c.loss(t.obj, norm))
				copy(coef[s.lo:s.hi], c.grad)
				k++
			}
		}
		return lp, coef
	}
	err := t.pass(ctx, groups, trees, learning, t.width(), func(l *layout, temperature float32, which []int) {
		indexer := t.indexerLoss(rows)
		lp, coef := losses(l, temperature, which, indexer)
		if slices.ContainsFunc(coef, func(c float32) bool { return c != 0 }) {
			lp.Backward(coef)
		} else if indexer != nil {
			t.graph.Backward()
		}
		if indexer != nil {
			indexer.AddTo(t.indexerKL)
		}
	})
	if err != nil {
		return nil, err
	}
	t.graph.SetMode(tensor.Infer)
	defer t.graph.SetMode(t.mode())
	err = t.pass(ctx, groups, trees, rest, t.width(), func(l *layout, temperature float32, which []int) {
		losses(l, temperature, which, nil)
	})
	return slices.Concat(stats...), err
}

// learns reports whether a group has a gradient. One whose rewards are all the same has
// no advantages and, without a KL strength, none: it is computed for its metrics, but
// not backwards, where it would add zeros.
func learns(group []completion) bool {
	return slices.ContainsFunc(group, func(c completion) bool { return c.seq.Advantage != 0 || c.seq.Beta != 0 })
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
