package cpu

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/grouse-rl/grouse/internal/model/dsa"
	"github.com/grouse-rl/grouse/internal/tensor"
)

func TestTopPositionsAgreesWithAStableSort(t *testing.T) {
	var mem []uint32
	for n := range 60 {
		s := ramp(n+2, uint32(n))
		for i := range s {
			s[i] = float32(math.Round(float64(s[i]) * float64(1+n%7))) // many ties, zeros of both signs
		}
		wide := make([][]float64, n+2)
		for i := range s {
			s[i] += 0 // -0 becomes 0, as in sums that begin with 0
		}
		for i := range wide {
			wide[i] = widen(s)
		}
		for k := 1; k < n+2; k++ {
			var got []int
			for _, p := range topPositions(s, k, &mem) {
				got = append(got, int(p))
			}
			if want := dsa.Select(wide, k)[n+1]; !reflect.DeepEqual(got, want) {
				t.Fatalf("%d largest of %v: %v, want %v", k, s, got, want)
			}
		}
	}
}

// tree is two prompts, one with two continuations.
func tree(lens ...int) *tensor.Seqs {
	seqs := &tensor.Seqs{}
	root := seqs.Add(lens[0], -1)
	seqs.Add(lens[1], root)
	seqs.Add(lens[2], root)
	seqs.Add(lens[3], -1)
	return seqs
}

// chainRows returns the rows of positions 0..pos of sequence i.
func chainRows(seqs *tensor.Seqs, i, pos int) []int {
	var rows []int
	for _, c := range seqs.Chain(nil, i) {
		for r := range seqs.Len[c] {
			rows = append(rows, seqs.Start[c]+r)
		}
	}
	return rows[:pos+1]
}

func eachRow(seqs *tensor.Seqs, fn func(i, row, pos int)) {
	for i := range seqs.Start {
		for j := range seqs.Len[i] {
			fn(i, seqs.Start[i]+j, seqs.Pos(i)+j)
		}
	}
}

func TestSelectAgreesWithThePlainIndexer(t *testing.T) {
	seqs := tree(9, 30, 7, 25)
	for _, sh := range []tensor.IndexShape{{Heads: 4, Dim: 16, TopK: 6}, {Heads: 7, Dim: 12, TopK: 17}, {Heads: 1, Dim: 5, TopK: 1}, {Heads: 2, Dim: 8, TopK: 100}} {
		sh.Scale = float32(1 / math.Sqrt(float64(sh.Heads*sh.Dim)))
		rows := seqs.Rows()
		q, k, w := ramp(rows*sh.Heads*sh.Dim, 1), ramp(rows*sh.Dim, 2), ramp(rows*sh.Heads, 3)
		var sel tensor.Selection
		for _, threads := range []int{1, 3} {
			again := New(threads).Select(Vec(q), Vec(k), Vec(w), sh, seqs)
			if sel != nil && !reflect.DeepEqual(sel, again) {
				t.Fatal("threads change the selection")
			}
			sel = again
		}
		eachRow(seqs, func(i, row, pos int) {
			if pos < sh.TopK {
				if sel.Row(row) != nil {
					t.Fatalf("position %d is not dense", pos)
				}
				return
			}
			chain := chainRows(seqs, i, pos)
			qs, ks, ws := make([][][]float64, pos+1), make([][]float64, pos+1), make([][]float64, pos+1)
			for p, r := range chain {
				ks[p] = widen(k[r*sh.Dim : (r+1)*sh.Dim])
			}
			ws[pos] = widen(w[row*sh.Heads : (row+1)*sh.Heads]) // queries before have no heads: only this one is looked at
			for h := range sh.Heads {
				qs[pos] = append(qs[pos], widen(q[(row*sh.Heads+h)*sh.Dim:][:sh.Dim]))
			}
			var got []int
			for _, p := range sel.Row(row) {
				got = append(got, int(p))
			}
			if want := dsa.Select(dsa.IndexScores(qs, ks, ws), sh.TopK)[pos]; !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v: row %d selects %v, want %v", sh, row, got, want)
			}
		})
	}
}

