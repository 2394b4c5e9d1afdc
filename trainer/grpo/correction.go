package grpo

import (
	"strings"

	"github.com/grouse-rl/grouse"
)

// CorrectionMode is what a Correction does, level and action in one name.
type CorrectionMode string

const CorrectionNone CorrectionMode = "none"

// CorrectionModes lists the names that ParseCorrection knows.
var CorrectionModes = []string{
	string(CorrectionNone),
	"token_truncate", "token_mask", "token_reject",
	"sequence_truncate", "sequence_mask", "sequence_reject",
	"geometric_truncate", "geometric_mask", "geometric_reject",
}

// Correction weighs tokens by how the trainer's probability of the rollout's
// tokens compares with the engine's (spec 6). With x_t = old_t - roll_t:
//
//	token:      rho_t = exp(x_t)
//	sequence:   rho   = exp(sum_t m_t x_t)          the same on every token
//	geometric:  rho   = exp((1/n) sum_t m_t x_t)
//
//	truncate:   w = min(max(rho, Floor), Cap)       TIS
//	mask:       w = rho if Floor <= rho <= Cap, else 0    MIS; at token level IcePop
//	reject:     w = 1 if Floor <= rho <= Cap, else 0
//
// and, if Veto > 0, w = 0 on the whole sequence if any counted token's exp(x_t)
// is below Veto. The log-ratios are clamped to +-20; w is a constant of the step.
type Correction struct {
	Mode             CorrectionMode
	Cap, Floor, Veto float64
}

// ParseCorrection checks the recipe's engine_correction.
func ParseCorrection(c grouse.EngineCorrection) (Correction, error) {
	out := Correction{Mode: CorrectionMode(c.Mode), Cap: c.Cap, Floor: c.Floor, Veto: c.Veto}
	if err := oneOf("engine_correction.mode", c.Mode, CorrectionModes...); err != nil {
		return out, err
	}
	bad := func(key string, v float64, want string) error {
		return grouse.Errorf(grouse.Invalid, "algorithm: engine_correction.%s is %v", key, v).WithFix("set engine_correction.%s to %s", key, want)
	}
	switch {
	case out.Mode == CorrectionNone && c.Veto != 0:
		return out, grouse.Errorf(grouse.Invalid, "algorithm: engine_correction.veto is %v, but the mode is none", c.Veto).
			WithFix("remove the veto or choose a mode, such as token_truncate")
	case out.Mode == CorrectionNone:
		return out, nil
	case !(c.Cap > 0) || !finite(c.Cap):
		return out, bad("cap", c.Cap, "a ratio above 0, such as 2")
	case !(c.Floor >= 0) || c.Floor > c.Cap:
		return out, bad("floor", c.Floor, "a ratio from 0 to cap")
	case !(c.Veto >= 0) || !finite(c.Veto):
		return out, bad("veto", c.Veto, "a ratio such as 1e-4, or 0 for off")
	}
	return out, nil
}

// perSequence reports whether there is one rho for the whole sequence.
func (c Correction) perSequence() bool { return !strings.HasPrefix(string(c.Mode), "token_") }

// Weights writes w [T] and the rho it came from [T] for one sequence and reports
// a veto. dst and rho may be the same length of scratch again and again; both are
// written for masked tokens too. It panics if the lengths differ.
func Weights[F Float](c Correction, dst, rho []float64, oldLogprobs, rolloutLogprobs []F, mask []uint8) (vetoed bool) {
	T := len(dst)
	if len(rho) != T {
		panic("grpo: Weights: lengths differ")
	}
	if c.Mode == CorrectionNone {
		for t := range dst {
			dst[t], rho[t] = 1, 1
		}
		return false
	}
	if len(oldLogprobs) != T || len(rolloutLogprobs) != T || (mask != nil && len(mask) != T) {
		panic("grpo: Weights: lengths differ")
	}
	level, action, _ := strings.Cut(string(c.Mode), "_")
	whole := 1.0
	if level != grouse.LevelToken {
		sum, n := sumLogRatio(oldLogprobs, rolloutLogprobs, mask)
		if level == "geometric" {
			sum /= float64(max(n, 1))
		}
		whole, _ = Ratio(sum)
	}
	for t := range dst {
		token, _ := Ratio(float64(oldLogprobs[t]) - float64(rolloutLogprobs[t]))
		if c.Veto > 0 && token < c.Veto && (mask == nil || mask[t] != 0) {
			vetoed = true
		}
		rho[t] = whole
		if level == grouse.LevelToken {
			rho[t] = token
		}
		dst[t] = c.weight(action, rho[t])
	}
	if vetoed {
		clear(dst)
	}
	return vetoed
}

func (c Correction) weight(action string, rho float64) float64 {
	inside := c.Floor <= rho && rho <= c.Cap
	switch {
	case action == "truncate":
		return min(max(rho, c.Floor), c.Cap)
	case !inside:
		return 0
	case action == "reject":
		return 1
	}
	return rho // mask
}
