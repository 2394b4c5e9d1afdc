package trainer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"math"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/shard"
)

// Data parallelism with sharded optimizer states (ZeRO stage 1; Rajbhandari et al.,
// arXiv:1910.02054, section 5.1). Every rank has all weights and is given the whole batch.
// In an update
//
//	each computes the gradient of its share of the groups (cut), whole groups each,
//	    with the whole update's denominators, so that the gradients add up
//	squares: a reduce-scatter; each has its stretch of the sum, and the global norm is
//	    added up in blocks, in the order of the weights
//	apply: each updates its stretch of the weights, with moments that only it has
//	spread: an all-gather; each has all weights
//
// What the groups' owners found out (statistics, traces, counts) comes together at rank
// 0, in candidate order. There the metrics are computed as one rank computes them, but
// for indexer/loss, which is a sum of the ranks' sums. The weights differ from one rank's
// by the order in which gradients and their squares were added up, and by nothing else.

// ranks is a trainer's part in a group.
type ranks struct {
	group collective.Group
	plan  *shard.Plan
	row   tensor.Buffer // [Padded]: the gradients are views of it; between updates the weights are on their way in it
}

// divide decides what this rank updates and makes gradients and moments.
func (t *Trainer) divide(group collective.Group) error {
	m, dev := t.model, t.model.Device()
	m.Freeze(trains(&t.stage))
	sizes := make([]int, len(m.Params()))
	for i, p := range m.Params() {
		if !p.Frozen {
			sizes[i] = p.Data.Len() // in the device's layout
		}
	}
	rank, size := 0, 1
	if group != nil {
		rank, size = group.Rank(), group.Size()
	}
	plan, err := shard.New(sizes, size)
	if err != nil {
		return err
	}
	if size > 1 {
		t.ranks = &ranks{group: group, plan: plan, row: dev.New(plan.Padded())}
		for i, p := range m.Params() {
			if !p.Frozen {
				p.Grad = dev.View(t.ranks.row, plan.Start(i), sizes[i])
			}
		}
	}
	m.Train(trains(&t.stage))
	for _, owned := range plan.Owned(rank) {
		n := owned.To - owned.From
		t.mine = append(t.mine, piece{owned, t.newMoment(n), t.newMoment(n)})
	}
	return nil
}

// cut returns where each rank's share of n items begins, [ranks+1]: items in order, each
// with the rank that its middle token falls to if all tokens are dealt out evenly.
func cut(n, ranks int, tokens func(i int) int) []int {
	total := 0
	for i := range n {
		total += tokens(i)
	}
	bounds := make([]int, ranks+1)
	before, rank := 0, 0
	for i := range n {
		owner := min(ranks-1, (2*before+tokens(i))*ranks/max(1, 2*total))
		for ; rank < owner; rank++ {
			bounds[rank+1] = i
		}
		before += tokens(i)
	}
	for ; rank < ranks; rank++ {
		bounds[rank+1] = n
	}
	return bounds
}

// share is this rank's share of n items, lo..hi-1.
func (t *Trainer) share(n int, tokens func(i int) int) (lo, hi int) {
	if t.ranks == nil {
		return 0, n
	}
	bounds := cut(n, t.ranks.group.Size(), tokens)
	r := t.ranks.group.Rank()
	return bounds[r], bounds[r+1]
}

// first reports whether this is the rank that everything comes together at.
func (t *Trainer) first() bool { return t.ranks == nil || t.ranks.group.Rank() == 0 }

