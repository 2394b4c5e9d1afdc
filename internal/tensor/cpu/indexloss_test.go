package cpu

import (
	"math"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse/internal/model/dsa"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// The losses are internal/model/dsa's, and the gradients the derivatives of
// those, in the warm-up (dense) and the sparse stage.
func TestIndexLossAgreesWithThePlainOne(t *testing.T) {
	seqs := tree(4, 9, 6, 8)
	rows := seqs.Rows()
	ix := tensor.IndexShape{Heads: 3, Dim: 8, TopK: 5, Scale: float32(1 / math.Sqrt(24))}
	sh := tensor.AttentionShape{Heads: 4, KVHeads: 2, KeyDim: 16, ValueDim: 16, Scale: 0.4}
	q, k, w := ramp(rows*ix.Heads*ix.Dim, 1), ramp(rows*ix.Dim, 2), ramp(rows*ix.Heads, 3)
	mq, mk, mv := ramp(rows*sh.Heads*sh.KeyDim, 4), ramp(rows*sh.KVHeads*sh.KeyDim, 5), ramp(rows*sh.KVHeads*sh.ValueDim, 6)
	const coef = 0.25
	run := func(threads int, sparse bool) (loss []float64, grads []float32, sel tensor.Selection) {
		d := New(threads)
		o, lse := make(Vec, rows*sh.Heads*sh.ValueDim), make(Vec, rows*sh.Heads)
		if sparse {
			sel = d.Select(Vec(q), Vec(k), Vec(w), ix, seqs)
			d.SparseAttention(o, lse, Vec(mq), Vec(mk), Vec(mv), sh, seqs, sel)
		} else {
			d.Attention(o, lse, Vec(mq), Vec(mk), Vec(mv), sh, seqs)
		}
		loss = make([]float64, rows)
		dq, dk, dw := make(Vec, len(q)), make(Vec, len(k)), make(Vec, len(w))
		d.IndexLossGrad(loss, dq, dk, dw, Vec(q), Vec(k), Vec(w), ix, coef, Vec(mq), Vec(mk), lse, sh, seqs, sel)
		return loss, slices.Concat(dq, dk, dw), sel
	}
	for _, sparse := range []bool{false, true} {
		loss, grads, sel := run(1, sparse)
		params := slices.Concat(widen(q), widen(k), widen(w))
		// plain returns the KL of each row from parameters in float64.
		plain := func() []float64 {
			out := make([]float64, rows)
			pq, pk, pw := params[:len(q)], params[len(q):len(q)+len(k)], params[len(q)+len(k):]
			eachRow(seqs, func(i, row, pos int) {
				chain := chainRows(seqs, i, pos)
				qs, ks, ws := make([][][]float64, pos+1), make([][]float64, pos+1), make([][]float64, pos+1)
				heads := make([][][]float64, sh.Heads)
				for h := range heads {
					heads[h] = make([][]float64, pos+1)
					heads[h][pos] = make([]float64, pos+1)
				}
				for p, r := range chain {
					ks[p] = pk[r*ix.Dim : (r+1)*ix.Dim]
					for h := range sh.Heads {
						for c := range sh.KeyDim {
							heads[h][pos][p] += float64(sh.Scale) * float64(mq[(row*sh.Heads+h)*sh.KeyDim+c]) * float64(mk[(r*sh.KVHeads+h/2)*sh.KeyDim+c])
						}
					}
				}
				ws[pos] = pw[row*ix.Heads : (row+1)*ix.Heads]
				for h := range ix.Heads {
					qs[pos] = append(qs[pos], pq[(row*ix.Heads+h)*ix.Dim:][:ix.Dim])
				}
				S := make([][]int, pos+1) // of this query only
				S[pos] = dsa.Causal(pos + 1)[pos]
				if sparse && sel.Row(row) != nil {
					S[pos] = nil
					for _, s := range sel.Row(row) {
						S[pos] = append(S[pos], int(s))
					}
				}
				out[row], _ = dsa.Loss(dsa.IndexScores(qs, ks, ws), heads, S)
			})
			return out
		}
		for i, want := range plain() {
			if math.Abs(loss[i]-want) > 2e-6 {
				t.Fatalf("sparse %v: KL of row %d is %v, want %v", sparse, i, loss[i], want)
			}
		}
		total := func() float64 {
			sum := 0.0
			for _, v := range plain() {
				sum += v
			}
			return coef * sum
		}
		for i := range params {
			if i%5 != 0 { // every fifth: the plain loss is slow
				continue
			}
			was := params[i]
			params[i] = was + 1e-6
			up := total()
			params[i] = was - 1e-6
			down := total()
			params[i] = was
			if want := (up - down) / 2e-6; math.Abs(float64(grads[i])-want) > 1e-6 {
				t.Fatalf("sparse %v: gradient %d is %v, want %v", sparse, i, grads[i], want)
			}
		}
		again, more, _ := run(3, sparse)
		if !slices.Equal(again, loss) {
			t.Errorf("sparse %v: threads change the loss", sparse)
		}
		sameBits(t, "gradients on 3 threads", more, grads)
	}
}
