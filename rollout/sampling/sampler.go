package sampling

import (
	"math"
	"slices"
	"strconv"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/rng"
)

// Draw is one sampled token and what sampling recorded of it.
type Draw struct {
	Token   int32
	Logprob float32 // under the processed distribution, nats; 0 for greedy sampling
	Entropy float32 // of softmax(z/tau) over the full vocabulary, nats
	Kept    []int32 // kept set, ascending; nil: the whole vocabulary. Valid until the next Sample.
}

// Sampler draws tokens with fixed settings from rows of a fixed vocabulary. It
// holds scratch memory, so one goroutine uses it at a time.
type Sampler struct {
	set   grouse.Sampling
	vocab int
	topK  int     // 0: off
	topP  float64 // 1: off
	minP  float64 // 0: off

	own     logprob.Masses
	entries []entry
	exps    []float64 // of entries, relative to the first
	kept    []int32
	logits  []float32 // of kept
}

// New returns a Sampler for rows of vocab logits, or an error that names the
// setting that is out of range.
func New(set grouse.Sampling, vocab int) (*Sampler, error) {
	bad := func(name string, v float32, want string) error {
		return grouse.Errorf(grouse.Invalid, "sampling: %s is %v", name, v).WithFix("set %s to %s", name, want)
	}
	switch {
	case vocab < 1 || vocab > math.MaxInt32:
		return nil, grouse.Errorf(grouse.Invalid, "sampling: a vocabulary of %d ids", vocab)
	case !(set.Temperature >= 0) || math.IsInf(float64(set.Temperature), 0):
		return nil, bad("temperature", set.Temperature, "a number of at least 0 (0: greedy)")
	case set.TopK < 0:
		return nil, bad("top_k", float32(set.TopK), "a number of at least 1, or 0 for off")
	case !(set.TopP >= 0):
		return nil, bad("top_p", set.TopP, "a number above 0 and at most 1 (1: off)")
	case !(set.MinP >= 0 && set.MinP <= 1):
		return nil, bad("min_p", set.MinP, "a number from 0 to 1 (0: off)")
	}
	s := &Sampler{set: set, vocab: vocab, topP: 1, minP: decimal(set.MinP)}
	if set.TopK > 0 && int(set.TopK) < vocab {
		s.topK = int(set.TopK)
	}
	if set.TopP > 0 && set.TopP < 1 {
		s.topP = decimal(set.TopP)
	}
	return s, nil
}

// Filters returns the settings as they are applied: topK 0, topP 1 and minP 0 are off.
func (s *Sampler) Filters() (topK int, topP, minP float64) { return s.topK, s.topP, s.minP }

// decimal returns the number that was written for f: 0.9 for float32(0.9), which
// is 0.8999999762. A threshold compared in float64 is the recipe's own.
func decimal(f float32) float64 {
	d, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64) // cannot fail: FormatFloat wrote it
	return d
}

// Sample draws a token from logits [vocab] with the uniform number u in [0, 1).
// m holds the masses of logits at the Sampler's temperature if the engine's
// kernel has computed them; nil computes them here.
//
// A logit of -Inf excludes its token. A row with a NaN or +Inf, or of nothing
// but -Inf, is an error of kind Corrupt: the weights or the kernel are broken.
func (s *Sampler) Sample(logits []float32, u float32, m *logprob.Masses) (Draw, error) {
	if len(logits) != s.vocab {
		return Draw{}, grouse.Errorf(grouse.Invalid, "sampling: %d logits for a vocabulary of %d", len(logits), s.vocab)
	}
	if m == nil {
		s.own.Fill(logits, s.set.Temperature)
		m = &s.own
	}
	top, logSum, entropy := logprob.Combine(m.Blocks)
	if math.IsNaN(logSum) || math.IsInf(float64(top), 0) {
		return Draw{}, badRow(logits)
	}
	d := Draw{Entropy: float32(entropy)}
	if s.set.Temperature == 0 {
		d.Token = argmax(logits)
		s.kept = append(s.kept[:0], d.Token)
		d.Kept = s.kept
		return d, nil
	}
	if !s.filter(logits) {
		d.Token = drawFull(m, top, u)
		d.Logprob = logprob.FullFrom(top, logSum, logits[d.Token], s.set.Temperature)
		return d, nil
	}
	place := s.drawKept(u)
	d.Token = s.kept[place]
	d.Logprob = logprob.Kept(s.logits, place, s.set.Temperature)
	d.Kept = s.kept
	return d, nil
}

