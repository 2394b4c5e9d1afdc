package rewards

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/grouse-rl/grouse"
)

// Part is one reward of a domain.
type Part struct {
	Name     string // as metrics show it
	Reward   Reward
	Weight   float64
	Gate     bool          // if its value is not positive the completion's reward is 0
	Clip     *[2]float64   // bounds of the value before the weight; nil: none
	Deadline time.Duration // for one group; 0: DefaultDeadline
	Retries  int           // of retryable errors
}

// Composite is a domain's rewards together:
//
//	reward = sum_j weight_j clip(value_j)   over the parts that have an opinion
//	       = 0                              if a gate's value is not positive
//
// Gates come first, in spirit: a closed gate hides the other values from the sum,
// not from the parts that are recorded.
type Composite struct {
	Parts []Part
}

// Validate checks names, weights and bounds.
func (c *Composite) Validate() error {
	seen := map[string]bool{}
	for i, p := range c.Parts {
		switch {
		case p.Name == "" || p.Reward == nil:
			return grouse.Errorf(grouse.Invalid, "reward %d has no name or no function", i)
		case seen[p.Name]:
			return grouse.Errorf(grouse.Invalid, "two rewards are named %q", p.Name).WithFix("give one of them a name of its own")
		case !finite(p.Weight):
			return grouse.Errorf(grouse.Invalid, "reward %s: weight %v", p.Name, p.Weight).WithFix("set a finite weight")
		case p.Clip != nil && !(p.Clip[0] <= p.Clip[1]):
			return grouse.Errorf(grouse.Invalid, "reward %s: clip %v", p.Name, *p.Clip).WithFix("write clip: [low, high]")
		}
		seen[p.Name] = true
	}
	if len(c.Parts) == 0 {
		return grouse.Errorf(grouse.Invalid, "a domain without rewards").WithFix("name at least one under rewards:")
	}
	return nil
}

// Score judges a group: one Score for each sample. The parts run at the same
// time. If one of them fails, every Score says so (the first failing part in the
// order of Parts) and none has a reward.
func (c *Composite) Score(ctx context.Context, g *Group) []grouse.Score {
	return c.ScoreObserved(ctx, g, nil)
}

// ScoreObserved is Score, and tells observe, unless it is nil, how long each part
// took, its retries included, and what came of it.
func (c *Composite) ScoreObserved(ctx context.Context, g *Group, observe func(part string, took time.Duration, outcome grouse.Outcome)) []grouse.Score {
	results := make([][]Result, len(c.Parts))
	errs := make([]error, len(c.Parts))
	var wg sync.WaitGroup
	for i := range c.Parts {
		wg.Go(func() {
			p, began := &c.Parts[i], time.Now()
			results[i], errs[i] = callWithRetries(ctx, p.Reward, g, p.Deadline, p.Retries)
			if observe != nil {
				observe(p.Name, time.Since(began), OutcomeOf(errs[i]))
			}
		})
	}
	wg.Wait()
	scores := make([]grouse.Score, len(g.Samples))
	for s := range scores {
		scores[s] = grouse.Score{Sample: uint16(s), Outcome: grouse.Scored, Parts: map[string]float64{}}
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		for s := range scores {
			scores[s] = grouse.Score{Sample: uint16(s), Outcome: OutcomeOf(err), Failure: c.Parts[i].Name + ": " + err.Error()}
		}
		return scores
	}
	for s := range scores {
		c.sum(&scores[s], results, s)
	}
	return scores
}

// Close ends what the parts hold open: processes, connections. Parts that hold
// nothing need not have a Close.
func (c *Composite) Close() error {
	var errs []error
	for i := range c.Parts {
		if closer, ok := c.Parts[i].Reward.(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	return errors.Join(errs...)
}

// sum makes one sample's score from the parts' results.
func (c *Composite) sum(score *grouse.Score, results [][]Result, s int) {
	total, opinions, open := 0.0, 0, true
	for i := range c.Parts {
		p, r := &c.Parts[i], &results[i][s]
		for name, v := range r.Numbers {
			score.Parts[p.Name+"/"+name] = v
		}
		if r.Explanation != "" {
			if score.Explanation != "" {
				score.Explanation += "\n"
			}
			score.Explanation += p.Name + ": " + r.Explanation
		}
		if score.Correct == nil && r.Correct != nil {
			score.Correct = r.Correct
		}
		if r.NoOpinion {
			continue
		}
		opinions++
		score.Parts[p.Name] = r.Value
		v := r.Value
		if p.Clip != nil {
			v = min(max(v, p.Clip[0]), p.Clip[1])
		}
		total += float64(p.Weight * v)
		if p.Gate && r.Value <= 0 {
			open = false
		}
	}
	if opinions == 0 {
		return
	}
	if !open {
		total = 0
	}
	score.Reward = &total
}
