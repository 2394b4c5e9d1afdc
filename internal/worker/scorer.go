package worker

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/rewards"
)

// scorer judges with the rewards of a registry.
type scorer struct {
	registry *rewards.Registry
	home     string // $GROUSE_HOME, where recipes are; "": paths start from the working directory
	parallel int    // groups judged at once

	mu    sync.Mutex
	made  map[string]*rewards.Composite // by the domain's rewards as JSON
	bases map[string]string             // by run: the folder of its recipe
}

var (
	_ activities.Scorer = (*scorer)(nil)
	_ activities.Router = (*scorer)(nil)
)

// Score judges groups, several at once, each by its domain's rewards.
func (s *scorer) Score(ctx context.Context, req activities.ScoreRequest, progress func(int)) ([][]grouse.Score, error) {
	out := make([][]grouse.Score, len(req.Groups))
	composites := map[string]*rewards.Composite{}
	base := s.baseOf(req.Run)
	for name, d := range req.Domains {
		c, err := s.compose(Rebased(d.Rewards, base))
		if err != nil {
			return nil, err
		}
		composites[name] = c
	}
	for i := range req.Groups {
		if name := req.Groups[i].Prompt.Domain; composites[name] == nil {
			return nil, grouse.Errorf(grouse.Internal, "score: no rewards for domain %q", name)
		}
	}
	var wg sync.WaitGroup
	var done sync.Mutex
	n := 0
	slots := make(chan struct{}, max(1, s.parallel))
	for i := range req.Groups {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			g := &req.Groups[i]
			out[i] = composites[g.Prompt.Domain].ScoreObserved(ctx, rewards.NewGroup(g), req.Observe)
			done.Lock()
			n++
			if progress != nil {
				progress(n)
			}
			done.Unlock()
		})
	}
	wg.Wait()
	return out, ctx.Err()
}

// baseOf returns the folder of a run's recipe; "" on a machine that does not have it:
// there paths start from the worker's own folder.
func (s *scorer) baseOf(run string) string {
	if s.home == "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	base, known := s.bases[run]
	if !known {
		if r, err := LoadRecipe(s.home, run); err == nil {
			base = r.Base
		}
		if s.bases == nil {
			s.bases = map[string]string{}
		}
		s.bases[run] = base
	}
	return base
}

func (s *scorer) compose(specs []grouse.RewardSpec) (*rewards.Composite, error) {
	raw, err := json.Marshal(specs)
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "rewards: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.made[string(raw)]; c != nil {
		return c, nil
	}
	c, err := s.registry.Compose(specs)
	if err != nil {
		return nil, err
	}
	if s.made == nil {
		s.made = map[string]*rewards.Composite{}
	}
	s.made[string(raw)] = c
	return c, nil
}

// shardDeadline is the time for a shard, seconds, of whose groups each may take limit
// (0: the usual time). The scorer keeps each group to its own deadline, one after the
// other if need be: this is for a worker that heartbeats and does nothing.
func shardDeadline(limit float64) float64 { return max(3600, 100*limit) }

// ScoreRoutes sends domains whose rewards are all cheap and pure to the
// workflow's own process, the others to the reward workers' queue.
func (s *scorer) ScoreRoutes(_ context.Context, domains []grouse.Domain) ([]activities.ScoreRoute, error) {
	local := activities.ScoreRoute{Local: true}
	queued := activities.ScoreRoute{Queue: activities.RewardQueue}
	for _, d := range domains {
		pure := true
		deadline := 0.0
		for _, r := range d.Rewards {
			e, err := s.registry.Lookup(r.Use)
			if err != nil {
				return nil, err
			}
			pure = pure && e.Pure
			limit := r.Deadline
			if limit == 0 {
				limit = e.Deadline.Seconds()
			}
			deadline = max(deadline, shardDeadline(limit*float64(1+r.Retries)))
		}
		if pure {
			local.Domains = append(local.Domains, d.Name)
		} else {
			queued.Domains = append(queued.Domains, d.Name)
			queued.DeadlineS = max(queued.DeadlineS, deadline)
		}
	}
	return slices.DeleteFunc([]activities.ScoreRoute{local, queued}, func(r activities.ScoreRoute) bool { return len(r.Domains) == 0 }), nil
}
