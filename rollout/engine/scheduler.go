package engine

import (
	"slices"

	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/rollout/sampling"
)

// scheduler decides what the next forward pass computes: a token of each
// sequence being decoded, and as much of the waiting prompts as fits. Requests
// begin in the order they came.
type scheduler struct {
	e       *Engine
	graph   *tensor.Graph
	cache   tensor.Cache
	index   tensor.Cache // of lightning indexers; nil: none
	made    *caches      // shapes of both; nil: not made yet
	free    []int32      // blocks, the last is taken next
	refs    []int32      // of each block
	groups  []*group     // begun or waiting, in order
	running []*sequence
	replays *replays // nil: the device cannot
}

func (s *scheduler) init(e *Engine) {
	s.e = e
	s.graph = tensor.NewGraph(e.dev, tensor.Infer)
	s.replays = newReplays(e.dev, e.opts.MaxSequences)
}

// caches is what a policy needs of each token.
type caches struct {
	shapes model.Caches
	layers int
}

func (p *policy) caches() caches { return caches{p.model.Caches(p.absorbed != nil), p.model.Layers()} }

// use makes the caches for a policy's shapes when the first request for it comes.
func (s *scheduler) use(p *policy) {
	want := p.caches()
	if s.made != nil && *s.made == want {
		return
	}
	n := s.e.opts.MaxKVTokens / blockTokens
	there := n
	if s.replays != nil {
		s.replays.free() // they refer to the cache
		there++          // a block that nobody reads
	}
	s.cache, s.index, s.made = s.e.dev.NewCache(want.shapes.KeyValue, want.layers, there), nil, &want
	if want.shapes.Index.KeyDim > 0 {
		s.index = s.e.dev.NewCache(want.shapes.Index, want.layers, there)
	}
	s.refs, s.free = make([]int32, n), make([]int32, n)
	for i := range s.free {
		s.free[i] = int32(n - 1 - i)
	}
}

func (s *scheduler) take() int32 {
	b := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.refs[b] = 1
	return b
}

func (s *scheduler) drop(blocks []int32) {
	for _, b := range blocks {
		if s.refs[b]--; s.refs[b] == 0 {
			s.free = append(s.free, b)
		}
	}
}

// step does one forward pass. It returns false if there is nothing to do.
func (s *scheduler) step() bool {
	s.sweep()
	if len(s.groups) == 0 {
		return false
	}
	s.admit()
	// One pass is for one version of the weights; the oldest goes first.
	p := s.groups[0].policy
	if err := s.forward(p); err != nil {
		for _, g := range s.groups {
			if g.policy == p {
				g.err = err
			}
		}
	}
	return true
}

// sweep removes groups that are finished, failed or cancelled.
func (s *scheduler) sweep() {
	s.running = slices.DeleteFunc(s.running, func(q *sequence) bool {
		if q.g.err == nil && q.g.ctx.Err() != nil {
			q.g.err = q.g.ctx.Err()
		}
		if q.g.err == nil && q.r.Finish == "" {
			return false
		}
		s.drop(q.blocks)
		return true
	})
	s.groups = slices.DeleteFunc(s.groups, func(g *group) bool {
		if g.err == nil && g.ctx.Err() != nil {
			g.err = g.ctx.Err()
		}
		if g.err == nil && g.finished < g.req.N {
			return false
		}
		s.drop(g.blocks)
		if g.hidden != nil {
			s.e.dev.Free(g.hidden)
		}
		close(g.done)
		return true
	})
}

func (s *scheduler) abort(err error) {
	for _, g := range s.groups {
		g.err = err
	}
	s.sweep()
}

