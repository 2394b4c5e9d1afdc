package model

import (
	"math"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// The dense decoders: Llama and what differs from it by a bias or a norm (spec
// section 10.1).

// groupedQuery is grouped-query attention: query head h reads key-value head
// h / (heads / key-value heads).
type groupedQuery struct {
	m                   *Model
	q, k, v, o          *tensor.Param
	qBias, kBias, vBias *tensor.Param // nil without biases
	oBias               *tensor.Param
	qNorm, kNorm        *tensor.Param // nil without norms
	rope                *tensor.RopeTable
}

func (m *Model) groupedQuery(inv []float64, factor float64) func(prefix string) mixer {
	cfg, f := m.Config, m.family
	m.shape = tensor.AttentionShape{
		Heads: cfg.Heads, KVHeads: cfg.KVHeads, KeyDim: cfg.HeadDim, ValueDim: cfg.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(cfg.HeadDim))),
	}
	d, qd, kd := cfg.HiddenSize, cfg.Heads*cfg.HeadDim, cfg.KVHeads*cfg.HeadDim
	bias, oBias := f.biases(cfg)
	rope := tensor.NewRopeTable(inv, factor)
	return func(prefix string) mixer {
		return &groupedQuery{
			m: m, rope: rope,
			q:     m.matrix(prefix+"q_proj.weight", qd, d),
			qBias: m.bias(bias, prefix+"q_proj.bias", qd),
			k:     m.matrix(prefix+"k_proj.weight", kd, d),
			kBias: m.bias(bias, prefix+"k_proj.bias", kd),
			v:     m.matrix(prefix+"v_proj.weight", kd, d),
			vBias: m.bias(bias, prefix+"v_proj.bias", kd),
			qNorm: m.bias(f.qkNorm, prefix+"q_norm.weight", cfg.HeadDim),
			kNorm: m.bias(f.qkNorm, prefix+"k_norm.weight", cfg.HeadDim),
			o:     m.matrix(prefix+"o_proj.weight", d, qd),
			oBias: m.bias(oBias, prefix+"o_proj.bias", d),
		}
	}
}

func (a *groupedQuery) forward(g *tensor.Graph, l int, n *tensor.Tensor, in *Input) *tensor.Tensor {
	y := g.Linears(n, []*tensor.Param{a.q, a.k, a.v}, []*tensor.Param{a.qBias, a.kBias, a.vBias})
	q, k, v := y[0], y[1], y[2]
	if a.qNorm != nil {
		eps := float32(a.m.Config.RMSEps)
		q, k = g.RMSNorm(q, a.qNorm, eps), g.RMSNorm(k, a.kNorm, eps)
	}
	q = g.Rope(q, a.rope, in.Pos, a.m.shape.Heads)
	k = g.Rope(k, a.rope, in.Pos, a.m.shape.KVHeads)
	return g.Linear(in.Attend.Attend(l, Heads{Q: q, K: k, V: v}), a.o, a.oBias)
}

// mlp is the SwiGLU feed-forward layer: Down(silu(Gate n) * Up n).
type mlp struct{ gate, up, down *tensor.Param }

func (m *Model) newMLP(prefix string, size int) *mlp {
	d := m.Config.HiddenSize
	return &mlp{
		gate: m.matrix(prefix+"gate_proj.weight", size, d),
		up:   m.matrix(prefix+"up_proj.weight", size, d),
		down: m.matrix(prefix+"down_proj.weight", d, size),
	}
}

func (f *mlp) forward(g *tensor.Graph, n *tensor.Tensor, _ *Input) *tensor.Tensor {
	y := g.Linears(n, []*tensor.Param{f.gate, f.up}, []*tensor.Param{nil, nil})
	return g.Linear(g.SwiGLU(y[0], y[1]), f.down, nil)
}
