package grpo

import (
	"fmt"
	"math"
)

// Float is the type of logprobs and gradients: float32 in training, float64 where
// formulas are checked. The arithmetic is float64 for both.
type Float interface{ float32 | float64 }

// Sequence is one completion as the loss sees it. All slices are [T].
type Sequence[F Float] struct {
	Domain    string  // for metrics
	Advantage float64 // A_i, the same on every token
	Beta      float64 // beta_i, the domain's KL strength
	Mask      []uint8 // 1 where the policy sampled the token; nil: all ones

	Logprobs        []F // lp, of the policy being trained
	OldLogprobs     []F // old; read if pi_old is recomputed
	RolloutLogprobs []F // roll; read if pi_old is rollout, by the off-policy mask and by the engine correction; nil: not recorded
	RefLogprobs     []F // ref; nil if no domain of the run has a strength
}

// Tokens returns n_i.
func (s *Sequence[F]) Tokens() int {
	if s.Mask == nil {
		return len(s.Logprobs)
	}
	n := 0
	for _, m := range s.Mask {
		if m != 0 {
			n++
		}
	}
	return n
}

// Detail is every intermediate value of a sequence, for viewers and tests. The
// slices are [T] and hold masked tokens too; Loss allocates them.
type Detail struct {
	Ratio    []float64 // the ratio that is clipped: the sequence's own if the level is sequence
	KL       []float64 // before beta
	Policy   []float64 // -obj M w, the policy term, signed as a loss
	Weight   []float64 // aggregation weight, 0 where masked
	Engine   []float64 // w of the engine correction
	Clipped  []bool    // the clip cut the token's gradient
	Keep     bool      // M_i
	Distance float64   // D_i
}

// Loss adds up one sequence's loss and writes its gradient with respect to
// Logprobs to grad [T], 0 where masked:
//
//	sum_t weight_t ( -obj_t M w_t + beta kl_t )
//
// norm counts the whole optimizer update. detail, if not nil, is filled. Loss
// panics if the lengths do not fit or a logprob it needs is missing: batches are
// checked where they enter.
func Loss[F Float](o *Objective, norm Normalizers, s *Sequence[F], grad []F, detail *Detail) SequenceStats {
	T, n := len(s.Logprobs), s.Tokens()
	old := o.checked(s.lengths(), s.Beta, len(grad))
	oldLogprobs := s.RolloutLogprobs
	if old {
		oldLogprobs = s.OldLogprobs
	}
	st := SequenceStats{Domain: s.Domain, Advantage: s.Advantage, Tokens: n}
	keep := o.keep(s.RolloutLogprobs != nil, &st, func() float64 { return Divergence(s.RolloutLogprobs, s.Logprobs, s.Mask) })

	engine, rho := make([]float64, T), make([]float64, T)
	st.Vetoed = Weights(o.correction, engine, rho, s.OldLogprobs, s.RolloutLogprobs, s.Mask)
	st.countEngine(o.correction, engine, rho, s.Mask)
	if s.OldLogprobs != nil && s.RolloutLogprobs != nil {
		countMismatch(&st, s)
	}

	weight := o.Weight(norm, n)
	var sequenceRatio float64
	var sequenceFlows bool
	if o.sequence {
		sequenceRatio, sequenceFlows = SequenceRatio(s.Logprobs, oldLogprobs, s.Mask)
	}
	if detail != nil {
		*detail = Detail{
			Ratio: make([]float64, T), KL: make([]float64, T), Policy: make([]float64, T), Weight: make([]float64, T),
			Engine: engine, Clipped: make([]bool, T), Keep: keep == 1, Distance: st.Divergence,
		}
	}

	sequencePull := 0.0 // sum_t weight d(policy term)/d log s, of the sequence ratio
	klGrad := make([]float64, T)
	tokenGrad := make([]float64, T)
	for t := range T {
		counts := s.Mask == nil || s.Mask[t] != 0
		if !counts && detail == nil {
			continue
		}
		lp, pi := float64(s.Logprobs[t]), float64(oldLogprobs[t])
		r, flows := sequenceRatio, sequenceFlows
		if !o.sequence {
			r, flows = Ratio(lp - pi)
		}
		obj, live := o.clip.Surrogate(r, s.Advantage)
		constant := keep * engine[t] // M_i w_t
		policy := -obj * constant
		kl, dkl := 0.0, 0.0
		if s.RefLogprobs != nil {
			kl, dkl = o.estimator.At(lp, pi, float64(s.RefLogprobs[t]))
		}
		if detail != nil {
			detail.Ratio[t], detail.KL[t], detail.Policy[t] = r, kl, policy
			detail.Clipped[t] = counts && o.clip.cuts(r, s.Advantage)
		}
		if !counts {
			continue
		}
		if detail != nil {
			detail.Weight[t] = weight
		}
		st.PolicyLoss += float64(weight * policy)
		st.KLLoss += float64(weight * float64(s.Beta*kl))
		st.count(o.clip, r, s.Advantage)
		st.KLSum += kl
		if live && flows {
			pull := float64(weight * float64(-s.Advantage*r*constant))
			if o.sequence {
				sequencePull += pull
			} else {
				tokenGrad[t] = pull
			}
		}
		klGrad[t] = float64(weight * float64(s.Beta*dkl))
	}
	st.HasKL = s.RefLogprobs != nil && !o.estimator.None()
	st.Loss = st.PolicyLoss + st.KLLoss
	for t := range grad {
		if s.Mask != nil && s.Mask[t] == 0 {
			grad[t] = 0
			continue
		}
		if o.sequence {
			tokenGrad[t] = sequencePull / float64(n) // d log s / d lp_t = 1/n
		}
		grad[t] = F(tokenGrad[t] + klGrad[t])
	}
	return st
}

