package model

import (
	"fmt"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// experts is the mixture-of-experts feed-forward layer (spec sections 10.2 and
// 10.4):
//
//	y = sum over the chosen experts e of gate_e Expert_e(n)  + Shared(n)
//
// with each expert, and the shared one if there is one, a SwiGLU layer.
type experts struct {
	index      int // among the layers with experts
	router     tensor.Router
	gate       *tensor.Param   // [E, d]
	bias       *tensor.Param   // [E] e_score_correction_bias, frozen; nil: Qwen
	gates, ups []*tensor.Param // [E] of [size, d]
	downs      []*tensor.Param // [E] of [d, size]
	shared     *mlp            // nil: none
}

func (m *Model) newExperts(prefix string, index int) *experts {
	cfg := m.Config
	e := &experts{index: index, router: tensor.Router{TopK: cfg.ExpertsPerToken, Scale: 1}}
	e.gate = m.matrix(prefix+"gate.weight", cfg.Experts, cfg.HiddenSize)
	if e.router.Normalize = m.family.mla; cfg.NormTopK != nil {
		e.router.Normalize = *cfg.NormTopK
	}
	if m.family.mla {
		e.router.Sigmoid, e.router.Groups, e.router.TopGroups = true, cfg.Groups, cfg.TopGroups
		if cfg.RoutedScale != 0 {
			e.router.Scale = float32(cfg.RoutedScale)
		}
		e.bias = m.vector(prefix+"gate.e_score_correction_bias", cfg.Experts)
	}
	for i := range cfg.Experts {
		x := m.newMLP(fmt.Sprintf("%sexperts.%d.", prefix, i), cfg.ExpertSize)
		e.gates, e.ups, e.downs = append(e.gates, x.gate), append(e.ups, x.up), append(e.downs, x.down)
	}
	if cfg.SharedExperts > 0 && m.family.mla {
		e.shared = m.newMLP(prefix+"shared_experts.", cfg.SharedExperts*cfg.ExpertSize)
	}
	return e
}

func (e *experts) forward(g *tensor.Graph, n *tensor.Tensor, in *Input) *tensor.Tensor {
	z := g.Linear(n, e.gate, nil)
	chosen := in.Routing.take(g, e, z)
	gates := g.Route(z, e.bias, &e.router, chosen)
	in.Routing.took(e, chosen)
	a := tensor.Assign(chosen, e.router.TopK, len(e.downs))
	x := g.Dispatch(n, a)
	h := g.SwiGLU(g.GroupedLinear(x, e.gates, a), g.GroupedLinear(x, e.ups, a))
	y := g.Combine(g.GroupedLinear(h, e.downs, a), gates, a)
	if e.shared != nil {
		y = g.Add(y, e.shared.forward(g, n, in))
	}
	return y
}
