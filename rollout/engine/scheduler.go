package engine

import (
	"slices"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/logprob"
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

// part lets sequences that have just drawn a token after the same ones go on: those that
// drew alike follow the first of them, which has the keys and values for all until they
// part. from holds what was computed so far: the blocks of the sequence that led them,
// or of the prompt.
func (s *scheduler) part(seqs []*sequence, from []int32) {
	var leaders []*sequence
	for _, q := range seqs {
		q.leader, q.followers = nil, nil
		if q.r.Finish != "" {
			continue
		}
		for _, l := range leaders {
			if l.last() == q.last() {
				q.leader, l.followers = l, append(l.followers, q)
				break
			}
		}
		if q.leader != nil {
			continue
		}
		leaders = append(leaders, q)
		if &q.blocks[0] == &from[0] {
			continue
		}
		for b := q.shared; b*blockTokens < q.length()-1; b++ { // the new token is not in yet
			s.cache.CopyBlock(q.blocks[b], from[b])
			if s.index != nil {
				s.index.CopyBlock(q.blocks[b], from[b])
			}
		}
	}
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

// drawRow is a hidden state and the sequences that draw their next token from it.
type drawRow struct {
	row    int32         // of the pass's hidden states
	prompt tensor.Buffer // a prompt's hidden state, instead; nil
	seqs   []*sequence
	from   []int32 // blocks of what they have in common
}

// draw computes logits from the pass's hidden states h and samples: rows of one
// temperature at a time, of one setting if the device itself draws. Rows of prompts come
// after the others.
func (s *scheduler) draw(m *model.Model, h *tensor.Tensor, rows []drawRow) error {
	drawer, _ := s.e.dev.(tensor.Drawer)
	for len(rows) > 0 {
		first := rows[0].seqs[0].g.req.Sampling
		var now, later []drawRow
		for _, r := range rows {
			set := r.seqs[0].g.req.Sampling
			if set == first || (drawer == nil && set.Temperature == first.Temperature) {
				now = append(now, r)
			} else {
				later = append(later, r)
			}
		}
		rows = later
		head := m.Head()
		states := s.states(h, now, head.In)
		if drawer == nil || !drawThere(drawer, states, head, now) {
			if err := s.drawHere(states, head, now); err != nil {
				return err
			}
		}
		for _, r := range now {
			for _, q := range r.seqs {
				s.drawn(q)
			}
			s.part(r.seqs, r.from)
		}
	}
	return nil
}

// states brings the rows' hidden states together: [rows, dim].
func (s *scheduler) states(h *tensor.Tensor, rows []drawRow, dim int) *tensor.Tensor {
	dev, y := s.e.dev, s.graph.New(len(rows), dim)
	var decoded []int32
	for i, r := range rows {
		if r.prompt == nil {
			decoded = append(decoded, r.row)
		} else {
			dev.Copy(dev.View(y.Data, i*dim, dim), r.prompt)
		}
	}
	if decoded != nil {
		dev.Gather(y.Data, h.Data, decoded, dim)
	}
	return y
}

// drawHere has the logits handed over and samples from them.
func (s *scheduler) drawHere(h *tensor.Tensor, head *tensor.Param, rows []drawRow) error {
	errs := make([]error, len(rows))
	tau := rows[0].seqs[0].g.req.Sampling.Temperature
	s.e.dev.Logits(h.Data, head.Data, len(rows), head.In, head.Out, tau, func(i int, logits []float32, masses *logprob.Masses) {
		for _, q := range rows[i].seqs {
			if err := q.draw(logits, masses); err != nil {
				errs[i] = err
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// drawThere has the device draw, with the same result. It reports false if it cannot.
func drawThere(dev tensor.Drawer, h *tensor.Tensor, head *tensor.Param, rows []drawRow) bool {
	q := rows[0].seqs[0]
	set := tensor.Sampling{Temperature: q.g.req.Sampling.Temperature}
	set.TopK, set.TopP, set.MinP = q.sampler.Filters()
	u := make([][]float32, len(rows))
	for i, r := range rows {
		for _, q := range r.seqs {
			u[i] = append(u[i], q.uniform())
		}
	}
	return dev.Draw(h.Data, head.Data, len(rows), head.In, head.Out, set, u, func(i, j int, d tensor.Draw) {
		rows[i].seqs[j].take(sampling.Draw(d))
	})
}

// drawn tells the request of its new token, in a fixed order.
func (s *scheduler) drawn(q *sequence) {
	req, t := &q.g.req, len(q.r.ResponseIDs)-1
	if req.Token != nil {
		req.Token(int(q.r.Sample), q.r.ResponseIDs[t], q.r.Logprobs[t])
	}
	if q.r.Finish == "" {
		return
	}
	if req.Decode != nil {
		q.r.Text = req.Decode(q.r.ResponseIDs)
	}
	if t := q.r.Kept; t.Offsets != nil && len(t.IDs) == 0 {
		q.r.Kept = grouse.SamplingMask{} // nothing was truncated
	}
	q.r.Routing = q.routing()
	q.g.out[q.index] = q.r
	q.g.finished++
}
