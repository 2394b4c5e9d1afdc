package grouse

import "sort"

// Names of Algorithm.Curriculum.
const (
	CurriculumUniform     = "uniform"
	CurriculumPrioritized = "prioritized"
	CurriculumEasyToHard  = "easy_to_hard"
)

// Numbers of the prioritized curriculum (spec 8).
const (
	SolveRateStart  = 0.5  // a prompt's mean before it was ever drawn
	SolveRateFactor = 0.5  // share of the old mean that stays
	WeightFloor     = 0.05 // so that a prompt that is always solved still comes back
)

// SolveRecord is what a run knows of how well one prompt is solved. The zero
// value is a prompt that was never drawn.
type SolveRecord struct {
	RowID   string   `json:"row_id"`
	Groups  int      `json:"groups"`            // times it was drawn and judged
	Mean    float64  `json:"mean"`              // exponential mean of its solve rates; meaningless while Groups is 0
	Last    float64  `json:"last"`              // solve rate of its last group
	Offline *float64 `json:"offline,omitempty"` // pass rate measured before the run, if the data has one
}

// Solved returns the record after one more group with this solve rate.
func (r SolveRecord) Solved(rate float64) SolveRecord {
	old := r.Expected()
	r.Mean = float64(SolveRateFactor*old) + float64((1-SolveRateFactor)*rate)
	r.Last = rate
	r.Groups++
	return r
}

// Expected returns the solve rate that is expected of the prompt.
func (r SolveRecord) Expected() float64 {
	if r.Groups == 0 {
		return SolveRateStart
	}
	return r.Mean
}

// Retired reports whether the prompt is not drawn again: its last group was
// solved at the rate or more (retire_pass_rate; 0: nothing retires).
func (r SolveRecord) Retired(rate float64) bool {
	return rate > 0 && r.Groups > 0 && r.Last >= rate
}

// DrawWeights returns the weights that prompts are drawn with, one for each
// record: 1 for uniform and easy_to_hard, (1-s)+0.05 with the expected solve rate
// s for prioritized, 0 for a retired prompt.
func DrawWeights(curriculum string, retirePassRate float64, records []SolveRecord) []float64 {
	w := make([]float64, len(records))
	for i, r := range records {
		switch {
		case r.Retired(retirePassRate):
		case curriculum == CurriculumPrioritized:
			w[i] = (1 - r.Expected()) + WeightFloor
		default:
			w[i] = 1
		}
	}
	return w
}

// EasyToHard returns the indices of records by falling offline pass rate, those
// without one last, ties in the order of the data.
func EasyToHard(records []SolveRecord) []int {
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	key := func(i int) float64 {
		if p := records[i].Offline; p != nil {
			return *p
		}
		return -1
	}
	sort.SliceStable(order, func(a, b int) bool { return key(order[a]) > key(order[b]) })
	return order
}

// DrawWithout draws one index for each uniform number in [0, 1), without
// replacement, each with probability in proportion to its weight among those
// left: the first index whose cumulative weight exceeds u times the total. It
// draws fewer if the positive weights run out. Weights must be finite and not
// negative. Its cost is (len(weights) + len(us)) log len(weights).
func DrawWithout(weights, us []float64) []int {
	size := 1
	for size < len(weights) {
		size *= 2
	}
	tree := make([]float64, 2*size) // tree[i] = tree[2i] + tree[2i+1], the weights from tree[size]
	copy(tree[size:], weights)
	for i := size - 1; i > 0; i-- {
		tree[i] = tree[2*i] + tree[2*i+1]
	}
	var out []int
	for _, u := range us {
		if !(tree[1] > 0) {
			break
		}
		i, left := 1, u*tree[1]
		for i < size {
			if i *= 2; left >= tree[i] && tree[i+1] > 0 {
				left -= tree[i]
				i++
			} else if !(tree[i] > 0) {
				i++
			}
		}
		out = append(out, i-size)
		for tree[i] = 0; i > 1; {
			i /= 2
			tree[i] = tree[2*i] + tree[2*i+1]
		}
	}
	return out
}

// Shares spreads n places over len(weights) domains in proportion: place i goes to
// the domain that holds (i+u)/n of the total weight (systematic sampling). Each
// domain gets its exact share rounded down or up; with u uniform in [0, 1), a
// number of the step, it gets the exact share on average over steps.
func Shares(weights []float64, n int, u float64) []int {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	out := make([]int, n)
	d, upTo := 0, 0.0
	if len(weights) > 0 {
		upTo = weights[0]
	}
	for i := range out {
		at := total * ((float64(i) + u) / float64(n))
		for d+1 < len(weights) && (at >= upTo || weights[d] == 0) {
			d++
			upTo += weights[d]
		}
		out[i] = d
	}
	return out
}