// Sparse attention and its gradient against the formulas in float64.
func TestSparseAttentionAgreesWithPlainLoops(t *testing.T) {
	seqs := tree(9, 30, 7, 25)
	rows := seqs.Rows()
	for _, sh := range []tensor.AttentionShape{{Heads: 4, KVHeads: 2, KeyDim: 16, ValueDim: 16, Scale: 0.3}, {Heads: 3, KVHeads: 3, KeyDim: 12, ValueDim: 6, Scale: 0.5}, {Heads: 8, KVHeads: 1, KeyDim: 24, ValueDim: 32, Scale: 0.2}} {
		q, k, v, do := ramp(rows*sh.Heads*sh.KeyDim, 1), ramp(rows*sh.KVHeads*sh.KeyDim, 2), ramp(rows*sh.KVHeads*sh.ValueDim, 3), ramp(rows*sh.Heads*sh.ValueDim, 4)
		sel := make(selection, rows)
		eachRow(seqs, func(_, row, pos int) {
			if pos < 7 {
				return
			}
			for p := range pos + 1 {
				if (p*p+row)%3 == 0 || p == pos {
					sel[row] = append(sel[row], int32(p))
				}
			}
		})
		run := func(threads int, sel selection) []float32 {
			d := New(threads)
			o, lse := make(Vec, len(do)), make(Vec, rows*sh.Heads)
			dq, dk, dv := make(Vec, len(q)), make(Vec, len(k)), make(Vec, len(v))
			d.SparseAttention(o, lse, Vec(q), Vec(k), Vec(v), sh, seqs, sel)
			d.SparseAttentionGrad(dq, dk, dv, Vec(do), o, lse, Vec(q), Vec(k), Vec(v), sh, seqs, sel)
			return slices.Concat(o, dq, dk, dv)
		}
		o, dq, dk, dv := make([]float64, len(do)), make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
		eachRow(seqs, func(i, row, pos int) {
			chain := chainRows(seqs, i, pos)
			at := sel[row]
			if at == nil {
				for p := range chain {
					at = append(at, int32(p))
				}
			}
			for h := range sh.Heads {
				kh := h / (sh.Heads / sh.KVHeads)
				qAt, oAt := (row*sh.Heads+h)*sh.KeyDim, (row*sh.Heads+h)*sh.ValueDim
				p, dp, sum, delta := make([]float64, len(at)), make([]float64, len(at)), 0.0, 0.0
				for x, s := range at {
					for c := range sh.KeyDim {
						p[x] += float64(q[qAt+c]) * float64(k[(chain[s]*sh.KVHeads+kh)*sh.KeyDim+c])
					}
					p[x] = math.Exp(p[x] * float64(sh.Scale))
					sum += p[x]
				}
				for x, s := range at {
					p[x] /= sum
					for c := range sh.ValueDim {
						vAt := (chain[s]*sh.KVHeads+kh)*sh.ValueDim + c
						o[oAt+c] += p[x] * float64(v[vAt])
						dp[x] += float64(do[oAt+c]) * float64(v[vAt])
						dv[vAt] += p[x] * float64(do[oAt+c])
					}
					delta += p[x] * dp[x]
				}
				for x, s := range at {
					ds := p[x] * (dp[x] - delta) * float64(sh.Scale)
					for c := range sh.KeyDim {
						kAt := (chain[s]*sh.KVHeads+kh)*sh.KeyDim + c
						dq[qAt+c] += ds * float64(k[kAt])
						dk[kAt] += ds * float64(q[qAt+c])
					}
				}
			}
		})
		name := fmt.Sprint(sh)
		got := run(1, sel)
		near(t, name, got, slices.Concat(o, dq, dk, dv))
		sameBits(t, name+" on 3 threads", run(3, sel), got)
		both(t, name, func() []float32 { return run(2, sel) })

		// Nothing left out: attention, bit for bit.
		d := New(2)
		ov, lse, dqv, dkv, dvv := make(Vec, len(do)), make(Vec, rows*sh.Heads), make(Vec, len(q)), make(Vec, len(k)), make(Vec, len(v))
		d.Attention(ov, lse, Vec(q), Vec(k), Vec(v), sh, seqs)
		d.AttentionGrad(dqv, dkv, dvv, Vec(do), ov, lse, Vec(q), Vec(k), Vec(v), sh, seqs)
		sameBits(t, name+" dense", run(2, make(selection, rows)), slices.Concat(ov, dqv, dkv, dvv))
		all := make(selection, rows) // listed, in blocks of their own
		eachRow(seqs, func(_, row, pos int) {
			for p := range pos + 1 {
				all[row] = append(all[row], int32(p))
			}
		})
		listed := run(2, all)[:len(ov)]
		sameBits(t, name+" all listed", listed, ov)
	}
}

