package model

import "github.com/grouse-rl/grouse/internal/tensor"

// Absorbed is latent attention's weights for decoding on the compressed cache
// (spec section 10.3). With W_k and W_v the row blocks of kv_b of a head,
//
//	score = (q_nope W_k) . c_kv + q_pe . k_pe,   head = (P c_kv) W_vᵀ
//
// so that a token's cache is c_kv and k_pe, and nothing is expanded. Sums run in
// another order than in training: logprobs differ in the last bits.
type Absorbed struct{ layers []absorbedLayer }

type absorbedLayer struct {
	keys   []*tensor.Param // of each head, W_kᵀ [rank, nope]
	values []*tensor.Param // of each head, W_v [v, rank]
}

// Absorb derives the weights from the model's as they are now; nil if the model
// has no latent attention.
func (m *Model) Absorb() *Absorbed {
	if !m.family.mla {
		return nil
	}
	cfg := m.Config
	H, nope, v, rank := cfg.Heads, cfg.NopeDim, cfg.ValueDim, cfg.KVRank
	out := &Absorbed{}
	for i := range m.layers {
		w := m.layers[i].attention.(*latent).kvB.Read(m.dev) // [H*(nope+v), rank]
		var l absorbedLayer
		for h := range H {
			rows := w[h*(nope+v)*rank:]
			key, value := tensor.NewParam(m.dev, "", rank, nope), tensor.NewParam(m.dev, "", v, rank)
			t := make([]float32, rank*nope)
			for r := range nope {
				for c := range rank {
					t[c*nope+r] = rows[r*rank+c]
				}
			}
			key.Write(m.dev, t)
			value.Write(m.dev, rows[nope*rank:(nope+v)*rank])
			l.keys, l.values = append(l.keys, key), append(l.values, value)
		}
		out.layers = append(out.layers, l)
	}
	return out
}

// attend returns the heads' outputs [rows, H*v] from q after RoPE, c_kv and k_pe.
func (l *absorbedLayer) attend(g *tensor.Graph, layer int, a *latent, q, c, kPE *tensor.Tensor, sparse tensor.Selection, in *Input) *tensor.Tensor {
	cfg := a.m.Config
	H, nope := cfg.Heads, cfg.NopeDim
	absorbed := eachHead(g, g.Columns(q, H, 0, nope), l.keys)
	heads := Heads{Q: g.Join(absorbed, g.Columns(q, H, nope, cfg.RopeDim), H), K: g.JoinShared(c, kPE, 1), Sparse: sparse}
	return eachHead(g, in.Attend.Attend(layer, heads), l.values)
}

// eachHead multiplies head h of x [rows, H*in] with w[h]: [rows, H*out]. Rows are
// brought into the order of heads and back.
func eachHead(g *tensor.Graph, x *tensor.Tensor, w []*tensor.Param) *tensor.Tensor {
	H, rows := len(w), x.Rows
	a := &tensor.Assignment{Offsets: make([]int, H+1)}
	byHead, byRow := make([]int32, H*rows), make([]int32, H*rows)
	for h := range H {
		a.Offsets[h+1] = (h + 1) * rows
		for r := range rows {
			byHead[h*rows+r], byRow[r*H+h] = int32(r*H+h), int32(h*rows+r)
		}
	}
	y := g.GroupedLinear(g.Gather(x.As(rows*H, x.Cols/H), byHead), w, a)
	return g.Gather(y, byRow).As(rows, H*y.Cols)
}