// admit gives memory to groups in order: the prompt's, and enough for the whole
// of each sample, so that what has begun can end. The first that does not fit
// makes the rest wait.
func (s *scheduler) admit() {
	for _, g := range s.groups {
		if !s.fits(g) {
			return
		}
		s.use(g.policy)
		total := blocksFor(len(g.req.Prompt) + g.req.MaxTokens)
		whole := len(g.req.Prompt) / blockTokens // prompt blocks that samples share
		if g.blocks == nil {
			need := blocksFor(len(g.req.Prompt))
			if len(s.free) < need+total-whole {
				return
			}
			for range need {
				g.blocks = append(g.blocks, s.take())
			}
		}
		for g.begun < g.req.N {
			if len(s.free) < total-whole || len(s.running) >= s.e.opts.MaxSequences {
				return
			}
			s.begin(g, total, whole)
		}
	}
}

// fits reports whether the cache is of the group's model, or may be made anew.
func (s *scheduler) fits(g *group) bool {
	return s.made == nil || *s.made == g.policy.caches() || (len(s.running) == 0 && s.groups[0] == g && g.blocks == nil)
}

// begin reserves a sample's blocks; the prompt's last one, if it is not full, has a
// place of its own in each sample.
func (s *scheduler) begin(g *group, total, whole int) {
	sampler, err := sampling.New(g.req.Sampling, g.policy.model.Config.VocabSize)
	if err != nil {
		g.err = err // checked by submit; cannot be
		return
	}
	q := &sequence{g: g, index: g.begun, shared: whole, sampler: sampler}
	q.r.Sample = uint16(g.req.FirstSample + g.begun)
	for _, b := range g.blocks[:whole] {
		s.refs[b]++
		q.blocks = append(q.blocks, b)
	}
	for range total - whole {
		q.blocks = append(q.blocks, s.take())
	}
	s.running = append(s.running, q)
	g.begun++
}

// pass is the rows of one forward pass.
type pass struct {
	ids, pos []int32
	slots    []tensor.Slot
	views    []tensor.View
	last     []int32 // rows whose hidden states are wanted
	ends     []*group
	decodes  []*sequence
	prefills []*group // of the views after the decodes'
}

func (p *pass) add(id int32, pos int, blocks []int32) {
	p.ids = append(p.ids, id)
	p.pos = append(p.pos, int32(pos))
	p.slots = append(p.slots, tensor.Slot{Block: blocks[pos/blockTokens], Offset: int32(pos % blockTokens)})
}

// plan collects a token of each running sequence that leads, and prompts up to the chunk. On
// a compressed cache a pass is for prompts, which are computed in the expanded
// form and therefore whole, or for decoding.
func (s *scheduler) plan(pol *policy) *pass {
	p := &pass{}
	if pol.absorbed == nil {
		s.planDecodes(p, pol)
	}
	s.planPrompts(p, pol)
	if pol.absorbed != nil && len(p.ids) == 0 {
		s.planDecodes(p, pol)
	}
	return p
}

func (s *scheduler) planDecodes(p *pass, pol *policy) {
	for _, q := range s.running {
		if q.g.policy != pol || len(q.r.ResponseIDs) == 0 || q.leader != nil {
			continue
		}
		pos := q.length() - 1
		p.views = append(p.views, tensor.View{Row: len(p.ids), Len: 1, Pos: pos, Blocks: q.blocks})
		p.last = append(p.last, int32(len(p.ids)))
		p.add(q.last(), pos, q.blocks)
		p.decodes = append(p.decodes, q)
	}
}

func (s *scheduler) planPrompts(p *pass, pol *policy) {
	budget := s.e.opts.PrefillChunk
	for _, g := range s.groups {
		left := len(g.req.Prompt) - g.filled
		n := min(budget, left)
		if pol.absorbed != nil { // all of it, or not now
			if n = left; n > budget && p.prefills != nil {
				n = 0
			}
		}
		if g.policy != pol || g.blocks == nil || n == 0 {
			continue
		}
		p.views = append(p.views, tensor.View{Row: len(p.ids), Len: n, Pos: g.filled, Blocks: g.blocks})
		for i := range n {
			p.add(g.req.Prompt[g.filled+i], g.filled+i, g.blocks)
		}
		p.prefills = append(p.prefills, g)
		g.filled += n
		budget -= n
		if g.filled == len(g.req.Prompt) {
			p.last = append(p.last, int32(len(p.ids)-1))
			p.ends = append(p.ends, g)
		}
	}
}