// A cache whose values are part of its keys attends like one that has both.
func TestValuesInKeys(t *testing.T) {
	both(t, "values in keys", func() []float32 {
		with := tensor.AttentionShape{Heads: 5, KVHeads: 1, KeyDim: 28, ValueDim: 20, Scale: 0.4}
		within := with
		within.ValuesInKeys = true
		d, n := New(2), 37
		a, b := d.NewCache(with, 1, 3), d.NewCache(within, 1, 3)
		k := ramp(n*with.KeyDim, 1)
		v := make([]float32, n*with.ValueDim)
		var slots []tensor.Slot
		for i := range n {
			copy(v[i*with.ValueDim:(i+1)*with.ValueDim], k[i*with.KeyDim:])
			slots = append(slots, tensor.Slot{Block: int32(2 - i/16), Offset: int32(i % 16)})
		}
		d.CacheWrite(a, 0, Vec(k), Vec(v), slots)
		d.CacheWrite(b, 0, Vec(k), nil, slots)
		q := ramp(9*with.Heads*with.KeyDim, 3)
		views := []tensor.View{{Row: 0, Len: 1, Pos: 36, Blocks: []int32{2, 1, 0}}, {Row: 1, Len: 8, Pos: 29, Blocks: []int32{2, 1, 0}}}
		sel := make(selection, 9)
		sel[0], sel[5] = []int32{0, 3, 7, 15, 16, 21, 31, 32, 33, 35, 36}, []int32{1, 2, 4, 20, 22, 24}
		var all []float32
		for _, s := range []tensor.Selection{nil, sel} {
			if s != nil { // rows after a sparse one are sparse
				views[1].Pos, views[1].Len, views[1].Row = 36, 1, 5
			}
			x, y := make(Vec, 9*with.Heads*with.ValueDim), make(Vec, 9*with.Heads*with.ValueDim)
			d.CacheAttend(x, Vec(q), a, 0, views, s)
			d.CacheAttend(y, Vec(q), b, 0, views, s)
			sameBits(t, fmt.Sprintf("selection %v", s), y, x)
			all = append(all, x...)
		}
		return all
	})
}

// BenchmarkSparseAttention shows the cost of attention at a fixed number of
// selected positions: linear in the context, where dense attention is quadratic.
func BenchmarkSparseAttention(b *testing.B) {
	sh := tensor.AttentionShape{Heads: 16, KVHeads: 16, KeyDim: 48, ValueDim: 32, Scale: 0.1}
	ix := tensor.IndexShape{Heads: 4, Dim: 32, TopK: 256, Scale: 0.1}
	for _, n := range []int{1024, 2048, 4096, 8192, 16384, 32768} {
		seqs := &tensor.Seqs{}
		seqs.Add(n, -1)
		d := New(0)
		q, k, v, o := Vec(ramp(n*sh.Heads*sh.KeyDim, 1)), Vec(ramp(n*sh.KVHeads*sh.KeyDim, 2)), Vec(ramp(n*sh.KVHeads*sh.ValueDim, 3)), make(Vec, n*sh.Heads*sh.ValueDim)
		qi, ki, wi := Vec(ramp(n*ix.Heads*ix.Dim, 4)), Vec(ramp(n*ix.Dim, 5)), Vec(ramp(n*ix.Heads, 6))
		for name, prepare := range map[string]func() func(){
			"indexer": func() func() { return func() { d.Select(qi, ki, wi, ix, seqs) } },
			"attention": func() func() {
				sel := d.Select(qi, ki, wi, ix, seqs)
				return func() { d.SparseAttention(o, nil, q, k, v, sh, seqs, sel) }
			},
			"dense": func() func() { return func() { d.Attention(o, nil, q, k, v, sh, seqs) } },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				f := prepare()
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/token")
			})
		}
	}
}
