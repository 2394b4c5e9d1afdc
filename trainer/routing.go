package trainer

import (
	"fmt"
	"slices"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
)

// Kept routing (spec section 4; DeepSeek-V3.2, arXiv:2512.02556, section 3.1): the
// policy's passes take the experts that sampling chose, prompt tokens included.
// Gates are the trainer's own. The reference routes by itself unless
// reference_routing is set.

// width is how many experts a row has in all layers, 0 if routing is not kept.
func (t *Trainer) width() int {
	if !t.stage.Algorithm.KeepRouting {
		return 0
	}
	return t.model.MoELayers() * t.model.ExpertsPerToken()
}

// route appends the experts of n rows from p on; -1, which routes freely, where
// there is no record.
func (l *layout) route(experts []int16, p, n int) {
	have := experts[min(p*l.width, len(experts)):min((p+n)*l.width, len(experts))]
	l.routed = append(l.routed, have...)
	for range n*l.width - len(have) {
		l.routed = append(l.routed, -1)
	}
}

// samePrompt reports whether a group's rollouts have the same experts for their
// prompt: then it is computed once. Our engine's have; another engine may have
// computed it several times and not always alike.
func samePrompt(g *grouse.Group, width int) bool {
	n := len(g.Prompt.TokenIDs) * width
	for i := 1; i < len(g.Rollouts); i++ {
		a, b := g.Rollouts[0].Routing.Experts, g.Rollouts[i].Routing.Experts
		if !slices.Equal(a[:min(n, len(a))], b[:min(n, len(b))]) {
			return false
		}
	}
	return true
}

// countRouting returns where a pass counts choices that differ, nil if routing is
// not kept.
func (t *Trainer) countRouting() *model.Routing {
	if t.width() == 0 {
		return nil
	}
	return &model.Routing{Differ: t.differ, Counted: t.counted}
}

// resetRouting begins to count for a step.
func (t *Trainer) resetRouting() {
	t.differ, t.counted = make([]int, t.model.MoELayers()), make([]int, t.model.MoELayers())
}

// routingMetrics adds the shares of choices that the policy would have made
// differently, in all updates of a step, of all ranks.
func (t *Trainer) routingMetrics(out grouse.Metrics, all []found) {
	differ, counted := 0, 0
	for i, l := range t.model.SparseLayers() {
		d, n := 0, 0
		for r := range all {
			d += all[r].Differ[i]
			n += all[r].Counted[i]
		}
		if n == 0 {
			continue
		}
		out[fmt.Sprintf("routing/differ_frac/layer_%02d", l)] = float64(d) / float64(n)
		differ += d
		counted += n
	}
	if counted > 0 {
		out["routing/differ_frac"] = float64(differ) / float64(counted)
	}
}
