package engine

import (
	"context"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Options bound an engine's memory. Zero fields take the defaults.
type Options struct {
	MaxKVTokens  int // positions in the cache of all sequences together; 65536
	MaxSequences int // decoded at once; 1024
	PrefillChunk int // prompt tokens in one forward pass; 1024. A prompt on a compressed cache is one pass whatever its length
	// Compressed caches only the compressed keys and values of latent attention and
	// decodes in the absorbed form: little memory, but logprobs differ from the
	// trainer's in the last bits. Other models are not affected.
	Compressed bool
}

const blockTokens = tensor.BlockTokens

func blocksFor(tokens int) int { return (tokens + blockTokens - 1) / blockTokens }

// Engine generates. Its methods may be called from any goroutine; one goroutine
// of its own computes.
type Engine struct {
	dev  tensor.Device
	opts Options

	mu      sync.Mutex
	policy  *policy
	waiting []*group // not yet begun
	wake    chan struct{}
	closed  bool
	done    chan struct{}

	sched scheduler // of the computing goroutine
}

// policy is one version of the weights, with its cache: sequences stay on the
// version that they began with.
type policy struct {
	model    *model.Model
	version  int64
	absorbed *model.Absorbed // nil: the trainer's form, bit for bit
}

// New starts an engine on dev, which it uses alone.
func New(dev tensor.Device, opts Options) *Engine {
	if opts.MaxKVTokens <= 0 {
		opts.MaxKVTokens = 1 << 16
	}
	if opts.MaxSequences <= 0 {
		opts.MaxSequences = 1024
	}
	if opts.PrefillChunk <= 0 {
		opts.PrefillChunk = 1024
	}
	e := &Engine{dev: dev, opts: opts, wake: make(chan struct{}, 1), done: make(chan struct{})}
	e.sched.init(e)
	go e.loop()
	return e
}

// Close stops the engine. Requests that are under way end with Unavailable.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.nudge()
	<-e.done
}

// SetPolicy makes requests from now on use m, as the given version. Requests
// that have been accepted keep the version they have; m's weights must not
// change while such requests are under way.
func (e *Engine) SetPolicy(m *model.Model, version int64) {
	p := &policy{model: m, version: version}
	if e.opts.Compressed {
		p.absorbed = m.Absorb()
	}
	e.mu.Lock()
	e.policy = p
	e.mu.Unlock()
}

func (e *Engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Generate returns the request's completions in the order of samples. When ctx
// ends, the request's memory is freed at the next token.
func (e *Engine) Generate(ctx context.Context, r Request) ([]grouse.Rollout, error) {
	g, err := e.submit(ctx, r)
	if err != nil {
		return nil, err
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		e.nudge()
		<-g.done
	}
	return g.out, g.err
}

// GenerateAll runs requests together and returns their completions in order. The
// first error ends all.
func (e *Engine) GenerateAll(ctx context.Context, reqs []Request, each func(i int)) ([][]grouse.Rollout, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	groups := make([]*group, len(reqs))
	for i, r := range reqs {
		g, err := e.submit(ctx, r)
		if err != nil {
			return nil, err
		}
		groups[i] = g
	}
	out := make([][]grouse.Rollout, len(reqs))
	var first error
	for i, g := range groups {
		select {
		case <-g.done:
		case <-ctx.Done():
			e.nudge()
			<-g.done
		}
		if g.err != nil && first == nil {
			first = g.err
			cancel()
		}
		out[i] = g.out
		if each != nil {
			each(i)
		}
	}
	return out, first
}

func (e *Engine) submit(ctx context.Context, r Request) (*group, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, grouse.Errorf(grouse.Unavailable, "generate: the engine is closed")
	}
	if e.policy == nil {
		return nil, grouse.Errorf(grouse.Unavailable, "generate: the engine has no weights yet")
	}
	if err := r.check(e.policy.model.Config.VocabSize, e.opts.MaxKVTokens/blockTokens); err != nil {
		return nil, err
	}
	g, err := newGroup(ctx, r, e.policy)
	if err != nil {
		return nil, err
	}
	e.waiting = append(e.waiting, g)
	e.nudge()
	return g, nil
}

// loop computes until the engine is closed.
func (e *Engine) loop() {
	defer close(e.done)
	for {
		e.mu.Lock()
		e.sched.groups = append(e.sched.groups, e.waiting...)
		e.waiting = nil
		closed := e.closed
		e.mu.Unlock()
		if closed {
			e.sched.abort(grouse.Errorf(grouse.Unavailable, "generate: the engine was closed"))
			e.sched.replays.free()
			return
		}
		if !e.sched.step() {
			<-e.wake
		}
	}
}