// badRow says which logit makes a row unusable.
func badRow(logits []float32) error {
	for v, z := range logits {
		if z != z || math.IsInf(float64(z), 1) {
			return grouse.Errorf(grouse.Corrupt, "sampling: the logit of token %d is %v", v, z)
		}
	}
	return grouse.Errorf(grouse.Corrupt, "sampling: no token of %d has a logit above -Inf", len(logits))
}

// argmax returns the lowest id with the largest logit.
func argmax(logits []float32) int32 {
	best := 0
	for v, z := range logits {
		if z > logits[best] {
			best = v
		}
	}
	return int32(best)
}

// firstLook is how many of the most probable tokens are looked at first where
// top-k does not say how many there can be.
const firstLook = 256

// filter puts the kept set into s.kept, ascending, and its logits into
// s.logits. It returns false if every token is kept.
func (s *Sampler) filter(logits []float32) bool {
	if s.topK == 0 && s.topP == 1 && s.minP == 0 {
		return false
	}
	n := 0
	if s.topK > 0 {
		n, _ = s.prefix(logits, s.topK, 0)
	} else {
		_, total := logprob.KeptSum(logits, float64(s.set.Temperature)) // in float64: the kept set does not depend on the kernel
		for look, whole := min(firstLook, s.vocab), false; ; look = min(look*8, s.vocab) {
			if n, whole = s.prefix(logits, look, total); whole || look == s.vocab {
				break
			}
		}
	}
	if n == s.vocab {
		return false
	}
	s.kept = grow(s.kept, n)
	for i, e := range s.entries[:n] {
		s.kept[i] = e.id
	}
	slices.Sort(s.kept)
	s.logits = grow(s.logits, n)
	for i, id := range s.kept {
		s.logits[i] = logits[id]
	}
	return true
}

// prefix applies top-p and min-p to the look most probable tokens. Both keep a
// prefix in descending order, so it returns that prefix's length, and whether
// it ends within the tokens looked at. total is the mass that probabilities are
// relative to, in units of the largest; 0: that of the tokens looked at.
func (s *Sampler) prefix(logits []float32, look int, total float64) (n int, whole bool) {
	s.entries = largest(s.entries, logits, look)
	s.exps = grow(s.exps, look)
	tau := float64(s.set.Temperature)
	first, sum := float64(s.entries[0].logit)/tau, 0.0
	for i, e := range s.entries {
		s.exps[i] = rng.Exp(float64(e.logit)/tau - first)
		sum += s.exps[i]
	}
	if total == 0 {
		total = sum
	}
	before := 0.0 // mass strictly before token i
	for i, e := range s.exps {
		p := e / total
		if e == 0 || (i > 0 && s.topP < 1 && before >= s.topP) || p < float64(s.minP*(1/total)) {
			return i, true
		}
		before += p
	}
	return look, false
}

// drawKept returns the first place of s.kept whose cumulative mass exceeds u
// times the total.
func (s *Sampler) drawKept(u float32) int {
	tau := float64(s.set.Temperature)
	top, total := logprob.KeptSum(s.logits, tau)
	limit, sum := float64(u)*total, 0.0
	for i, z := range s.logits {
		if sum += rng.Exp(float64(z)/tau - top); sum > limit {
			return i
		}
	}
	return len(s.logits) - 1 // only if u >= 1: total is the same sum
}

// drawFull returns the first id whose cumulative mass exceeds u times the total.
// The mass of an id is its exponential times the weight of its block; a block is
// added up on its own, in ascending id, then the blocks.
func drawFull(m *logprob.Masses, top, u float32) int32 {
	weight := func(b int) float64 {
		if m.Blocks[b].Sum == 0 {
			return 0
		}
		return rng.Exp(float64(m.Blocks[b].Max) - float64(top))
	}
	total := 0.0
	for b := range m.Blocks {
		total += float64(weight(b) * blockMass(m.Exp, b))
	}
	limit, before, last := float64(u)*total, 0.0, int32(0)
	for b := range m.Blocks {
		w := weight(b)
		after := before + float64(w*blockMass(m.Exp, b))
		if after > limit {
			sum := 0.0
			for v := b * logprob.Block; v < min((b+1)*logprob.Block, len(m.Exp)); v++ {
				if m.Exp[v] == 0 {
					continue
				}
				sum += float64(m.Exp[v])
				last = int32(v)
				if before+float64(w*sum) > limit {
					return last
				}
			}
			return last
		}
		before = after
	}
	return last
}

// blockMass adds up a block's exponentials in ascending id.
func blockMass(exp []float32, b int) float64 {
	sum := 0.0
	for _, e := range exp[b*logprob.Block : min((b+1)*logprob.Block, len(exp))] {
		sum += float64(e)
	}
	return sum
}