// lengths are what checked needs to know of a sequence of either type; -1: nil.
type lengths struct{ logprobs, old, rollout, ref, mask int }

func (s *Sequence[F]) lengths() lengths {
	of := func(x []F) int {
		if x == nil {
			return -1
		}
		return len(x)
	}
	l := lengths{len(s.Logprobs), of(s.OldLogprobs), of(s.RolloutLogprobs), of(s.RefLogprobs), -1}
	if s.Mask != nil {
		l.mask = len(s.Mask)
	}
	return l
}

// checked panics if a needed slice is missing or has the wrong length, and
// reports whether pi_old is the trainer's own.
func (o *Objective) checked(l lengths, beta float64, grad int) (recomputed bool) {
	need := func(name string, got int, why string, needed bool) {
		if (needed || got != -1) && got != l.logprobs && !(needed && got == -1 && l.logprobs == 0) {
			panic(fmt.Sprintf("grpo: %d %s for %d tokens (%s)", got, name, l.logprobs, why))
		}
	}
	need("gradients", grad, "dst", true)
	need("mask values", l.mask, "optional", false)
	need("rollout logprobs", l.rollout, "pi_old: rollout, off_policy_mask_threshold or engine_correction",
		o.rollout || o.alg.OffPolicyMaskThreshold != nil || o.correction.Mode != CorrectionNone)
	need("old logprobs", l.old, "pi_old: recomputed", !o.rollout)
	need("reference logprobs", l.ref, "beta is not 0", beta != 0 && !o.estimator.None())
	return !o.rollout
}

// keep returns M_i as a factor and notes D_i.
func (o *Objective) keep(recorded bool, st *SequenceStats, divergence func() float64) float64 {
	if !recorded {
		return 1
	}
	st.HasDivergence, st.Divergence = true, divergence()
	if d := o.alg.OffPolicyMaskThreshold; d != nil && !OffPolicyKeep(st.Advantage, st.Divergence, *d) {
		st.Dropped = true
		return 0
	}
	return 1
}

// countMismatch notes |old - roll| over the counted tokens.
func countMismatch[F Float](st *SequenceStats, s *Sequence[F]) {
	st.HasMismatch = true
	for t := range s.OldLogprobs {
		if s.Mask == nil || s.Mask[t] != 0 {
			d := math.Abs(float64(s.OldLogprobs[t]) - float64(s.RolloutLogprobs[t]))
			st.MismatchSum += d
			st.MismatchMax = max(st.MismatchMax, d)
		}
	}
}
