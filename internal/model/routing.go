package model

import (
	"fmt"
	"slices"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Routing forces and records the experts of a forward pass. Its tables are
// [rows, MoE layers, K], layers ascending, choices in the router's own order,
// which is the order that a row's experts are added up in (spec section 4).
type Routing struct {
	// Forced experts; a row of K that begins with -1 routes freely. nil: all do.
	Forced []int16
	// Chosen, if not nil, receives the experts that were used.
	Chosen []int16
	// Differ, if not nil, counts in each layer the forced rows of which the router
	// would have taken another set of experts, and Counted all forced rows.
	Differ, Counted []int

	layers, k int
	used      [][]int32 // of each layer, once it has been computed: recomputation repeats them
}

// begin returns a fresh copy for one pass.
func (r *Routing) begin(m *Model, rows int) *Routing {
	c := &Routing{layers: m.MoELayers(), k: m.Config.ExpertsPerToken}
	if r != nil {
		c.Forced, c.Chosen, c.Differ, c.Counted = r.Forced, r.Chosen, r.Differ, r.Counted
	}
	for _, t := range [][]int16{c.Forced, c.Chosen} {
		if t != nil && len(t) != rows*c.layers*c.k {
			panic(fmt.Sprintf("model: routing of %d experts for %d rows, %d layers, %d a row: rollouts are validated where they enter", len(t), rows, c.layers, c.k))
		}
	}
	c.used = make([][]int32, c.layers)
	return c
}

// take returns the experts of a layer's rows, -1 where the router is to choose.
func (r *Routing) take(g *tensor.Graph, e *experts, z *tensor.Tensor) []int32 {
	if used := r.used[e.index]; used != nil {
		return used
	}
	chosen := make([]int32, z.Rows*r.k)
	if r.Forced == nil {
		for i := range chosen {
			chosen[i] = -1
		}
		return chosen
	}
	for i := range z.Rows {
		for j, v := range r.row(r.Forced, i, e.index) {
			chosen[i*r.k+j] = int32(v)
		}
	}
	if r.Differ != nil {
		r.compare(e.index, chosen, g.Choose(z, e.bias, &e.router))
	}
	return chosen
}

// took notes what a layer used.
func (r *Routing) took(e *experts, chosen []int32) {
	if r.used[e.index] != nil {
		return
	}
	r.used[e.index] = chosen
	if r.Chosen == nil {
		return
	}
	for i := range len(chosen) / r.k {
		for j, row := 0, r.row(r.Chosen, i, e.index); j < r.k; j++ {
			row[j] = int16(chosen[i*r.k+j])
		}
	}
}

func (r *Routing) row(t []int16, i, layer int) []int16 {
	return t[(i*r.layers+layer)*r.k:][:r.k]
}

// compare counts the rows whose sets differ.
func (r *Routing) compare(layer int, forced, own []int32) {
	for i := 0; i < len(forced); i += r.k {
		if forced[i] < 0 {
			continue
		}
		r.Counted[layer]++
		for _, e := range own[i : i+r.k] {
			if !slices.Contains(forced[i:i+r.k], e) {
				r.Differ[layer]++
				break
			}
		}
	}
}

// MoELayers returns the number of layers with experts.
func (m *Model) MoELayers() int { return len(m.sparse) }

// SparseLayers returns the layers with experts, ascending.
func (m *Model) SparseLayers() []int { return m.sparse }

// ExpertsPerToken returns how many experts a token takes in each of the
// MoELayers, 0 for a dense model.
func (m *Model) ExpertsPerToken() int {
	if len(m.sparse) == 0 {
		return 0
	}
	return m.Config.ExpertsPerToken
}

// RoutingShape is the shape of kept routing, zero for a dense model.
func (m *Model) RoutingShape() grouse.RoutingShape {
	if len(m.sparse) == 0 {
		return grouse.RoutingShape{}
	}
	return grouse.RoutingShape{Experts: m.Config.Experts, Layers: m.MoELayers(), K: m.ExpertsPerToken()}
}
