package trainer

import (
	"math"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/trainer/grpo"
	"github.com/grouse-rl/grouse/trainer/optim"
)

// Trainer holds a policy being trained: weights, moments, counters. It is used
// by one goroutine at a time and uses its model's device alone.
type Trainer struct {
	model *model.Model
	ref   *model.Model // nil: no reference
	stage grouse.Stage
	obj   *grpo.Objective // of an rl stage
	graph *tensor.Graph
	m, v  []tensor.Buffer // moments, as the model's parameters; nil: frozen
	noise rng.Key         // of rounding, where the weights have no float32 masters
	state State

	differ, counted []int     // of the step's kept routing, by layer with experts
	indexerKL       []float64 // of the update's lightning indexers, by layer
}

// State is the trainer's counters: with the weights and the moments, everything
// that the next step depends on besides its batch.
type State struct {
	Optim  optim.State `json:"optim"`
	Tokens int64       `json:"tokens"` // prompt and response tokens trained on in this stage
}

// New prepares m for training as the stage says. m's weights are changed in
// place.
func New(m *model.Model, stage grouse.Stage) (*Trainer, error) {
	t := &Trainer{model: m, stage: stage}
	t.SetSeed(0)
	if _, ok := m.Device().(tensor.Rounder); stage.Trainer.BF16Weights && !ok {
		return nil, grouse.Errorf(grouse.Invalid, "trainer.bf16_weights: %s has float32 weights only", m.Device().Name()).WithFix("remove it, or set trainer.backend: cuda")
	}
	if stage.Kind == grouse.StageRL {
		obj, err := grpo.New(&stage.Algorithm)
		if err != nil {
			return nil, err
		}
		t.obj = obj
	}
	m.SetBF16(stage.Trainer.BF16Weights)
	m.Train(trains(&stage))
	for _, p := range m.Params() {
		t.m = append(t.m, t.newMoment(p))
		t.v = append(t.v, t.newMoment(p))
	}
	mode := tensor.Train
	if stage.Trainer.Recompute {
		mode = tensor.Recompute
	}
	t.graph = tensor.NewGraph(m.Device(), mode)
	return t, nil
}

// Model returns the policy.
func (t *Trainer) Model() *model.Model { return t.model }

// State returns the counters.
func (t *Trainer) State() State { return t.state }

// UsesReference reports whether steps read a reference policy.
func (t *Trainer) UsesReference() bool {
	return t.stage.Kind == grouse.StageRL && t.stage.Algorithm.UsesReference(t.stage.Domains)
}

// SetReference gives the policy that the KL is measured to.
func (t *Trainer) SetReference(ref *model.Model) { t.ref = ref }

// SetSeed says which random numbers round the weights, where they have no float32
// masters; without it, those of seed 0.
func (t *Trainer) SetSeed(seed uint64) { t.noise = rng.NewKey(rng.Round, t.stage.Name, seed) }

// Configure changes what a running stage may change: learning rate, KL
// strengths, steps.
func (t *Trainer) Configure(stage grouse.Stage) error {
	if stage.Kind == grouse.StageRL {
		obj, err := grpo.New(&stage.Algorithm)
		if err != nil {
			return err
		}
		t.obj = obj
	}
	t.stage = stage
	return nil
}

// totalUpdates is how many updates the stage has, for the schedule.
func (t *Trainer) totalUpdates() int64 {
	if t.stage.Kind == grouse.StageRL {
		return int64(t.stage.Steps) * int64(t.stage.Algorithm.Updates())
	}
	return int64(t.stage.Steps)
}

// apply ends an update: the global norm, clipping, AdamW. It reports false if
// the gradient was not finite and nothing was changed.
func (t *Trainer) apply(out grouse.Metrics) bool {
	dev := t.model.Device()
	t.model.FoldGrads()
	sum := 0.0
	for _, p := range t.model.Params() {
		if p.Grad != nil {
			sum += dev.SumSquares(p.Grad)
		}
	}
	step, ok := t.state.Optim.Next(&t.stage.Trainer, t.totalUpdates(), math.Sqrt(sum))
	out["grad_norm"], out["learning_rate"] = step.GradNorm, step.LearningRate
	if !ok {
		out["skipped_updates"]++
		return false
	}
	for i, p := range t.model.Params() {
		if p.Grad == nil {
			continue
		}
		c := step.Coefficients(optim.Decays(p.Name, p.Shape()))
		if p.BF16 {
			noise := tensor.Noise{Key: t.noise, Param: uint32(i), Update: step.T}
			dev.(tensor.Rounder).AdamWRounded(p.Data, p.Grad, t.m[i], t.v[i], tensor.AdamWStep(c), noise)
			continue
		}
		dev.AdamW(p.Data, p.Grad, t.m[i], t.v[i], tensor.AdamWStep(c))
	}
	return true
}

// Paused reports whether so many updates in a row were skipped that a person
// should look.
func (t *Trainer) Paused() bool { return t.state.Optim.TooManySkipped(&t.stage.Trainer) }

// newMoment returns a zeroed moment of a parameter, nil for a frozen one.
func (t *Trainer) newMoment(p *tensor.Param) tensor.Buffer {
	if p.Frozen {
		return nil
	}
	if t.stage.Trainer.BF16Moments {
		return t.model.Device().NewBF16(p.Data.Len())
	}
	return p.Like(t.model.Device())
}

// Moments calls fn with both moments of every parameter that is trained,
// row-major, under the names m.NAME and v.NAME.
func (t *Trainer) Moments(fn func(name string, shape []int, data []float32) error) error {
	dev := t.model.Device()
	for i, p := range t.model.Params() {
		if p.Frozen {
			continue
		}
		for _, moment := range []struct {
			prefix string
			data   tensor.Buffer
		}{{"m.", t.m[i]}, {"v.", t.v[i]}} {
			wide := moment.data
			if t.stage.Trainer.BF16Moments {
				wide = p.Like(dev)
				dev.Copy(wide, moment.data)
			}
			if err := fn(moment.prefix+p.Name, p.Shape(), p.ReadBuffer(dev, wide)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Restore sets the moments and counters; src has the names of Moments.
func (t *Trainer) Restore(state State, src model.Source) error {
	dev := t.model.Device()
	for i, p := range t.model.Params() {
		if t.m[i] == nil {
			continue
		}
		data := make([]float32, p.Size())
		for prefix, b := range map[string]tensor.Buffer{"m.": t.m[i], "v.": t.v[i]} {
			if err := src.Float32(prefix+p.Name, data); err != nil {
				return err
			}
			if t.stage.Trainer.BF16Moments {
				wide := p.Like(dev)
				p.WriteBuffer(dev, wide, data)
				dev.Copy(b, wide)
				continue
			}
			p.WriteBuffer(dev, b, data)
		}
	}
	t.state = state
	return nil
}
