package trainer

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
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
	noise rng.Key // of rounding, where the weights have no float32 masters
	state State
	mine  []piece // what this rank updates: alone, everything

	ranks *ranks // nil: alone

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
func New(m *model.Model, stage grouse.Stage) (*Trainer, error) { return NewRank(m, stage, nil) }

// NewRank is New for one of several ranks, which have the same weights and make the same
// calls with the same arguments, see ranks.go; nil is alone.
func NewRank(m *model.Model, stage grouse.Stage, group collective.Group) (*Trainer, error) {
	t := &Trainer{model: m, stage: stage}
	t.SetSeed(0)
	if _, ok := m.Device().(tensor.Rounder); stage.Trainer.BF16Weights && !ok {
		return nil, grouse.Errorf(grouse.Invalid, "trainer.bf16_weights: %s has float32 weights only", m.Device().Name()).WithFix("remove it, or set trainer.backend: cuda")
	}
	if _, ok := m.Device().(tensor.Offloader); stage.Trainer.OffloadMoments && !ok {
		return nil, grouse.Errorf(grouse.Invalid, "trainer.offload_moments: %s has no memory of its own that the moments could leave", m.Device().Name()).WithFix("remove it, or set trainer.backend: cuda")
	}
	if stage.Kind == grouse.StageRL {
		obj, err := grpo.New(&stage.Algorithm)
		if err != nil {
			return nil, err
		}
		t.obj = obj
	}
	m.SetBF16(stage.Trainer.BF16Weights)
	if err := t.divide(group); err != nil {
		return nil, err
	}
	t.graph = tensor.NewGraph(m.Device(), t.mode())
	return t, nil
}

// mode is the graph's where there are gradients.
func (t *Trainer) mode() tensor.Mode {
	if t.stage.Trainer.Recompute {
		return tensor.Recompute
	}
	return tensor.Train
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

// Paused reports whether so many updates in a row were skipped that a person
// should look.
func (t *Trainer) Paused() bool { return t.state.Optim.TooManySkipped(&t.stage.Trainer) }
