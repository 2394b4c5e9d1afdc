package cpu

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse/internal/model/moe"
	"github.com/grouse-rl/grouse/internal/tensor"
)

var routers = []struct {
	E int
	tensor.Router
	biased bool
}{
	{E: 8, Router: tensor.Router{TopK: 3, Scale: 1, Normalize: true}},
	{E: 5, Router: tensor.Router{TopK: 2, Scale: 1}},
	{E: 20, Router: tensor.Router{Sigmoid: true, TopK: 4, Groups: 5, TopGroups: 2, Scale: 2.5, Normalize: true}, biased: true},
	{E: 16, Router: tensor.Router{Sigmoid: true, TopK: 1, Groups: 4, TopGroups: 1, Scale: 1.5}},
	{E: 33, Router: tensor.Router{Sigmoid: true, TopK: 6, Scale: 2, Normalize: true}, biased: true},
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	top := 1e-3
	for _, w := range want {
		top = max(top, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= 2e-6*top) {
			t.Fatalf("%s: element %d: got %v want %v", what, i, got[i], w)
		}
	}
}

// The choice, the gates and their gradient are internal/model/moe's, free and
// forced, whatever the threads and the other rows.
func TestRouteAgreesWithThePlainRouter(t *testing.T) {
	for n, c := range routers {
		const rows = 37
		z, bias, dg := ramp(rows*c.E, uint32(n)), ramp(c.E, 9), ramp(rows*c.TopK, 8)
		plain := moe.Router{ScoreFunc: moe.Softmax, TopK: c.TopK, NumGroups: c.Groups, TopGroups: c.TopGroups, Scale: float64(c.Scale), Normalize: c.Normalize}
		var biasBuf tensor.Buffer
		if c.Sigmoid {
			plain.ScoreFunc = moe.Sigmoid
		}
		if c.biased {
			plain.Bias, biasBuf = widen(bias), Vec(bias)
		}
		run := func(threads int, experts []int32) (gates, dz []float32) {
			d := New(threads)
			gates, dz = make([]float32, rows*c.TopK), ramp(rows*c.E, 5)
			d.Route(Vec(gates), experts, Vec(z), biasBuf, &c.Router, rows, c.E)
			d.RouteGrad(Vec(dz), Vec(dg), Vec(z), experts, &c.Router, rows, c.E)
			return gates, dz
		}
		for _, forced := range []bool{false, true} {
			name := fmt.Sprintf("router %d, forced %v", n, forced)
			first := make([]int32, rows*c.TopK)
			for i := range first {
				first[i] = -1
				if forced && i/c.TopK%3 != 0 {
					first[i] = int32((i/c.TopK*7 + 2*(i%c.TopK)) % c.E) // E is odd or K small: no duplicates
					for slices.Contains(first[i/c.TopK*c.TopK:i], first[i]) {
						first[i] = (first[i] + 1) % int32(c.E)
					}
				}
			}
			experts := slices.Clone(first)
			gates, dz := run(1, experts)
			for i := range rows {
				row := experts[i*c.TopK : (i+1)*c.TopK]
				logits := widen(z[i*c.E : (i+1)*c.E])
				var ints []int
				for _, e := range row {
					ints = append(ints, int(e))
				}
				if want := plain.Choose(logits); first[i*c.TopK] < 0 && !reflect.DeepEqual(ints, want) {
					t.Fatalf("%s: row %d chose %v, want %v", name, i, ints, want)
				}
				if first[i*c.TopK] >= 0 && !slices.Equal(row, first[i*c.TopK:(i+1)*c.TopK]) {
					t.Fatalf("%s: row %d was forced to %v and took %v", name, i, first[i*c.TopK:(i+1)*c.TopK], row)
				}
				near(t, name+" gates", gates[i*c.TopK:(i+1)*c.TopK], plain.Weights(logits, ints))
				want, before := plain.WeightsGrad(logits, ints, widen(dg[i*c.TopK:(i+1)*c.TopK])), ramp(rows*c.E, 5)
				for e := range want {
					want[e] += float64(before[i*c.E+e])
				}
				near(t, name+" gradient", dz[i*c.E:(i+1)*c.E], want)
			}
			again, dz2 := run(3, slices.Clone(experts)) // forced to the free choice
			sameBits(t, name+" gates", again, gates)
			sameBits(t, name+" gradient", dz2, dz)
		}
	}
}

func TestRouteTiesGoToTheLowerIndex(t *testing.T) {
	d, r := New(1), tensor.Router{Sigmoid: true, TopK: 3, Groups: 2, TopGroups: 1, Scale: 1}
	experts := []int32{-1, -1, -1}
	d.Route(nil, experts, Vec(make([]float32, 8)), Vec(make([]float32, 8)), &r, 1, 8)
	if want := []int32{0, 1, 2}; !slices.Equal(experts, want) {
		t.Errorf("chose %v, want %v", experts, want)
	}
}

