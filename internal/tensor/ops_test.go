package tensor_test

import (
	"math"
	"testing"

	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

// operation is one of a Graph's, with its plain twin in float64.
type operation struct {
	name string
	in   [][2]int // shapes of activations
	par  [][2]int // shapes of weights; [n, 0]: a vector
	run  func(g *tensor.Graph, x []*tensor.Tensor, p []*tensor.Param) *tensor.Tensor
	twin func(x, p [][]float64) []float64
}

var (
	ropeInv = []float64{1, 0.3, 0.05}
	tree    = func() *tensor.Seqs { // a prompt of 5 with two continuations, and a sequence of 4
		s := &tensor.Seqs{}
		s.Add(5, -1)
		s.Add(3, 0)
		s.Add(2, 0)
		s.Add(4, -1)
		return s
	}()
	shape = tensor.AttentionShape{Heads: 4, KVHeads: 2, KeyDim: 8, ValueDim: 6, Scale: 0.4}
	picks = []int32{2, 0, 2, 4}
)

var operations = []operation{
	{"linear", [][2]int{{5, 20}}, [][2]int{{18, 20}, {18, 0}}, func(g *tensor.Graph, x []*tensor.Tensor, p []*tensor.Param) *tensor.Tensor {
		return g.Linear(x[0], p[0], p[1])
	},
		func(x, p [][]float64) []float64 {
			y := make([]float64, 5*18)
			for i := range y {
				y[i] = p[1][i%18]
				for k := range 20 {
					y[i] += x[0][i/18*20+k] * p[0][i%18*20+k]
				}
			}
			return y
		}},
	{"embed", nil, [][2]int{{7, 9}}, func(g *tensor.Graph, _ []*tensor.Tensor, p []*tensor.Param) *tensor.Tensor {
		return g.Embed(picks, p[0])
	},
		func(_, p [][]float64) []float64 { return rows(p[0], 9) }},
	{"gather", [][2]int{{5, 9}}, nil, func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor {
		return g.Gather(x[0], picks)
	},
		func(x, _ [][]float64) []float64 { return rows(x[0], 9) }},
	{"RMS norm of rows", [][2]int{{5, 19}}, [][2]int{{19, 0}}, func(g *tensor.Graph, x []*tensor.Tensor, p []*tensor.Param) *tensor.Tensor {
		return g.RMSNorm(x[0], p[0], 1e-3)
	}, rmsNorm(19)},
	{"RMS norm of heads", [][2]int{{5, 24}}, [][2]int{{8, 0}}, func(g *tensor.Graph, x []*tensor.Tensor, p []*tensor.Param) *tensor.Tensor {
		return g.RMSNorm(x[0], p[0], 1e-3)
	}, rmsNorm(8)},
	{"layer norm", [][2]int{{5, 19}}, [][2]int{{19, 0}, {19, 0}}, func(g *tensor.Graph, x []*tensor.Tensor, p []*tensor.Param) *tensor.Tensor {
		return g.LayerNorm(x[0], p[0], p[1], 1e-3)
	}, layerNorm(19)},
	{"rotary embedding, halves", [][2]int{{14, 20}}, nil, rope(false, 2), ropeTwin(false, 2)},
	{"rotary embedding, interleaved", [][2]int{{14, 20}}, nil, rope(true, 0), ropeTwin(true, 0)},
	{"add", [][2]int{{5, 9}, {5, 9}}, nil, func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor { return g.Add(x[0], x[1]) },
		func(x, _ [][]float64) []float64 { return each(x, func(a, b float64) float64 { return a + b }) }},
	{"SwiGLU", [][2]int{{5, 19}, {5, 19}}, nil, func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor {
		return g.SwiGLU(x[0], x[1])
	},
		func(x, _ [][]float64) []float64 {
			return each(x, func(a, b float64) float64 { return a / (1 + math.Exp(-a)) * b })
		}},
	{"columns of heads", [][2]int{{5, 21}}, nil, func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor {
		return g.Columns(x[0], 3, 2, 4)
	},
		func(x, _ [][]float64) (y []float64) {
			for at := 0; at < len(x[0]); at += 7 {
				y = append(y, x[0][at+2:at+6]...)
			}
			return y
		}},
	{"heads side by side", [][2]int{{5, 12}, {5, 6}}, nil, func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor {
		return g.Join(x[0], x[1], 3)
	}, join(3, 2, 3)},
	{"heads beside a shared one", [][2]int{{5, 12}, {5, 2}}, nil, func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor {
		return g.JoinShared(x[0], x[1], 3)
	}, join(3, 2, 1)},
	{"attention", [][2]int{{14, 32}, {14, 16}, {14, 12}}, nil, func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor {
		return g.Attention(x[0], x[1], x[2], shape, tree)
	}, attention},
}

func rows(x []float64, dim int) (y []float64) {
	for _, i := range picks {
		y = append(y, x[int(i)*dim:int(i+1)*dim]...)
	}
	return y
}

func each(x [][]float64, f func(a, b float64) float64) []float64 {
	y := make([]float64, len(x[0]))
	for i := range y {
		y[i] = f(x[0][i], x[1][i])
	}
	return y
}

func rmsNorm(n int) func(x, p [][]float64) []float64 {
	return func(x, p [][]float64) []float64 {
		y := make([]float64, len(x[0]))
		for at := 0; at < len(y); at += n {
			sum := 0.0
			for _, v := range x[0][at : at+n] {
				sum += v * v
			}
			for i := range n {
				y[at+i] = x[0][at+i] / math.Sqrt(sum/float64(n)+1e-3) * p[0][i]
			}
		}
		return y
	}
}

func layerNorm(n int) func(x, p [][]float64) []float64 {
	return func(x, p [][]float64) []float64 {
		y := make([]float64, len(x[0]))
		for at := 0; at < len(y); at += n {
			mean, variance := 0.0, 0.0
			for _, v := range x[0][at : at+n] {
				mean += v / float64(n)
			}
			for _, v := range x[0][at : at+n] {
				variance += (v - mean) * (v - mean) / float64(n)
			}
			for i := range n {
				y[at+i] = (x[0][at+i]-mean)/math.Sqrt(variance+1e-3)*p[0][i] + p[1][i]
			}
		}
		return y
	}
}

// rope rotates two heads of 10 numbers, 6 of them from offset on.
func rope(interleaved bool, offset int) func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor {
	return func(g *tensor.Graph, x []*tensor.Tensor, _ []*tensor.Param) *tensor.Tensor {
		t := tensor.NewRopeTable(ropeInv, 1.5)
		t.Interleaved, t.Offset = interleaved, offset
		t.Extend(20)
		return g.Rope(x[0], t, tree.Positions(), 2)
	}
}

func ropeTwin(interleaved bool, offset int) func(x, _ [][]float64) []float64 {
	return func(x, _ [][]float64) []float64 {
		y := append([]float64(nil), x[0]...)
		for r, pos := range tree.Positions() {
			for h := range 2 {
				for i, f := range ropeInv {
					at := r*20 + h*10 + offset
					a, b := at+i, at+i+3
					if interleaved {
						a, b = at+2*i, at+2*i+1
					}
					s, c := math.Sincos(float64(float32(pos) * float32(f)))
					y[a], y[b] = 1.5*(x[0][a]*c-x[0][b]*s), 1.5*(x[0][b]*c+x[0][a]*s)
				}
			}
		}
		return y
	}
}

// join puts na = 4 columns of each head beside nb of bHeads heads.
func join(heads, nb, bHeads int) func(x, _ [][]float64) []float64 {
	return func(x, _ [][]float64) (y []float64) {
		for r := range 5 {
			for h := range heads {
				b := r*nb*bHeads + h%bHeads*nb
				y = append(append(y, x[0][(r*heads+h)*4:][:4]...), x[1][b:b+nb]...)
			}
		}
		return y
	}
}

// attention of every row over its own position and those before, prefixes included.
func attention(x, _ [][]float64) []float64 {
	y := make([]float64, 14*24)
	for i := range tree.Start {
		var seen []int // rows at positions before
		for _, s := range tree.Chain(nil, i) {
			for r := range tree.Len[s] {
				if seen = append(seen, tree.Start[s]+r); s != i {
					continue
				}
				row := tree.Start[i] + r
				for h := range 4 {
					weights, sum := make([]float64, len(seen)), 0.0
					for n, k := range seen {
						dot := 0.0
						for d := range 8 {
							dot += x[0][row*32+h*8+d] * x[1][k*16+h/2*8+d]
						}
						weights[n] = math.Exp(dot * float64(shape.Scale))
						sum += weights[n]
					}
					for n, k := range seen {
						for d := range 6 {
							y[row*24+h*6+d] += weights[n] / sum * x[2][k*12+h/2*6+d]
						}
					}
				}
			}
		}
	}
	return y
}

// numbers draws n in about -1 to 1, the same each time.
func numbers(seed uint32, n int) []float32 {
	out := make([]float32, n)
	key := rng.NewKey(rng.Data, "ops", 1)
	for i := range out {
		out[i] = float32(2*key.Uniform(seed, uint32(i), 0, 0) - 1)
	}
	return out
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// closeTo compares with a tolerance relative to the largest number: float32 sums of at
// most some dozen terms.
func closeTo(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	top := 1e-3
	for _, w := range want {
		top = max(top, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= 3e-6*top) {
			t.Fatalf("%s: element %d: got %v, want %v", what, i, got[i], w)
		}
	}
}

// derivative is the central finite difference of sum(coef*twin) by each number of v.
func derivative(v, coef []float64, twin func() []float64) []float64 {
	const h = 1e-5
	at := func() (sum float64) {
		for i, y := range twin() {
			sum += coef[i] * y
		}
		return sum
	}
	out := make([]float64, len(v))
	for i, x := range v {
		v[i] = x + h
		up := at()
		v[i] = x - h
		out[i] = (up - at()) / (2 * h)
		v[i] = x
	}
	return out
}

// Every operation gives what its plain twin gives, and its gradients are the twin's
// finite differences, for activations and weights.
func TestOperationsAndTheirDerivatives(t *testing.T) {
	for n, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			dev := cpu.New(2)
			g := tensor.NewGraph(dev, tensor.Train)
			var x []*tensor.Tensor
			var p []*tensor.Param
			var xs, ps [][]float64
			for i, s := range op.in {
				v := numbers(uint32(100*n+i), s[0]*s[1])
				in := g.New(s[0], s[1])
				dev.Write(in.Data, v)
				x, xs = append(x, in), append(xs, wide(v))
			}
			for i, s := range op.par {
				v := numbers(uint32(100*n+50+i), s[0]*max(s[1], 1))
				w := tensor.NewParam(dev, "w", s[0], s[1])
				w.Write(dev, v)
				w.Grad = w.Like(dev)
				p, ps = append(p, w), append(ps, wide(v))
			}
			want := op.twin(xs, ps)
			y := op.run(g, x, p)
			got := make([]float32, y.Rows*y.Cols)
			dev.Read(got, y.Data)
			if len(got) != len(want) {
				t.Fatalf("%d numbers, want %d", len(got), len(want))
			}
			closeTo(t, "forward", got, want)

			coef := numbers(uint32(100*n+99), len(got))
			dev.Write(g.Grad(y), coef)
			g.Backward()
			for i := range x {
				grad := make([]float32, len(xs[i]))
				dev.Read(grad, g.Grad(x[i]))
				closeTo(t, "gradient of an activation", grad, derivative(xs[i], wide(coef), func() []float64 { return op.twin(xs, ps) }))
			}
			for i := range p {
				closeTo(t, "gradient of a weight", p[i].ReadBuffer(dev, p[i].Grad), derivative(ps[i], wide(coef), func() []float64 { return op.twin(xs, ps) }))
			}
		})
	}
}

