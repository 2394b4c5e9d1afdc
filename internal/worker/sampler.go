package worker

import (
	"context"
	"fmt"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
	"github.com/grouse-rl/grouse/rollout/engine"
)

// sampler makes completions on our own engine.
type sampler struct {
	policies policies

	mu      sync.Mutex // one shard at a time: the engine batches within it
	engine  *engine.Engine
	opts    engine.Options // of engine
	device  string         // name of its device: that of the policies
	current *Policy
	ref     grouse.PolicyRef
}

var _ activities.Sampler = (*sampler)(nil)

// Sample generates the completions of a shard.
func (s *sampler) Sample(ctx context.Context, req activities.SampleRequest, progress func(int)) ([]grouse.Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.policies.get(ctx, req.Run, req.Policy)
	if err != nil {
		return nil, err
	}
	s.use(p, req)
	key := rng.NewKey(rng.Purpose(req.Purpose), fmt.Sprint(req.Stage), req.Seed)
	reqs := make([]engine.Request, len(req.Prompts))
	for i, c := range req.Prompts {
		reqs[i] = engine.Request{
			Prompt: c.Prompt.TokenIDs, N: req.N, Sampling: req.Rollout.Sampling, MaxTokens: req.Rollout.MaxCompletionLength,
			StopIDs: p.StopIDs(), StopStrings: req.Rollout.Stop, Decode: p.Decode, Key: key, Step: uint32(req.Step), Candidate: c.Candidate,
			KeepRouting: req.KeepRouting,
		}
	}
	out, err := s.engine.GenerateAll(ctx, reqs, func(i int) { progress(i + 1) })
	if err != nil {
		return nil, err
	}
	// The weights may have been trained on while this shard, which somebody else
	// had finished meanwhile, was still at work.
	if again, err := s.policies.get(ctx, req.Run, req.Policy); err != nil || again != p {
		return nil, grouse.Errorf(grouse.Stale, "run %s: version %d of the policy is gone", req.Run, req.Policy.Version)
	}
	groups := make([]grouse.Group, len(reqs))
	for i, c := range req.Prompts {
		groups[i] = grouse.Group{Candidate: c.Candidate, Prompt: c.Prompt, Rollouts: out[i], Sampling: req.Rollout.Sampling, Seed: req.Seed}
	}
	return groups, nil
}

// use points the engine at a policy.
func (s *sampler) use(p *Policy, req activities.SampleRequest) {
	want := engine.Options{MaxKVTokens: max(s.opts.MaxKVTokens, req.Rollout.MaxKVTokens), Compressed: !req.Rollout.KeepExact}
	if dev := p.Model.Device(); s.engine == nil || s.opts != want || s.device != dev.Name() {
		if s.engine != nil {
			s.engine.Close()
		}
		s.opts, s.device = want, dev.Name()
		s.engine = engine.New(devices.Beside(dev), s.opts)
		s.current = nil
	}
	if s.current != p || s.ref != req.Policy {
		s.engine.SetPolicy(p.Model, req.Policy.Version)
		s.current, s.ref = p, req.Policy
	}
}

func (s *sampler) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil {
		s.engine.Close()
		s.engine = nil
	}
}
