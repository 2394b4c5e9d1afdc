package tensortest

import (
	"fmt"
	"math"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// Buffers by short names.
type (
	device = tensor.Device
	buf    = tensor.Buffer
)

func cases() []*operation {
	var all []*operation
	add := func(name string, o operation) {
		o.name = name
		all = append(all, &o)
	}
	for _, c := range [][2]int{{1, 1}, {7, 33}, {3, 256}, {130, 24}} {
		n, dim := c[0], c[1]
		size := fmt.Sprintf("%dx%d", n, dim)
		add("RMSNorm/"+size, operation{in: []input{vector(n*dim, 1), vector(dim, 2)}, out: n * dim, step: 1. / 512,
			forward: func(d device, y buf, in []buf) { d.RMSNorm(y, in[0], in[1], 1e-2, n, dim) },
			backward: func(d device, g []buf, dy, _ buf, in []buf) {
				d.RMSNormGrad(g[0], g[1], dy, in[0], in[1], 1e-2, n, dim)
			}})
		add("LayerNorm/"+size, operation{in: []input{vector(n*dim, 1), vector(dim, 2), vector(dim, 3)}, out: n * dim, step: 1. / 512,
			forward: func(d device, y buf, in []buf) { d.LayerNorm(y, in[0], in[1], in[2], 1e-2, n, dim) },
			backward: func(d device, g []buf, dy, _ buf, in []buf) {
				d.LayerNormGrad(g[0], g[1], g[2], dy, in[0], in[1], 1e-2, n, dim)
			}})
		add("SwiGLU/"+size, operation{in: []input{vector(n*dim, 1).scaled(4), vector(n*dim, 2)}, out: n * dim, step: 1. / 128,
			forward:  func(d device, y buf, in []buf) { d.SwiGLU(y, in[0], in[1]) },
			backward: func(d device, g []buf, dy, _ buf, in []buf) { d.SwiGLUGrad(g[0], g[1], dy, in[0], in[1], true) }})
		add("Add/"+size, operation{in: []input{vector(n*dim, 1), vector(n*dim, 2)}, out: n * dim,
			forward: func(d device, y buf, in []buf) { d.Add(y, in[0], in[1]) }})
		var rows []int32
		for i := range 2*n + 3 {
			rows = append(rows, int32((i*i+i/3)%n))
		}
		m := len(rows)
		add("Gather/"+size, operation{in: []input{vector(n*dim, 1)}, out: m * dim, step: 1. / 128,
			forward:  func(d device, y buf, in []buf) { d.Gather(y, in[0], rows, dim) },
			backward: func(d device, g []buf, dy, _ buf, _ []buf) { d.GatherGrad(g[0], dy, rows, dim) }})
		add("Embed/"+size, operation{in: []input{matrix(n, dim, 1)}, out: m * dim, step: 1. / 128,
			forward:  func(d device, y buf, in []buf) { d.Embed(y, in[0], rows, dim) },
			backward: func(d device, g []buf, dy, _ buf, _ []buf) { d.EmbedGrad(g[0], dy, rows, dim) }})
	}
	for _, c := range [][3]int{{1, 1, 1}, {5, 17, 9}, {33, 20, 64}, {130, 48, 31}} {
		rows, outs, ins := c[0], c[1], c[2]
		for _, biased := range []bool{false, true} {
			bias := func(x []buf) buf {
				if biased {
					return x[2]
				}
				return nil
			}
			add(fmt.Sprintf("Linear/%dx%dx%d,bias=%v", rows, outs, ins, biased), operation{in: []input{vector(rows*ins, 1), matrix(outs, ins, 2), vector(outs, 3)}, out: rows * outs, step: 1. / 64, constant: []bool{false, false, !biased},
				forward: func(d device, y buf, in []buf) { d.Linear(y, in[0], in[1], bias(in), rows, outs, ins) },
				backward: func(d device, g []buf, dy, _ buf, in []buf) {
					d.LinearsGrad(g[0], g[1:2], []buf{bias(g)}, []buf{dy}, in[0], in[1:2], rows, []int{outs}, ins, true)
				}})
		}
	}
	for _, c := range []struct {
		heads, width int
		t            *tensor.RopeTable
	}{{1, 2, ropeTable(1, 0, false)}, {3, 16, ropeTable(8, 0, false)}, {2, 20, ropeTable(4, 12, false)}, {5, 12, ropeTable(3, 4, true)}} {
		const rows = 11
		var pos []int32
		for i := range rows {
			pos = append(pos, int32(i*i))
		}
		rotate := func(d device, x buf, inverse bool) { d.Rope(x, c.t, pos, rows, c.heads, c.width, inverse) }
		n := rows * c.heads * c.width
		add(fmt.Sprintf("Rope/%dx%d,of=%d", c.heads, c.width, c.t.Dim), operation{in: []input{vector(n, 1)}, out: n, step: 1. / 128,
			forward: func(d device, y buf, in []buf) { d.Copy(y, in[0]); rotate(d, y, false) },
			backward: func(d device, g []buf, dy, _ buf, _ []buf) {
				x := d.New(n)
				d.Copy(x, dy)
				rotate(d, x, true)
				d.Add(g[0], g[0], x)
				d.Free(x)
			}})
	}
	for _, c := range []struct{ to, from tensor.HeadBlock }{
		{tensor.HeadBlock{Heads: 2, Width: 5, Offset: 1}, tensor.HeadBlock{Heads: 2, Width: 7, Offset: 3}},
		{tensor.HeadBlock{Heads: 6, Width: 4}, tensor.HeadBlock{Heads: 1, Width: 3}},
	} {
		const rows, n = 9, 3
		out, from := rows*c.to.Heads*c.to.Width, rows*c.from.Heads*c.from.Width
		add(fmt.Sprintf("CopyHeads/%d of %d", c.to.Heads, c.from.Heads), operation{in: []input{vector(from, 1)}, out: out, step: 1. / 128,
			forward:  func(d device, y buf, in []buf) { d.CopyHeads(y, in[0], c.to, c.from, n, rows) },
			backward: func(d device, g []buf, dy, _ buf, _ []buf) { d.CopyHeadsGrad(g[0], dy, c.to, c.from, n, rows) }})
	}
	all = append(all, experts()...)
	all = append(all, attention()...)
	return append(all, logprobs()...)
}

func ropeTable(half, offset int, interleaved bool) *tensor.RopeTable {
	var inv []float64
	for i := range half {
		inv = append(inv, math.Pow(10000, -float64(i)/float64(half)))
	}
	t := tensor.NewRopeTable(inv, 1.1)
	t.Offset, t.Interleaved = offset, interleaved
	return t
}

// experts are the operations of a mixture of experts.
func experts() []*operation {
	var all []*operation
	for n, r := range routers {
		const rows = 19
		choice := make([]int32, rows*r.TopK) // forced: a changed input must not change it
		for i := range choice {
			choice[i] = int32((i/r.TopK*5 + i%r.TopK*(1+i/r.TopK%2)) % r.E)
		}
		all = append(all, &operation{name: fmt.Sprintf("Route/%d", n), in: []input{vector(rows*r.E, 1).scaled(2)}, out: rows * r.TopK, step: 1. / 128,
			forward: func(d device, y buf, in []buf) { d.Route(y, choice, in[0], nil, &r.Router, rows, r.E) },
			backward: func(d device, g []buf, dy, _ buf, in []buf) {
				d.RouteGrad(g[0], dy, in[0], choice, &r.Router, rows, r.E)
			}})
	}
	for _, c := range []struct{ rows, E, k, in, out int }{{1, 4, 2, 16, 16}, {23, 5, 2, 24, 20}, {40, 8, 3, 48, 33}, {3, 9, 4, 7, 5}} {
		choice := make([]int32, c.rows*c.k)
		for i := range choice {
			choice[i] = int32((i/c.k*i/c.k + i%c.k) % c.E)
		}
		a, n, size := tensor.Assign(choice, c.k, c.E), c.rows*c.k, fmt.Sprint(c)
		all = append(all, &operation{name: "Dispatch/" + size, in: []input{vector(c.rows*c.in, 1)}, out: n * c.in, step: 1. / 128,
			forward:  func(d device, y buf, in []buf) { d.Gather(y, in[0], a.Tokens, c.in) },
			backward: func(d device, g []buf, dy, _ buf, _ []buf) { d.DispatchGrad(g[0], dy, a.Slots, c.rows, c.k, c.in) }})
		all = append(all, &operation{name: "Combine/" + size, in: []input{vector(n*c.out, 1), vector(n, 2)}, out: c.rows * c.out, step: 1. / 128,
			forward: func(d device, y buf, in []buf) { d.Combine(y, in[0], in[1], a.Slots, c.rows, c.k, c.out) },
			backward: func(d device, g []buf, dy, _ buf, in []buf) {
				d.CombineGrad(g[0], g[1], dy, in[0], in[1], a.Slots, c.rows, c.k, c.out)
			}})
		in := []input{vector(n*c.in, 1)}
		for e := range c.E {
			in = append(in, matrix(c.out, c.in, uint32(10+e)))
		}
		all = append(all, &operation{name: "GroupedLinear/" + size, in: in, out: n * c.out, step: 1. / 64,
			forward: func(d device, y buf, in []buf) { d.GroupedLinear(y, in[0], in[1:], a.Offsets, c.out, c.in) },
			backward: func(d device, g []buf, dy, _ buf, in []buf) {
				d.GroupedLinearGradInput(g[0], dy, in[1:], a.Offsets, c.out, c.in)
				d.GroupedLinearGradWeight(g[1:], dy, in[0], a.Offsets, c.out, c.in)
			}})
	}
	return all
}

var routers = []struct {
	E int
	tensor.Router
	biased bool
}{
	{E: 8, Router: tensor.Router{TopK: 3, Scale: 1, Normalize: true}},
	{E: 5, Router: tensor.Router{TopK: 2, Scale: 1}},
	{E: 20, Router: tensor.Router{Sigmoid: true, TopK: 4, Groups: 5, TopGroups: 2, Scale: 2.5, Normalize: true}, biased: true},
	{E: 16, Router: tensor.Router{Sigmoid: true, TopK: 1, Groups: 4, TopGroups: 1, Scale: 1.5}},
	{E: 47, Router: tensor.Router{Sigmoid: true, TopK: 6, Scale: 2, Normalize: true}, biased: true},
}

// shapes are attention's: grouped heads, odd sizes, wide heads, values of another
// size than keys.
var shapes = []tensor.AttentionShape{
	{Heads: 4, KVHeads: 2, KeyDim: 16, ValueDim: 16, Scale: 0.3},
	{Heads: 3, KVHeads: 3, KeyDim: 12, ValueDim: 6, Scale: 0.5},
	{Heads: 5, KVHeads: 1, KeyDim: 72, ValueDim: 80, Scale: 0.2},
	{Heads: 1, KVHeads: 1, KeyDim: 192, ValueDim: 128, Scale: 0.1},
	{Heads: 6, KVHeads: 2, KeyDim: 64, ValueDim: 64, Scale: 0.2},
	{Heads: 2, KVHeads: 1, KeyDim: 128, ValueDim: 128, Scale: 0.1},
}

// attention is dense and sparse attention. The log-sum-exps are part of the
// result.
func attention() []*operation {
	var all []*operation
	for _, sh := range shapes {
		seqs := tree()
		rows := seqs.Rows()
		in := []input{vector(rows*sh.Heads*sh.KeyDim, 1), vector(rows*sh.KVHeads*sh.KeyDim, 2), vector(rows*sh.KVHeads*sh.ValueDim, 3)}
		ix := tensor.IndexShape{Heads: 2, Dim: 8, TopK: 7, Scale: 0.25}
		choose := func(d device) tensor.Selection {
			var b []buf
			for i, n := range []int{rows * ix.Heads * ix.Dim, rows * ix.Dim, rows * ix.Heads} {
				b = append(b, upload(d, coarse(n, uint32(20+i))))
			}
			return d.Select(b[0], b[1], b[2], ix, seqs)
		}
		var lse buf // of the last forward pass
		all = append(all, &operation{name: fmt.Sprintf("Attention/%+v", sh), in: in, out: rows * sh.Heads * sh.ValueDim, step: 1. / 64,
			forward: func(d device, y buf, in []buf) {
				lse = d.New(rows * sh.Heads)
				d.Attention(y, lse, in[0], in[1], in[2], sh, seqs)
			},
			backward: func(d device, g []buf, dy, y buf, in []buf) {
				d.AttentionGrad(g[0], g[1], g[2], dy, y, lse, in[0], in[1], in[2], sh, seqs)
			}})
		all = append(all, &operation{name: fmt.Sprintf("SparseAttention/%+v", sh), in: in, out: rows * sh.Heads * sh.ValueDim, step: 1. / 64,
			forward: func(d device, y buf, in []buf) {
				lse = d.New(rows * sh.Heads)
				d.SparseAttention(y, lse, in[0], in[1], in[2], sh, seqs, choose(d))
			},
			backward: func(d device, g []buf, dy, y buf, in []buf) {
				d.SparseAttentionGrad(g[0], g[1], g[2], dy, y, lse, in[0], in[1], in[2], sh, seqs, choose(d))
			}})
	}
	return all
}

// logprobs are log-probabilities over the whole vocabulary, over kept sets, and
// mixed, with rows that have no coefficient.
func logprobs() []*operation {
	var all []*operation
	for n, c := range []struct{ rows, dim, vocab int }{{1, 8, 5}, {13, 24, 1024}, {9, 16, 1500}, {21, 12, 2051}} {
		for mix := range 3 { // no sets, some, all
			t := &tensor.Targets{Temperature: 0.8}
			for i := range c.rows {
				id := (i*i*31 + n) % c.vocab
				t.IDs = append(t.IDs, int32(id))
				if mix == 0 {
					continue
				}
				var set []int32
				if mix == 2 || i%3 != 0 {
					for v := range c.vocab {
						if v == id || (v*7+i)%(11+i) == 0 {
							set = append(set, int32(v))
						}
					}
				}
				t.Kept = append(t.Kept, set)
			}
			coef, lse := Ramp(c.rows, 77), make([]float64, c.rows) // 77: what the suite weighs results with
			all = append(all, &operation{name: fmt.Sprintf("Logprob/%dx%dx%d,kept=%d", c.rows, c.dim, c.vocab, mix), in: []input{vector(c.rows*c.dim, 1), matrix(c.vocab, c.dim, 2)}, out: c.rows, step: 1. / 64,
				forward: func(d device, y buf, in []buf) {
					lp := make([]float32, c.rows)
					d.Logprob(lp, lse, in[0], in[1], t, c.rows, c.dim, c.vocab)
					d.Write(y, lp)
				},
				backward: func(d device, g []buf, _, _ buf, in []buf) {
					d.LogprobGrad(g[0], g[1], coef, lse, in[0], in[1], t, c.rows, c.dim, c.vocab)
				}})
		}
	}
	// Half the rows have no coefficient, and the head is frozen.
	t := &tensor.Targets{IDs: []int32{4, 0, 19, 7}, Temperature: 1}
	lse := make([]float64, 4)
	return append(all, &operation{name: "Logprob/frozen head", in: []input{vector(4*6, 1), matrix(20, 6, 2)}, out: 4, constant: []bool{false, true},
		forward: func(d device, y buf, in []buf) {
			lp := make([]float32, 4)
			d.Logprob(lp, lse, in[0], in[1], t, 4, 6, 20)
			d.Write(y, lp)
		},
		backward: func(d device, g []buf, _, _ buf, in []buf) {
			d.LogprobGrad(g[0], nil, []float32{0, 1, 0, -2}, lse, in[0], in[1], t, 4, 6, 20)
		}})
}
