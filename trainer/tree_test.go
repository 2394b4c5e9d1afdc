package trainer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

// Every rollout finds its tokens at its rows, along a chain of segments; there are as
// many rows as beginnings that differ.
func TestTreeHoldsEveryBeginningOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		width := round % 3
		paths := make([]path, 1+r.IntN(9))
		for i := range paths {
			n := 1 + r.IntN(8)
			for p := range n {
				paths[i].ids = append(paths[i].ids, int32(r.IntN(2)))
				if width > 0 && (p < 2 || r.IntN(20) > 0) && len(paths[i].experts) == p*width {
					for range width {
						paths[i].experts = append(paths[i].experts, int16(r.IntN(6)/5))
					}
				}
			}
		}
		tr := plant(paths, width)
		var ids []int32
		var experts []string
		owner := []int{} // segment of each row
		for s, seg := range tr.segs {
			if seg.prefix >= s || len(seg.ids) == 0 {
				t.Fatalf("round %d: segment %d of %d tokens continues %d", round, s, len(seg.ids), seg.prefix)
			}
			ids = append(ids, seg.ids...)
			for p := range seg.ids {
				x := path{experts: seg.experts}
				experts = append(experts, fmt.Sprint(x.expertsAt(p, p+1, width)))
				owner = append(owner, s)
			}
		}
		begin := map[string]bool{}
		for i := range paths {
			if len(tr.at[i]) != len(paths[i].ids) {
				t.Fatalf("round %d: path %d has %d rows, want %d", round, i, len(tr.at[i]), len(paths[i].ids))
			}
			for p, row := range tr.at[i] {
				want := fmt.Sprint(paths[i].expertsAt(p, p+1, width))
				if ids[row] != paths[i].ids[p] || experts[row] != want {
					t.Fatalf("round %d: path %d position %d: token %d experts %s, want %d %s", round, i, p, ids[row], experts[row], paths[i].ids[p], want)
				}
				begin[fmt.Sprint(paths[i].ids[:p+1], paths[i].expertsAt(0, p+1, width))] = true
				if p == 0 {
					if tr.segs[owner[row]].prefix != -1 {
						t.Fatalf("round %d: path %d does not begin at a root", round, i)
					}
				} else if before := tr.at[i][p-1]; owner[before] != owner[row] && tr.segs[owner[row]].prefix != owner[before] {
					t.Fatalf("round %d: path %d position %d: segment %d does not continue %d", round, i, p, owner[row], owner[before])
				}
			}
		}
		if tr.rows != len(begin) || tr.rows != len(ids) {
			t.Fatalf("round %d: %d rows, %d tokens, %d beginnings", round, tr.rows, len(ids), len(begin))
		}
	}
}

// branching returns completions of one prompt that share beginnings.
func branching() (prompt []int32, completions [][]int32) {
	return []int32{5, 7, 9, 11, 13}, [][]int32{{3, 4, 5, 6, 1}, {3, 4, 5, 8, 1}, {3, 4, 1}, {6, 4, 5, 6, 20, 21, 22, 1}, {3, 4, 5, 6, 1}, {1}}
}

func paths(prompt []int32, completions [][]int32) []path {
	out := make([]path, len(completions))
	for i, c := range completions {
		out[i].ids = slices.Concat(prompt, c[:len(c)-1])
	}
	return out
}

func open(t *testing.T, family string) *model.Model {
	t.Helper()
	m, err := model.Open(cpu.New(2), "../internal/model/testdata/"+family)
	if err != nil {
		t.Fatal(err)
	}
	m.Trainable()
	return m
}

// gradient returns the logprobs of a layout and the gradient of their sum weighted by coef.
func gradient(m *model.Model, l *layout, coef func(i int) float32) ([]float32, [][]float32) {
	m.ZeroGrads()
	g := tensor.NewGraph(m.Device(), tensor.Train)
	lp := l.logprobs(g, m, 1, nil, nil)
	c := make([]float32, len(lp.Values))
	for i := range c {
		c[i] = coef(i)
	}
	lp.Backward(c)
	m.FoldGrads()
	var grads [][]float32
	for _, p := range m.Params() {
		grads = append(grads, p.ReadBuffer(m.Device(), p.Grad))
	}
	return lp.Values, grads
}

// Sharing beginnings changes no bit of a logprob, and of the gradient only its order of
// addition.
func TestSharedBeginningsAreTheSameNumbers(t *testing.T) {
	for _, family := range []string{"llama3", "qwen3", "deepseek"} {
		m := open(t, family)
		prompt, completions := branching()
		together, apart := &layout{}, &layout{}
		together.add(plant(paths(prompt, completions), 0), len(prompt), completions, nil)
		for i := range completions {
			apart.add(plant(paths(prompt, completions[i:i+1]), 0), len(prompt), completions[i:i+1], nil)
		}
		if len(together.ids) >= len(apart.ids)/2 {
			t.Fatalf("%d rows together, %d apart", len(together.ids), len(apart.ids))
		}
		weight := func(i int) float32 { return float32(i%5) - 1.5 }
		lp, grads := gradient(m, together, weight)
		want, wantGrads := gradient(m, apart, weight)
		for i := range want {
			if math.Float32bits(lp[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%s: logprob %d: %v, want %v", family, i, lp[i], want[i])
			}
		}
		for i, p := range m.Params() {
			diff, size := 0.0, 0.0
			for j, v := range wantGrads[i] {
				diff += math.Pow(float64(grads[i][j]-v), 2)
				size += math.Pow(float64(v), 2)
			}
			if math.Sqrt(diff) > 1e-5*math.Sqrt(size)+1e-9 {
				t.Errorf("%s: gradient of %s: off by %.3g of %.3g", family, p.Name, math.Sqrt(diff), math.Sqrt(size))
			}
		}
	}
}

// A group whose coefficients are all zero adds nothing, not a bit: it may be left out
// of the backward pass.
func TestGroupsWithoutCoefficientsAddNothing(t *testing.T) {
	for _, family := range []string{"llama3", "qwen3", "deepseek"} {
		m := open(t, family)
		prompt, completions := branching()
		still := []int32{2, 4, 6}
		one, both := &layout{}, &layout{}
		one.add(plant(paths(prompt, completions), 0), len(prompt), completions, nil)
		both.add(plant(paths(still, completions), 0), len(still), completions, nil)
		n := len(both.rows)
		both.add(plant(paths(prompt, completions), 0), len(prompt), completions, nil)
		_, want := gradient(m, one, func(i int) float32 { return float32(i) - 3 })
		_, got := gradient(m, both, func(i int) float32 {
			if i < n {
				return 0
			}
			return float32(i-n) - 3
		})
		for i, p := range m.Params() {
			for j := range want[i] {
				if got[i][j] != want[i][j] { // 0 and -0 are the same
					t.Fatalf("%s: gradient of %s: %v, want %v", family, p.Name, got[i][j], want[i][j])
				}
			}
		}
	}
}
