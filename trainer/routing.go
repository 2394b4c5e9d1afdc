package trainer

import (
	"fmt"

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

// route appends the experts of n rows; -1, which routes freely, where there is no
// record.
func (l *layout) route(experts []int16, n int) {
	l.routed = append(l.routed, experts...)
	for range n*l.width - len(experts) {
		l.routed = append(l.routed, -1)
	}
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
