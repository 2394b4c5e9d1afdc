package model

import (
	"math"

	"github.com/grouse-rl/grouse"
)

// invFreq returns the inverse frequencies of rotary embeddings of dim dimensions,
// and what cos and sin are multiplied by.
func (c *Config) invFreq(dim int) (inv []float64, factor float64, err error) {
	r := &c.Rope
	inv, factor = make([]float64, dim/2), 1
	for i := range inv {
		inv[i] = 1 / math.Pow(r.Theta, float64(2*i)/float64(dim))
	}
	switch r.Type {
	case "", "default":
	case "linear":
		for i := range inv {
			inv[i] /= r.Factor
		}
	case "llama3":
		llama3(inv, r)
	case "yarn":
		if r.OriginalMax < 1 || !(r.Factor >= 1) {
			return nil, 0, grouse.Errorf(grouse.Invalid, "config.json: yarn with factor %v and original_max_position_embeddings %d", r.Factor, r.OriginalMax)
		}
		yarn(inv, r, dim)
		factor = r.yarnFactor()
	default:
		return nil, 0, grouse.Errorf(grouse.Invalid, "config.json: rope_type %q is not supported, supported: default, linear, llama3, yarn", r.Type)
	}
	for _, f := range inv {
		if !(f > 0) || math.IsInf(f, 0) {
			return nil, 0, grouse.Errorf(grouse.Invalid, "config.json: rope parameters give an inverse frequency of %v", f)
		}
	}
	return inv, factor, nil
}

// llama3 scales inverse frequencies by wavelength (spec section 10.1).
func llama3(inv []float64, r *RopeConfig) {
	orig := float64(r.OriginalMax)
	for i, f := range inv {
		wave := 2 * math.Pi / f
		switch {
		case wave < orig/r.HighFreqFactor:
		case wave > orig/r.LowFreqFactor:
			inv[i] = f / r.Factor
		default:
			s := (orig/wave - r.LowFreqFactor) / (r.HighFreqFactor - r.LowFreqFactor)
			inv[i] = (1-s)*f/r.Factor + s*f
		}
	}
}

// yarn blends interpolated and plain frequencies by how often a dimension turns
// within the original context (Peng et al., arXiv:2309.00071; spec 10.3).
func yarn(inv []float64, r *RopeConfig, dim int) {
	fast, slow := r.BetaFast, r.BetaSlow
	if fast == 0 {
		fast = 32
	}
	if slow == 0 {
		slow = 1
	}
	corr := func(turns float64) float64 {
		return float64(dim) * math.Log(float64(r.OriginalMax)/(2*math.Pi*turns)) / (2 * math.Log(r.Theta))
	}
	low, high := corr(fast), corr(slow)
	if r.Truncate == nil || *r.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(dim-1))
	if low == high {
		high += 0.001
	}
	for i, f := range inv {
		ramp := min(max((float64(i)-low)/(high-low), 0), 1)
		inv[i] = f*(1-ramp) + f/r.Factor*ramp
	}
}

// mscale is YaRN's temperature for attention: 0.1 m ln(factor) + 1.
func mscale(factor, m float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*m*math.Log(factor) + 1
}

// yarnFactor is what cos and sin are multiplied by.
func (r *RopeConfig) yarnFactor() float64 {
	switch {
	case r.AttentionFactor != 0:
		return r.AttentionFactor
	case r.MScale != 0 && r.MScaleAllDim != 0:
		return mscale(r.Factor, r.MScale) / mscale(r.Factor, r.MScaleAllDim)
	}
	return mscale(r.Factor, 1)
}
