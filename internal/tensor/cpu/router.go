package cpu

import "github.com/grouse-rl/grouse/internal/tensor"

// normEps keeps a sum of scores away from 0, as DeepSeek's code does.
const normEps = 1e-20

// routerScores sets s to softmax(z), or to sigmoid(z).
func routerScores(s, z []float32, sigmoid bool) {
	if sigmoid {
		for e, v := range z {
			s[e] = sigmoid32(v)
		}
		return
	}
	sum := rowExp(s, z, 1, rowMax(z))
	rowScale(s, s, 1/sum)
}

// Route goes row by row.
func (d *Device) Route(gates tensor.Buffer, experts []int32, z, bias tensor.Buffer, r *tensor.Router, rows, E int) {
	gv, zv, bv := vec(gates), vec(z), vec(bias)
	d.pool.split(rows, rowGrain(16*E), func(thread, lo, hi int) {
		mem := d.scratch(thread, 2*E)
		s, c := mem[:E], mem[E:]
		for i := lo; i < hi; i++ {
			row, logits := experts[i*r.TopK:(i+1)*r.TopK], zv[i*E:(i+1)*E]
			routerScores(s, logits, r.Sigmoid)
			if row[0] < 0 {
				// Softmax keeps the order of the logits, which have no ties of rounding.
				copy(c, logits)
				if r.Sigmoid {
					copy(c, s)
					if bv != nil {
						rowAdd(c, c, bv)
					}
				}
				chooseExperts(row, c, r, r.Sigmoid && bv != nil)
			}
			if gv == nil {
				continue
			}
			div := float32(1)
			if r.Normalize {
				div = sumOf(s, row)
			}
			for j, e := range row {
				gv[i*r.TopK+j] = float32(s[e]/div) * r.Scale
			}
		}
	})
}

// sumOf adds the scores of the experts, in their order.
func sumOf(s []float32, experts []int32) float32 {
	sum := float32(0)
	for _, e := range experts {
		sum += s[e]
	}
	return sum + normEps
}

// chooseExperts takes the largest c, best first, ties to the lower index. It
// overwrites c.
func chooseExperts(row []int32, c []float32, r *tensor.Router, biased bool) {
	allowed := func(int) bool { return true }
	if r.Groups > 1 {
		per := len(c) / r.Groups
		in := make([]bool, r.Groups)
		score := make([]float32, r.Groups)
		for g := range score {
			m := c[g*per : (g+1)*per]
			first := argMax(m, func(int) bool { return true })
			score[g] = m[first]
			if biased && per > 1 {
				score[g] += m[argMax(m, func(e int) bool { return e != first })]
			}
		}
		for range r.TopGroups {
			in[argMax(score, func(g int) bool { return !in[g] })] = true
		}
		allowed = func(e int) bool { return in[e/per] }
	}
	var taken [64]int
	chosen := taken[:0]
	for j := range row {
		e := argMax(c, func(e int) bool {
			for _, t := range chosen {
				if t == e {
					return false
				}
			}
			return allowed(e)
		})
		row[j] = int32(e)
		chosen = append(chosen, e)
	}
}

// argMax returns the place of the largest allowed value, the first of equals.
// One place at least must be allowed.
func argMax(v []float32, allowed func(i int) bool) int {
	best := -1
	for i, x := range v {
		if (best < 0 || x > v[best]) && allowed(i) {
			best = i
		}
	}
	return best
}

// RouteGrad: with G = sum over the choice of s and q_j = dgates_j Scale,
//
//	ds_e = q_e / G - sum_j q_j s_j / G²  for the chosen, Normalize;  ds_e = q_e without
//	dz_e = ds_e s_e (1 - s_e)  sigmoid;   s_e (ds_e - sum_f ds_f s_f)  softmax
//
// in float64. The sum of the softmax is 0 with Normalize: only the chosen move.
func (d *Device) RouteGrad(dz, dgates, z tensor.Buffer, experts []int32, r *tensor.Router, rows, E int) {
	dzv, dgv, zv := vec(dz), vec(dgates), vec(z)
	d.pool.split(rows, rowGrain(16*E), func(thread, lo, hi int) {
		s := d.scratch(thread, E)
		ds := make([]float64, r.TopK)
		for i := lo; i < hi; i++ {
			row, dg := experts[i*r.TopK:(i+1)*r.TopK], dgv[i*r.TopK:(i+1)*r.TopK]
			routerScores(s, zv[i*E:(i+1)*E], r.Sigmoid)
			div, dot := 1.0, 0.0
			if r.Normalize {
				div = float64(sumOf(s, row))
				for j, e := range row {
					dot += float64(dg[j]) * float64(s[e])
				}
			}
			total := 0.0
			for j, e := range row {
				ds[j] = float64(r.Scale) * (float64(dg[j])/div - dot/(div*div))
				total += ds[j] * float64(s[e])
			}
			out := dzv[i*E : (i+1)*E]
			switch {
			case r.Sigmoid:
				for j, e := range row {
					out[e] += float32(ds[j] * float64(s[e]) * (1 - float64(s[e])))
				}
			case r.Normalize:
				for j, e := range row {
					out[e] += float32(ds[j] * float64(s[e]))
				}
			default:
				for j, e := range row {
					out[e] += float32(ds[j] * float64(s[e]))
				}
				for e := range out {
					out[e] -= float32(total * float64(s[e]))
				}
			}
		}
	})
}