// Grouped products, dispatch and combination against a plain loop over rows and
// their choices, with their gradients; same bits for every number of threads and
// without assembly.
func TestExpertsAgreeWithPlainLoops(t *testing.T) {
	for _, c := range []struct{ rows, E, k, in, out int }{{1, 4, 2, 16, 16}, {23, 5, 2, 24, 20}, {70, 8, 3, 48, 33}, {3, 9, 4, 7, 5}} {
		name := fmt.Sprint(c)
		experts := make([]int32, c.rows*c.k)
		for i := range c.rows {
			for j := range c.k {
				experts[i*c.k+j] = int32((i*i + 3*j*(1+i%2)) % c.E)
			}
		}
		a := tensor.Assign(experts, c.k, c.E)
		for i, e := range experts {
			s := int(a.Slots[i])
			if a.Tokens[s] != int32(i/c.k) || s < a.Offsets[e] || s >= a.Offsets[e+1] {
				t.Fatalf("%s: choice %d is in slot %d of %v", name, i, s, a)
			}
		}
		x, gates, dy := ramp(c.rows*c.in, 1), ramp(c.rows*c.k, 2), ramp(c.rows*c.out, 3)
		w := make([][]float32, c.E)
		for e := range w {
			w[e] = ramp(c.out*c.in, uint32(10+e))
		}
		run := func(threads int) []float32 {
			d := New(threads)
			data, grads := make([]tensor.Buffer, c.E), make([]tensor.Buffer, c.E)
			for e := range w {
				data[e], grads[e] = d.NewMatrix(c.out, c.in), d.NewMatrix(c.out, c.in)
				d.WriteMatrix(data[e], w[e], c.out, c.in)
			}
			n := c.rows * c.k
			xs, ys, y := make(Vec, n*c.in), make(Vec, n*c.out), make(Vec, c.rows*c.out)
			d.Gather(xs, Vec(x), a.Tokens, c.in)
			d.GroupedLinear(ys, xs, data, a.Offsets, c.out, c.in)
			d.Combine(y, ys, Vec(gates), a.Slots, c.rows, c.k, c.out)
			dys, dg, dxs, dx := make(Vec, n*c.out), make(Vec, n), make(Vec, n*c.in), make(Vec, c.rows*c.in)
			d.CombineGrad(dys, dg, Vec(dy), ys, Vec(gates), a.Slots, c.rows, c.k, c.out)
			d.GroupedLinearGradInput(dxs, dys, data, a.Offsets, c.out, c.in)
			d.GroupedLinearGradWeight(grads, dys, xs, a.Offsets, c.out, c.in)
			d.DispatchGrad(dx, dxs, a.Slots, c.rows, c.k, c.in)
			all := slices.Concat(y, dg, dx)
			for e := range grads {
				g := make([]float32, c.out*c.in)
				d.ReadMatrix(g, grads[e], c.out, c.in)
				all = append(all, g...)
			}
			return all
		}
		var y, dg, dx []float64
		y, dg, dx = make([]float64, len(dy)), make([]float64, len(gates)), make([]float64, len(x))
		dw := make([]float64, c.E*c.out*c.in)
		for i, e := range experts {
			row := i / c.k
			for o := range c.out {
				s, g := 0.0, float64(dy[row*c.out+o])
				for k := range c.in {
					wv, xv := float64(w[e][o*c.in+k]), float64(x[row*c.in+k])
					s += wv * xv
					dx[row*c.in+k] += float64(gates[i]) * g * wv
					dw[(int(e)*c.out+o)*c.in+k] += float64(gates[i]) * g * xv
				}
				y[row*c.out+o] += float64(gates[i]) * s
				dg[i] += g * s
			}
		}
		got := run(1)
		near(t, name, got, slices.Concat(y, dg, dx, dw))
		sameBits(t, name+" on 3 threads", run(3), got)
		both(t, name, func() []float32 { return run(2) })
	}
}

func TestCopyHeadsAndBack(t *testing.T) {
	d := New(2)
	x, one := Vec{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, Vec{20, 30} // [2 rows, 2 heads of 3]; [2 rows, 1]
	y := make(Vec, 12)
	d.CopyHeads(y, x, tensor.HeadBlock{Heads: 2, Width: 3}, tensor.HeadBlock{Heads: 2, Width: 3, Offset: 1}, 2, 2)
	d.CopyHeads(y, one, tensor.HeadBlock{Heads: 2, Width: 3, Offset: 2}, tensor.HeadBlock{Heads: 1, Width: 1}, 1, 2)
	if want := (Vec{2, 3, 20, 5, 6, 20, 8, 9, 30, 11, 12, 30}); !slices.Equal(y, want) {
		t.Errorf("copied %v, want %v", y, want)
	}
	dx, dOne := make(Vec, 12), Vec{1, 1}
	d.CopyHeadsGrad(dx, y, tensor.HeadBlock{Heads: 2, Width: 3}, tensor.HeadBlock{Heads: 2, Width: 3, Offset: 1}, 2, 2)
	d.CopyHeadsGrad(dOne, y, tensor.HeadBlock{Heads: 2, Width: 3, Offset: 2}, tensor.HeadBlock{Heads: 1, Width: 1}, 1, 2)
	if want := (Vec{0, 2, 3, 0, 5, 6, 0, 8, 9, 0, 11, 12}); !slices.Equal(dx, want) {
		t.Errorf("added back %v, want %v", dx, want)
	}
	if want := (Vec{41, 61}); !slices.Equal(dOne, want) {
		t.Errorf("the shared head got %v, want %v", dOne, want)
	}
}
