package optim

import (
	"math"

	"github.com/grouse-rl/grouse"
)

// State is the optimizer's counters; the moments lie with the weights. It is
// saved in a checkpoint, and what it decides is part of the run's record.
type State struct {
	Updates      int64 `json:"updates"`        // attempted, skipped ones included: the schedule's clock
	Applied      int64 `json:"applied"`        // Adam's t. Invariant: Applied + Skipped == Updates
	Skipped      int64 `json:"skipped"`        // because the gradient was not finite
	SkippedInRow int   `json:"skipped_in_row"` // since the last applied one
}

// Step is the scalars of one update.
type Step struct {
	LearningRate float64
	Scale        float64 // of the gradient: ClipScale
	GradNorm     float64 // before clipping
	T            int64   // Adam's t, from 1
	spec         grouse.TrainerSpec
}

// Next counts an update whose gradient has this global norm and returns its
// scalars. If the norm is NaN or infinite the update must be skipped: ok is
// false, and the weights and moments stay as they are.
func (s *State) Next(t *grouse.TrainerSpec, total int64, norm float64) (step Step, ok bool) {
	lr := LearningRate(t, s.Updates, total)
	s.Updates++
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		s.Skipped++
		s.SkippedInRow++
		return Step{LearningRate: lr, GradNorm: norm, T: s.Applied, spec: *t}, false
	}
	s.Applied++
	s.SkippedInRow = 0
	return Step{LearningRate: lr, Scale: ClipScale(norm, t.MaxGradNorm), GradNorm: norm, T: s.Applied, spec: *t}, true
}

// TooManySkipped reports whether the run should pause: max_skipped_updates in a
// row (0: never).
func (s *State) TooManySkipped(t *grouse.TrainerSpec) bool {
	return t.MaxSkipped > 0 && s.SkippedInRow >= t.MaxSkipped
}

// Coefficients are the numbers of an AdamW update of one tensor, rounded to
// float32 once:
//
//	g = Scale * grad
//	m = Beta1 m + (1-Beta1) g
//	v = Beta2 v + (1-Beta2) g^2
//	w = Shrink w - Rate m / (sqrt(v) InvRootBias2 + Eps)
//
// with Shrink = 1 - lr decay (decoupled weight decay, Loshchilov & Hutter,
// arXiv:1711.05101), Rate = lr / (1 - Beta1^t), InvRootBias2 = 1/sqrt(1 - Beta2^t).
type Coefficients struct {
	Scale              float32
	Beta1, OneSubBeta1 float32
	Beta2, OneSubBeta2 float32
	Shrink             float32
	Rate               float32
	InvRootBias2       float32
	Eps                float32
}

// Coefficients returns those of a tensor that decays or does not.
func (s Step) Coefficients(decays bool) Coefficients {
	t := &s.spec
	shrink := 1.0
	if decays {
		shrink = 1 - float64(s.LearningRate*t.WeightDecay)
	}
	return Coefficients{
		Scale: float32(s.Scale),
		Beta1: float32(t.Beta1), OneSubBeta1: float32(1 - t.Beta1),
		Beta2: float32(t.Beta2), OneSubBeta2: float32(1 - t.Beta2),
		Shrink: float32(shrink), Rate: float32(s.LearningRate / (1 - power(t.Beta1, s.T))),
		InvRootBias2: float32(1 / math.Sqrt(1-power(t.Beta2, s.T))), Eps: float32(t.Eps),
	}
}

// power returns b^n by squaring: math.Pow's bits depend on the processor.
func power(b float64, n int64) float64 {
	p := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p *= b
		}
		b *= b
	}
	return p
}

// Update applies AdamW to one tensor: all slices have the same length. It is the
// plain twin of the fused kernel: float32 throughout, each product rounded.
func Update(c Coefficients, w, grad, m, v []float32) {
	if len(grad) != len(w) || len(m) != len(w) || len(v) != len(w) {
		panic("optim: Update: lengths differ")
	}
	for i := range w {
		g := float32(c.Scale * grad[i])
		m[i] = float32(c.Beta1*m[i]) + float32(c.OneSubBeta1*g)
		v[i] = float32(c.Beta2*v[i]) + float32(c.OneSubBeta2*float32(g*g))
		root := float32(math.Sqrt(float64(v[i]))) // correctly rounded float32 square root
		w[i] = float32(c.Shrink*w[i]) - float32(c.Rate*float32(m[i]/(float32(root*c.InvRootBias2)+c.Eps)))
	}
}
