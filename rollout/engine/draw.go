package engine

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/rollout/sampling"
)

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
