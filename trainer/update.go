package trainer

import (
	"context"
	"math"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/shard"
	"github.com/grouse-rl/grouse/trainer/optim"
)

// piece is a part of a parameter that this rank updates, with its moments [To-From].
type piece struct {
	shard.Piece
	m, v tensor.Buffer
}

func (p *piece) size() int { return p.To - p.From }

// apply ends an update: the global norm, clipping, AdamW. If the gradient was not
// finite nothing is changed.
func (t *Trainer) apply(ctx context.Context, out grouse.Metrics) error {
	t.model.FoldGrads()
	squares, err := t.squares(ctx)
	if err != nil {
		return err
	}
	step, ok := t.state.Optim.Next(&t.stage.Trainer, t.totalUpdates(), math.Sqrt(squares))
	out["grad_norm"], out["learning_rate"] = step.GradNorm, step.LearningRate
	if !ok {
		out["skipped_updates"]++
		return nil
	}
	dev := t.model.Device()
	for i := range t.mine {
		x := &t.mine[i]
		p := t.model.Params()[x.Param]
		w, grad := dev.View(p.Data, x.From, x.size()), dev.View(p.Grad, x.From, x.size())
		c := step.Coefficients(optim.Decays(p.Name, p.Shape()))
		if p.BF16 {
			noise := tensor.Noise{Key: t.noise, Param: uint32(x.Param), Update: step.T, First: int64(x.From)}
			dev.(tensor.Rounder).AdamWRounded(w, grad, x.m, x.v, tensor.AdamWStep(c), noise)
			continue
		}
		dev.AdamW(w, grad, x.m, x.v, tensor.AdamWStep(c))
	}
	return t.spread(ctx)
}

// newMoment returns n zeros. They are written at once: fresh memory that is read first
// costs two page faults.
func (t *Trainer) newMoment(n int) tensor.Buffer {
	dev := t.model.Device()
	if t.stage.Trainer.OffloadMoments {
		return dev.(tensor.Offloader).NewOffloaded(n, t.stage.Trainer.BF16Moments)
	}
	if t.stage.Trainer.BF16Moments {
		return dev.NewBF16(n)
	}
	b := dev.New(n)
	dev.Zero(b)
	return b
}

// copied reports whether moments are read and written by way of a float32 copy on the
// device.
func (t *Trainer) copied() bool {
	return t.stage.Trainer.BF16Moments || t.stage.Trainer.OffloadMoments
}

// moments are both moments of piece x by the prefix of their names.
func (x *piece) moments() [2]struct {
	prefix string
	data   tensor.Buffer
} {
	return [2]struct {
		prefix string
		data   tensor.Buffer
	}{{"m.", x.m}, {"v.", x.v}}
}

// MomentShapes calls fn with the names and shapes of Moments, in its order. Nobody else is
// needed for it.
func (t *Trainer) MomentShapes(fn func(name string, shape []int) error) error {
	for _, p := range t.model.Params() {
		for _, prefix := range []string{"m.", "v."} {
			if p.Frozen {
				continue
			}
			if err := fn(prefix+p.Name, p.Shape()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Moments calls fn with both moments of every parameter that is trained,
// row-major, under the names m.NAME and v.NAME. Of several ranks, all call it and
// rank 0's fn is called.
func (t *Trainer) Moments(ctx context.Context, fn func(name string, shape []int, data []float32) error) error {
	if t.ranks != nil {
		return t.gatherMoments(ctx, fn)
	}
	dev := t.model.Device()
	for i := range t.mine {
		x := &t.mine[i]
		p := t.model.Params()[x.Param]
		for _, moment := range x.moments() {
			wide := moment.data
			if t.copied() {
				wide = p.Like(dev)
				dev.Copy(wide, moment.data)
			}
			data := p.ReadBuffer(dev, wide)
			if t.copied() {
				dev.Free(wide)
			}
			if err := fn(moment.prefix+p.Name, p.Shape(), data); err != nil {
				return err
			}
		}
	}
	return nil
}

// Restore sets the moments and counters; src has the names of Moments, from any number
// of ranks.
func (t *Trainer) Restore(state State, src model.Source) error {
	dev := t.model.Device()
	for i := range t.mine {
		x := &t.mine[i]
		p := t.model.Params()[x.Param]
		data := make([]float32, p.Size())
		for _, moment := range x.moments() {
			if err := src.Float32(moment.prefix+p.Name, data); err != nil {
				return err
			}
			if !t.copied() && x.size() == p.Data.Len() {
				p.WriteBuffer(dev, moment.data, data)
				continue
			}
			wide := p.Like(dev)
			p.WriteBuffer(dev, wide, data)
			dev.Copy(moment.data, dev.View(wide, x.From, x.size()))
			dev.Free(wide)
		}
	}
	t.state = state
	return nil
}
