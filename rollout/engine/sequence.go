package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/rollout/sampling"
)

// group is a request under way: its prompt, then its samples.
type group struct {
	ctx    context.Context
	req    Request
	policy *policy

	blocks   []int32       // of the prompt
	filled   int           // prompt tokens that are in the cache
	routed   []int16       // experts of the prompt tokens in the cache
	hidden   tensor.Buffer // the prompt's last hidden state, once all are: samples begin from it
	begun    int           // samples that have begun
	finished int
	out      []grouse.Rollout
	err      error
	done     chan struct{}
}

func newGroup(ctx context.Context, r Request, p *policy) (*group, error) {
	if _, err := sampling.New(r.Sampling, p.model.Config.VocabSize); err != nil {
		return nil, err
	}
	return &group{ctx: ctx, req: r, policy: p, out: make([]grouse.Rollout, r.N), done: make(chan struct{})}, nil
}

// sequence is one sample being decoded.
type sequence struct {
	g       *group
	index   int // in g.out
	blocks  []int32
	shared  int // leading blocks that are the prompt's
	sampler *sampling.Sampler
	routed  []int16 // experts of the response tokens that were fed
	r       grouse.Rollout

	// Samples of a group that have drawn the same tokens so far are computed once, by
	// the first of them.
	leader    *sequence   // nil: it is computed itself
	followers []*sequence // in order of index
}

// last is the token drawn last.
func (s *sequence) last() int32 { return s.r.ResponseIDs[len(s.r.ResponseIDs)-1] }

func (s *sequence) length() int { return len(s.g.req.Prompt) + len(s.r.ResponseIDs) }

// uniform is the number that draws the next token.
func (s *sequence) uniform() float32 {
	req := &s.g.req
	return req.Key.Uniform(uint32(len(s.r.ResponseIDs)), uint32(req.FirstSample+s.index), req.Candidate, req.Step)
}

// draw samples the next token.
func (s *sequence) draw(logits []float32, m *logprob.Masses) error {
	d, err := s.sampler.Sample(logits, s.uniform(), m)
	if err == nil {
		s.take(d)
	}
	return err
}

// take appends a token and ends the sequence if it was the last.
func (s *sequence) take(d sampling.Draw) {
	req := &s.g.req
	s.r.ResponseIDs = append(s.r.ResponseIDs, d.Token)
	s.r.Logprobs = append(s.r.Logprobs, d.Logprob)
	s.r.Entropy = append(s.r.Entropy, d.Entropy)
	s.r.PolicyVersion = append(s.r.PolicyVersion, s.g.policy.version)
	if req.Sampling.Truncates() || req.Sampling.Temperature == 0 {
		if s.r.Kept.Offsets == nil {
			s.r.Kept.Offsets = append(s.r.Kept.Offsets, 0)
		}
		s.r.Kept.IDs = append(s.r.Kept.IDs, d.Kept...)
		s.r.Kept.Offsets = append(s.r.Kept.Offsets, int32(len(s.r.Kept.IDs)))
	}
	switch {
	case slices.Contains(req.StopIDs, d.Token), s.stopString():
		s.r.Finish = grouse.FinishStop
	case len(s.r.ResponseIDs) == req.MaxTokens:
		s.r.Finish = grouse.FinishLength
	}
}

// stopString looks for a stop string in the text of the last tokens.
func (s *sequence) stopString() bool {
	longest := 0
	for _, stop := range s.g.req.StopStrings {
		longest = max(longest, len(stop))
	}
	if longest == 0 {
		return false
	}
	// Most tokens are at least a byte, and three more keep characters whole; those that
	// are none (special ones, which Decode leaves out) take the window further back.
	ids := s.r.ResponseIDs
	last := len(s.g.req.Decode(ids[len(ids)-1:]))
	n := min(len(ids), longest+3)
	text := s.g.req.Decode(ids[len(ids)-n:])
	for n < len(ids) && len(text) < longest+last {
		n = min(len(ids), 2*n)
		text = s.g.req.Decode(ids[len(ids)-n:])
	}
	return slices.ContainsFunc(s.g.req.StopStrings, func(stop string) bool { return strings.Contains(text, stop) })
}