// The log-probability of the targets, over everything and over kept sets, at a
// temperature; and its gradients.
func TestLogprobAndItsDerivative(t *testing.T) {
	const n, dim, vocab = 6, 11, 37
	kept := [][]int32{nil, {1, 5, 9, 30}, nil, {36}, {0, 2, 4}, nil}
	targets := &tensor.Targets{IDs: []int32{3, 9, 36, 36, 0, 17}, Kept: kept, Temperature: 0.7}
	dev := cpu.New(2)
	g := tensor.NewGraph(dev, tensor.Train)
	hv, wv, coef := numbers(1, n*dim), numbers(2, vocab*dim), numbers(3, n)
	h := g.New(n, dim)
	dev.Write(h.Data, hv)
	w := tensor.NewParam(dev, "w", vocab, dim)
	w.Write(dev, wv)
	w.Grad = w.Like(dev)
	hs, ws := wide(hv), wide(wv)
	twin := func() []float64 {
		out := make([]float64, n)
		for i := range n {
			z := func(v int32) (sum float64) {
				for k := range dim {
					sum += hs[i*dim+k] * ws[int(v)*dim+k]
				}
				return sum / float64(targets.Temperature)
			}
			set := kept[i]
			if set == nil {
				for v := range int32(vocab) {
					set = append(set, v)
				}
			}
			sum := 0.0
			for _, v := range set {
				sum += math.Exp(z(v))
			}
			out[i] = z(targets.IDs[i]) - math.Log(sum)
		}
		return out
	}
	l := g.Logprob(h, w, targets)
	closeTo(t, "forward", l.Values, twin())
	l.Backward(coef)
	grad := make([]float32, n*dim)
	dev.Read(grad, g.Grad(h))
	closeTo(t, "gradient of the hidden states", grad, derivative(hs, wide(coef), twin))
	closeTo(t, "gradient of the head", w.ReadBuffer(dev, w.Grad), derivative(ws, wide(coef), twin))
}

// With Reserve passes of all sizes use the same memory.
func TestReserve(t *testing.T) {
	g := tensor.NewGraph(cpu.New(1), tensor.Infer)
	g.Reserve(50)
	seen := map[*float32]bool{}
	for _, rows := range []int{50, 7, 33, 50} {
		x := g.New(rows, 24)
		if x.Data.Len() != rows*24 {
			t.Fatalf("%d rows have %d numbers", rows, x.Data.Len())
		}
		seen[&x.Data.(cpu.Vec)[0]] = true
		g.Reset()
	}
	if len(seen) != 1 || g.Peak != 4*50*24 {
		t.Errorf("%d buffers, peak %d bytes", len(seen), g.Peak)
	}
	g.New(51, 24) // more than reserved
	g.Reset()
}
