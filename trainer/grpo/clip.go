package grpo

// Clip is the clipped surrogate's trust region (spec 1.4).
type Clip struct {
	Low  float64 // width below 1: r >= 1-Low
	High float64 // width above 1: r <= 1+High; DAPO's clip-higher makes it the larger one
	C    float64 // dual clip, > 1+High: the bound of r where A < 0; 0: off
}

// Surrogate returns the objective of a token, which is maximized, and whether a
// gradient flows through its ratio:
//
//	obj = min( r A, clip(r, 1-Low, 1+High) A )
//	obj = max( obj, C A )                        if C > 0 and A < 0
//
// (PPO's clip; the dual clip is Ye et al., arXiv:1912.09729.) With live, d obj / d
// log r = A r, else 0. At a boundary the token is live; A = 0 is never live.
func (c Clip) Surrogate(r, advantage float64) (obj float64, live bool) {
	if advantage == 0 {
		return 0, false
	}
	low, high := 1-c.Low, 1+c.High
	obj = min(r*advantage, min(max(r, low), high)*advantage)
	live = !(advantage > 0 && r > high) && !(advantage < 0 && r < low)
	if c.C > 0 && advantage < 0 {
		obj = max(obj, c.C*advantage)
		live = live && r <= c.C
	}
	return obj, live
}

// clippedLow and clippedHigh report whether the trust region cut the token's
// gradient, as TRL counts it: on the side where it matters.
func (c Clip) clippedLow(r, advantage float64) bool  { return advantage < 0 && r < 1-c.Low }
func (c Clip) clippedHigh(r, advantage float64) bool { return advantage > 0 && r > 1+c.High }
func (c Clip) clippedDual(r, advantage float64) bool { return advantage < 0 && c.C > 0 && r > c.C }

// cuts reports whether any of them holds.
func (c Clip) cuts(r, advantage float64) bool {
	return c.clippedLow(r, advantage) || c.clippedHigh(r, advantage) || c.clippedDual(r, advantage)
}