// collect returns at rank 0 what every rank has, in order of ranks; nil elsewhere.
func collect[T any](ctx context.Context, t *Trainer, mine T) ([]T, error) {
	if t.ranks == nil {
		return []T{mine}, nil
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(mine); err != nil {
		return nil, grouse.Errorf(grouse.Internal, "ranks: %w", err)
	}
	parts, err := t.ranks.group.Gather(ctx, b.Bytes())
	if err != nil || !t.first() {
		return nil, err
	}
	out := make([]T, len(parts))
	for i, p := range parts {
		if err := gob.NewDecoder(bytes.NewReader(p)).Decode(&out[i]); err != nil {
			return nil, grouse.Errorf(grouse.Internal, "what rank %d sent: %w", i, err)
		}
	}
	return out, nil
}

// agree returns rank 0's numbers at every rank.
func (t *Trainer) agree(ctx context.Context, x []float64) ([]float64, error) {
	b, err := t.ranks.group.Broadcast(ctx, doubles(x))
	if err != nil {
		return nil, err
	}
	return fromDoubles(b), nil
}

func doubles(x []float64) []byte {
	b := make([]byte, 0, 8*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

func fromDoubles(b []byte) []float64 {
	x := make([]float64, len(b)/8)
	for i := range x {
		x[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return x
}

// squares adds up the squares of the update's gradient, which is complete afterwards: of
// several ranks each has its stretch.
func (t *Trainer) squares(ctx context.Context) (float64, error) {
	dev := t.model.Device()
	if t.ranks == nil {
		sum := 0.0
		for _, p := range t.model.Params() {
			if p.Grad != nil {
				sum += dev.SumSquares(p.Grad)
			}
		}
		return sum, nil
	}
	r := t.ranks
	if err := r.group.ReduceScatter(ctx, dev, r.row); err != nil {
		return 0, err
	}
	blocks := make([]float64, (r.plan.Length+shard.Block-1)/shard.Block)
	dev.BlockSquares(blocks, dev.View(r.row, r.group.Rank()*r.plan.Length, r.plan.Length), shard.Block)
	parts, err := r.group.Gather(ctx, doubles(blocks))
	if err != nil {
		return 0, err
	}
	var sums []float64
	for _, b := range parts {
		sums = append(sums, fromDoubles(b)...)
	}
	sum, err := t.agree(ctx, []float64{shard.Norm(sums)})
	if err != nil {
		return 0, err
	}
	return sum[0], nil
}

// spread gives all ranks the weights that each has updated, in the row of the gradients,
// which are of no more use.
func (t *Trainer) spread(ctx context.Context) error {
	if t.ranks == nil {
		return nil
	}
	r, dev := t.ranks, t.model.Device()
	for i := range t.mine {
		x := &t.mine[i]
		p := t.model.Params()[x.Param]
		dev.Copy(dev.View(p.Grad, x.From, x.size()), dev.View(p.Data, x.From, x.size()))
	}
	if err := r.group.AllGather(ctx, dev, r.row); err != nil {
		return err
	}
	for _, p := range t.model.Params() {
		if !p.Frozen {
			dev.Copy(p.Data, p.Grad) // exact: what is rounded to bfloat16 was bfloat16
		}
	}
	return nil
}

// gatherMoments is Moments of several ranks, a parameter at a time. If rank 0's fn fails
// the others are heard to the end all the same, so that they stay in step.
func (t *Trainer) gatherMoments(ctx context.Context, fn func(name string, shape []int, data []float32) error) error {
	r, dev := t.ranks, t.model.Device()
	mine := map[int]*piece{}
	for i := range t.mine {
		mine[t.mine[i].Param] = &t.mine[i]
	}
	var failed error
	for i, p := range t.model.Params() {
		if p.Frozen {
			continue
		}
		for which, prefix := range []string{"m.", "v."} {
			var part []float32
			if x := mine[i]; x != nil {
				part = t.wide(x.moments()[which].data)
			}
			parts, err := collect(ctx, t, part)
			if err != nil {
				return err
			}
			if !t.first() || failed != nil {
				continue
			}
			whole := p.Like(dev)
			for rank := range parts {
				for _, x := range r.plan.Owned(rank) {
					if x.Param == i {
						dev.Write(dev.View(whole, x.From, x.To-x.From), parts[rank])
					}
				}
			}
			failed = fn(prefix+p.Name, p.Shape(), p.ReadBuffer(dev, whole))
		}
	}
	return failed
}

// wide reads a moment.
func (t *Trainer) wide(b tensor.Buffer) []float32 {
	dev, out := t.model.Device(), make([]float32, b.Len())
	if t.copied() {
		w := dev.New(b.Len())
		defer dev.Free(w)
		dev.Copy(w, b)
		b = w
	}
	dev.Read(out, b)
	return out
}
