package engine

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
)

// Kept routing: the experts of each token, in each layer that has them, as the
// forward pass chose them. A prompt's are recorded once, with its cache, and
// stand before those of each of its samples (spec section 4).

// routing returns what the pass records, nil if nobody asked.
func (p *pass) routing(m *model.Model) *model.Routing {
	width := m.MoELayers() * m.ExpertsPerToken()
	asked := false
	for _, q := range p.decodes {
		asked = asked || q.g.req.KeepRouting
	}
	for _, g := range p.prefills {
		asked = asked || g.req.KeepRouting
	}
	if !asked || width == 0 {
		return nil
	}
	return &model.Routing{Chosen: make([]int16, len(p.ids)*width)}
}

// keepRouting hands the recorded rows to the sequences and prompts they are of.
func (p *pass) keepRouting(m *model.Model, r *model.Routing) {
	if r == nil {
		return
	}
	width := m.MoELayers() * m.ExpertsPerToken()
	for i, v := range p.views {
		rows := r.Chosen[v.Row*width : (v.Row+v.Len)*width]
		if i < len(p.decodes) {
			if q := p.decodes[i]; q.g.req.KeepRouting {
				q.routed = append(q.routed, rows...)
				for _, f := range q.followers {
					f.routed = append(f.routed, rows...)
				}
			}
		} else if g := p.prefills[i-len(p.decodes)]; g.req.KeepRouting {
			g.routed = append(g.routed, rows...)
		}
	}
}

// routing returns the experts of a finished sample: its prompt's, then its own.
func (q *sequence) routing() grouse.Routing {
	if q.g.routed == nil {
		return grouse.Routing{}
	}
	m := q.g.policy.model
	experts := make([]int16, 0, len(q.g.routed)+len(q.routed))
	return grouse.Routing{Experts: append(append(experts, q.g.routed...), q.routed...), Layers: m.MoELayers(), K: m.ExpertsPerToken()}
}
