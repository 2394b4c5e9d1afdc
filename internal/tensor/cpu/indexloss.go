package cpu

import (
	"math"

	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// IndexLossGrad goes tree by tree, within one row by row in order:
//
//	p_s = mean over heads of exp(q.k_s scale - lse), made to sum to 1
//	dI_s = coef (softmax(I)_s - p_s)
//	dw_j += sum_s dI_s Scale relu(q_j.k_s);  where q_j.k_s > 0:
//	dq_j += dI_s w_j Scale k_s,  dk_s += dI_s w_j Scale q_j
//
// Probabilities and logarithms are in float64.
func (d *Device) IndexLossGrad(loss []float64, dq, dk, dw, q, k, w tensor.Buffer, index tensor.IndexShape, coef float32, mainQ, mainK, lse tensor.Buffer, shape tensor.AttentionShape, seqs *tensor.Seqs, choice tensor.Selection) {
	x := indexLoss{
		loss: loss, dq: vec(dq), dk: vec(dk), dw: vec(dw), q: vec(q), k: vec(k), w: vec(w), index: index, coef: float64(coef),
		mainQ: vec(mainQ), mainK: vec(mainK), lse: vec(lse), shape: shape, seqs: seqs, sel: rowsOf(choice),
	}
	var trees [][2]int
	seqs.Trees(func(lo, hi int) { trees = append(trees, [2]int{lo, hi}) })
	d.pool.run(len(trees), func(_, task int) {
		for i := trees[task][0]; i < trees[task][1]; i++ {
			x.sequence(i)
		}
	})
}

type indexLoss struct {
	loss                              []float64
	dq, dk, dw, q, k, w, mainQ, mainK []float32
	lse                               []float32
	index                             tensor.IndexShape
	coef                              float64
	shape                             tensor.AttentionShape
	seqs                              *tensor.Seqs
	sel                               selection
	rows                              []int // of each position; of the sequence at work
	positions                         []int32
}

func (x *indexLoss) sequence(i int) {
	y := *x // rows and positions are this task's own
	y.rows, y.positions = nil, nil
	for _, c := range x.seqs.Chain(nil, i) {
		for r := range x.seqs.Len[c] {
			y.positions = append(y.positions, int32(len(y.rows)))
			y.rows = append(y.rows, x.seqs.Start[c]+r)
		}
	}
	for j := range x.seqs.Len[i] {
		row, pos := x.seqs.Start[i]+j, x.seqs.Pos(i)+j
		at := y.positions[:pos+1]
		if x.sel != nil && x.sel[row] != nil {
			at = x.sel[row]
		}
		y.row(row, at)
	}
}

func (x *indexLoss) row(row int, at []int32) {
	H, D := x.index.Heads, x.index.Dim
	p, scores, dots := x.attention(row, at), make([]float64, len(at)), make([]float32, len(at)*H)
	top := math.Inf(-1)
	for i, s := range at {
		key := x.k[x.rows[s]*D : (x.rows[s]+1)*D]
		for h := range H {
			dots[i*H+h] = rowDot(x.q[(row*H+h)*D:][:D], key)
			if dots[i*H+h] > 0 {
				scores[i] += float64(float64(x.w[row*H+h])*float64(x.index.Scale)) * float64(dots[i*H+h])
			}
		}
		top = max(top, scores[i])
	}
	sum := 0.0
	for _, v := range scores {
		sum += rng.Exp(v - top)
	}
	logSum, kl := rng.Log(sum), 0.0
	for i, s := range at {
		lq := scores[i] - top - logSum
		if p[i] > 0 { // 0 log 0 = 0
			kl += float64(p[i] * (rng.Log(p[i]) - lq))
		}
		g := x.coef * (rng.Exp(lq) - p[i]) * float64(x.index.Scale)
		r := x.rows[s]
		for h := range H {
			dot := dots[i*H+h]
			if !(dot > 0) {
				continue
			}
			x.dw[row*H+h] += float32(g * float64(dot))
			gw := float32(g * float64(x.w[row*H+h]))
			rowAxpy(x.dq[(row*H+h)*D:][:D], x.k[r*D:(r+1)*D], gw)
			rowAxpy(x.dk[r*D:(r+1)*D], x.q[(row*H+h)*D:][:D], gw)
		}
	}
	x.loss[row] = kl
}

// attention returns the mean over heads of a row's probabilities.
func (x *indexLoss) attention(row int, at []int32) []float64 {
	sh := &x.shape
	p, sum, per := make([]float64, len(at)), 0.0, sh.Heads/sh.KVHeads
	for i, s := range at {
		for h := range sh.Heads {
			key := x.mainK[(x.rows[s]*sh.KVHeads+h/per)*sh.KeyDim:][:sh.KeyDim]
			z := float64(rowDot(x.mainQ[(row*sh.Heads+h)*sh.KeyDim:][:sh.KeyDim], key)) * float64(sh.Scale)
			p[i] += rng.Exp(z - float64(x.lse[row*sh.Heads+h]))
		}
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}