// forward computes a pass and draws the next tokens.
func (s *scheduler) forward(pol *policy) error {
	p := s.plan(pol)
	defer s.graph.Reset()
	m := pol.model
	var h *tensor.Tensor
	var rows []drawRow
	if len(p.ids) > 0 {
		if p.replayable(pol) && s.replays.take(len(p.ids)) {
			h = s.replayed(m, p)
		} else {
			h = s.computed(pol, p)
		}
		for i, q := range p.decodes {
			rows = append(rows, drawRow{row: int32(i), seqs: append([]*sequence{q}, q.followers...), from: q.blocks})
		}
		for i, grp := range p.ends {
			grp.hidden = s.e.dev.New(h.Cols)
			s.e.dev.Copy(grp.hidden, s.e.dev.View(h.Data, (len(p.decodes)+i)*h.Cols, h.Cols))
		}
	}
	for _, grp := range s.groups { // samples that begin now
		if grp.policy != pol || grp.hidden == nil {
			continue
		}
		row := drawRow{prompt: grp.hidden, from: grp.blocks}
		for _, q := range s.running {
			if q.g == grp && len(q.r.ResponseIDs) == 0 {
				row.seqs = append(row.seqs, q)
			}
		}
		if row.seqs != nil {
			rows = append(rows, row)
		}
	}
	return s.draw(m, h, rows)
}

// computed is the hidden states that are wanted of a pass.
func (s *scheduler) computed(pol *policy, p *pass) *tensor.Tensor {
	m, g := pol.model, s.graph
	routing, attend := p.routing(m), &cached{s: s, g: g, slots: p.slots, views: p.views}
	in := model.Input{IDs: p.ids, Pos: p.pos, Rows: p.last, Routing: routing, Attend: attend}
	switch {
	case pol.absorbed != nil && p.prefills != nil:
		in.Compressed, attend.prompts = true, p.inBatch(m, g)
	case pol.absorbed != nil:
		in.Absorbed = pol.absorbed
	}
	h := m.Forward(g, in)
	p.keepRouting(m, routing)
	return h
}

// inBatch is attention among the rows of prompts.
func (p *pass) inBatch(m *model.Model, g *tensor.Graph) model.Attention {
	var seqs tensor.Seqs
	for _, v := range p.views {
		seqs.Add(v.Len, -1)
	}
	return m.InBatch(g, &seqs)
}

// cached is attention over the engine's caches.
type cached struct {
	s       *scheduler
	g       *tensor.Graph
	slots   []tensor.Slot
	views   []tensor.View
	prompts model.Attention // of whole prompts, whose compressed keys and values are cached; nil
}

func (c *cached) Attend(l int, h model.Heads) *tensor.Tensor {
	shape, dev := c.s.made.shapes.KeyValue, c.g.Device()
	if h.Latent != nil {
		dev.CacheWrite(c.s.cache, l, h.Latent.Data, nil, c.slots)
		return c.prompts.Attend(l, h)
	}
	var v tensor.Buffer
	if h.V != nil {
		v = h.V.Data
	}
	dev.CacheWrite(c.s.cache, l, h.K.Data, v, c.slots)
	o := c.g.New(h.Q.Rows, shape.Heads*shape.ValueDim)
	dev.CacheAttend(o.Data, h.Q.Data, c.s.cache, l, c.views, h.Sparse)
	return o
}

func (c *cached) Select(l int, i model.Index) tensor.Selection {
	dev := c.g.Device()
	dev.CacheWrite(c.s.index, l, i.K.Data, nil, c.slots)
	return dev.CacheSelect(i.Q.Data, i.W.Data, i.Shape, c.s.index, l, c.views)
}
