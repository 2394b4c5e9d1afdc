package sampling_test

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/rollout/sampling"
)

// twinKept is the slow, obvious version of the filters: sort everything.
func twinKept(z []float32, s grouse.Sampling) []int32 {
	V := len(z)
	order := make([]int, V)
	for v := range order {
		order[v] = v
	}
	sort.SliceStable(order, func(i, j int) bool { return z[order[i]] > z[order[j]] })
	if s.Temperature == 0 {
		return []int32{int32(order[0])}
	}
	if k := int(s.TopK); k > 0 && k < V {
		order = order[:k]
	}
	p, sum := make([]float64, len(order)), 0.0
	for i, v := range order {
		p[i] = math.Exp((float64(z[v]) - float64(z[order[0]])) / float64(s.Temperature))
		sum += p[i]
	}
	var kept []int32
	before := 0.0
	for i, v := range order {
		q := p[i] / sum
		if (s.TopP > 0 && s.TopP < 1 && i > 0 && before >= decimal(s.TopP)) || q < decimal(s.MinP)*(p[0]/sum) {
			break
		}
		kept = append(kept, int32(v))
		before += q
	}
	slices.Sort(kept)
	return kept
}

// decimal is the number that was written for a float32 setting.
func decimal(f float32) float64 {
	d, err := strconv.ParseFloat(fmt.Sprint(f), 64)
	if err != nil {
		panic(err)
	}
	return d
}

// twinDraw returns the token of u and its logprob over the kept ids.
func twinDraw(z []float32, s grouse.Sampling, kept []int32, u float64) (int32, float64) {
	tau := float64(s.Temperature)
	if tau == 0 {
		return kept[0], 0
	}
	top := math.Inf(-1)
	for _, v := range kept {
		top = max(top, float64(z[v])/tau)
	}
	total := 0.0
	for _, v := range kept {
		total += math.Exp(float64(z[v])/tau - top)
	}
	sum := 0.0
	for _, v := range kept {
		if sum += math.Exp(float64(z[v])/tau - top); sum > u*total {
			return v, float64(z[v])/tau - top - math.Log(total)
		}
	}
	panic("unreachable for u < 1")
}

func row(seed uint32, V int, spread float64) []float32 {
	k := rng.NewKey(rng.Data, "sampling", 1)
	f, z := make([]float64, V), make([]float32, V)
	k.Normals(f, seed, 0, 0)
	for v := range f {
		z[v] = float32(f[v] * spread)
	}
	return z
}

func all(V int) []int32 {
	ids := make([]int32, V)
	for v := range ids {
		ids[v] = int32(v)
	}
	return ids
}

// A draw near a step of the cumulative sum may fall on either side in float32;
// everything else must agree.
func TestSamplerAgainstTwin(t *testing.T) {
	settings := []grouse.Sampling{
		{Temperature: 1}, {Temperature: 0.7}, {Temperature: 0}, {Temperature: 1, TopK: 1}, {Temperature: 1, TopK: 3},
		{Temperature: 1.3, TopK: 50}, {Temperature: 1, TopP: 0.9}, {Temperature: 0.8, TopP: 0.5}, {Temperature: 1, TopP: 1e-6},
		{Temperature: 1, TopP: 0.9999}, {Temperature: 1, MinP: 0.05}, {Temperature: 1, MinP: 1}, {Temperature: 0.6, TopK: 512, TopP: 0.95},
		{Temperature: 1.1, TopK: 40, TopP: 0.95, MinP: 0.02}, {Temperature: 1, TopK: 1 << 30}, {Temperature: 2, TopP: 1},
	}
	for _, V := range []int{1, 2, 9, 1024, 1025, 3000} {
		for si, set := range settings {
			s, err := sampling.New(set, V)
			if err != nil {
				t.Fatal(err)
			}
			for r := range uint32(6) {
				z := row(r*100+uint32(si), V, []float64{0, 0.5, 3, 10}[r%4])
				if r >= 4 { // ties everywhere
					for v := range z {
						z[v] = float32(math.Round(float64(z[v])))
					}
				}
				kept, wantH := twinKept(z, set), entropy(z, set.Temperature)
				for _, u := range []float32{0, 0.1, 0.5, 0.77, 1 - 0x1p-24} {
					name := fmt.Sprintf("V=%d %+v row %d u=%v", V, set, r, u)
					d, err := s.Sample(z, u, nil)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if len(kept) == V && set.Temperature != 0 {
						if d.Kept != nil {
							t.Fatalf("%s: kept %d ids, want nil for the whole vocabulary", name, len(d.Kept))
						}
					} else if !slices.Equal(d.Kept, kept) {
						t.Fatalf("%s: kept %d ids %.60v..., want %d %.60v...", name, len(d.Kept), fmt.Sprint(d.Kept), len(kept), fmt.Sprint(kept))
					}
					lo, _ := twinDraw(z, set, kept, max(0, float64(u)-1e-6))
					hi, _ := twinDraw(z, set, kept, min(1-1e-12, float64(u)+1e-6))
					if d.Token < lo || d.Token > hi {
						t.Fatalf("%s: token %d, want %d to %d", name, d.Token, lo, hi)
					}
					want := logprobOf(z, set, kept, d.Token)
					if math.Abs(float64(d.Logprob)-want) > 1e-6*math.Abs(want)+2e-6 {
						t.Fatalf("%s: logprob %v, want %v", name, d.Logprob, want)
					}
					if math.Abs(float64(d.Entropy)-wantH) > 1e-5*wantH+1e-5 {
						t.Fatalf("%s: entropy %v, want %v", name, d.Entropy, wantH)
					}
					if d.Logprob > 0 {
						t.Fatalf("%s: logprob %v above 0", name, d.Logprob)
					}
				}
			}
		}
	}
}

func logprobOf(z []float32, set grouse.Sampling, kept []int32, token int32) float64 {
	tau := float64(set.Temperature)
	if tau == 0 {
		return 0
	}
	top, sum := math.Inf(-1), 0.0
	for _, v := range kept {
		top = max(top, float64(z[v])/tau)
	}
	for _, v := range kept {
		sum += math.Exp(float64(z[v])/tau - top)
	}
	return float64(z[token])/tau - top - math.Log(sum)
}

// entropy is -sum p log p, term by term.
func entropy(z []float32, temperature float32) float64 {
	tau := float64(temperature)
	if tau == 0 {
		tau = 1
	}
	top, sum, h := float64(slices.Max(z))/tau, 0.0, 0.0
	for _, x := range z {
		sum += math.Exp(float64(x)/tau - top)
	}
	for _, x := range z {
		lp := float64(x)/tau - top - math.Log(sum)
		h -= math.Exp(lp) * lp
	}
	return h
}

// The trainer gathers the kept logits and calls logprob.Kept, or builds the
// blocks and calls logprob.Full: the same float32 must come out.
func TestLogprobBitsAreTheTrainers(t *testing.T) {
	for _, set := range []grouse.Sampling{{Temperature: 1}, {Temperature: 0.7}, {Temperature: 0.9, TopK: 20}, {Temperature: 1, TopK: 64, TopP: 0.95}} {
		const V = 3000
		s, err := sampling.New(set, V)
		if err != nil {
			t.Fatal(err)
		}
		for r := range uint32(50) {
			z := row(r, V, 4)
			d, err := s.Sample(z, float32(r)/50, nil)
			if err != nil {
				t.Fatal(err)
			}
			var again float32
			if d.Kept == nil {
				var m logprob.Masses
				m.Fill(z, set.Temperature)
				again = logprob.Full(m.Blocks, z[d.Token], set.Temperature)
			} else {
				gathered := make([]float32, len(d.Kept))
				for i, id := range d.Kept {
					gathered[i] = z[id]
				}
				again = logprob.Kept(gathered, slices.Index(d.Kept, d.Token), set.Temperature)
			}
			if math.Float32bits(again) != math.Float32bits(d.Logprob) {
				t.Errorf("%+v row %d: sampled %v, recomputed %v", set, r, d.Logprob, again)
			}
		}
	}
}

func TestFrequenciesFollowTheDistribution(t *testing.T) {
	for _, set := range []grouse.Sampling{{Temperature: 1}, {Temperature: 1.5, TopK: 4}} {
		z := row(3, 8, 1)
		kept := twinKept(z, set)
		s, err := sampling.New(set, len(z))
		if err != nil {
			t.Fatal(err)
		}
		const n = 1 << 14
		count := map[int32]int{}
		for i := range n {
			d, err := s.Sample(z, float32(i)/n, nil)
			if err != nil {
				t.Fatal(err)
			}
			count[d.Token]++
		}
		for _, v := range kept {
			want := n * math.Exp(logprobOf(z, set, kept, v))
			if math.Abs(float64(count[v])-want) > 2 {
				t.Errorf("%+v: token %d came %d times of an even grid of %d, want %.1f", set, v, count[v], n, want)
			}
			delete(count, v)
		}
		if len(count) != 0 {
			t.Errorf("%+v: tokens outside the kept set were drawn: %v", set, count)
		}
	}
}

func TestExcludedTokens(t *testing.T) {
	inf := float32(math.Inf(1))
	z := []float32{-inf, 1, -inf, 1}
	for _, set := range []grouse.Sampling{{Temperature: 1}, {Temperature: 1, TopK: 3}, {Temperature: 0}, {Temperature: 1, TopP: 0.999}} {
		s, _ := sampling.New(set, 4)
		for _, u := range []float32{0, 0.49, 0.51, 1 - 0x1p-24} {
			d, err := s.Sample(z, u, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d.Token != 1 && d.Token != 3 {
				t.Errorf("%+v u=%v: drew token %d, whose logit is -Inf", set, u, d.Token)
			}
			if set.TopK > 0 && !slices.Equal(d.Kept, []int32{1, 3}) {
				t.Errorf("%+v: kept %v, want [1 3]: a token without probability is not kept", set, d.Kept)
			}
			if math.Abs(float64(d.Entropy)-math.Ln2) > 1e-6 {
				t.Errorf("%+v: entropy %v, want ln 2", set, d.Entropy)
			}
		}
	}
}

func TestBrokenRowsAreErrors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, z := range map[string][]float32{"NaN first": {nan, 0, 0}, "NaN last": {0, 1, nan}, "+Inf": {0, inf, 0}, "all -Inf": {-inf, -inf, -inf}} {
		for _, set := range []grouse.Sampling{{Temperature: 1}, {Temperature: 0}, {Temperature: 1, TopK: 2}} {
			s, _ := sampling.New(set, 3)
			if d, err := s.Sample(z, 0.5, nil); grouse.KindOf(err) != grouse.Corrupt {
				t.Errorf("%s, %+v: %+v, %v; want an error of kind corrupt", name, set, d, err)
			}
		}
	}
	s, _ := sampling.New(grouse.Sampling{Temperature: 1}, 3)
	if _, err := s.Sample(make([]float32, 4), 0, nil); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("4 logits for a vocabulary of 3: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for _, set := range []grouse.Sampling{{Temperature: -1}, {Temperature: nan}, {Temperature: 1, TopK: -1}, {Temperature: 1, TopP: -0.1},
		{Temperature: 1, TopP: nan}, {Temperature: 1, MinP: 1.5}, {Temperature: 1, MinP: nan}} {
		if _, err := sampling.New(set, 10); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%+v: error %v (fix %q), want invalid with a fix", set, err, grouse.FixOf(err))
		}
	}
	if _, err := sampling.New(grouse.Sampling{Temperature: 1}, 0); err == nil {
		t.Error("a vocabulary of 0 was accepted")
	}
}

// top_p 0.9 means 0.9, not float32(0.9): nine of ten equal tokens hold it.
func TestThresholdIsTheDecimal(t *testing.T) {
	s, _ := sampling.New(grouse.Sampling{Temperature: 1, TopP: 0.9}, 20)
	d, err := s.Sample(make([]float32, 20), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Kept) != 18 && len(d.Kept) != 19 { // 0.05 is not a binary fraction: the sum of 18 may fall short of 0.9 by rounding
		t.Errorf("kept %d of 20 equal tokens at top_p 0.9", len(d.Kept))
	}
	s, _ = sampling.New(grouse.Sampling{Temperature: 1, TopP: 0.5}, 8)
	if d, _ := s.Sample(make([]float32, 8), 0, nil); !slices.Equal(d.Kept, []int32{0, 1, 2, 3}) {
		t.Errorf("kept %v of 8 equal tokens at top_p 0.5, want [0 1 2 3]", d.Kept)
	}
}

func TestKeptGradIsTheDerivative(t *testing.T) {
	z := row(5, 7, 2)
	for _, tau := range []float32{1, 0.6} {
		g := make([]float64, len(z))
		logprob.KeptGrad(g, z, 2, tau, 1.7)
		ids := all(len(z))
		for v := range z {
			const h = 1.0 / 128
			up, dn := slices.Clone(z), slices.Clone(z)
			up[v] += h
			dn[v] -= h
			set := grouse.Sampling{Temperature: tau}
			want := 1.7 * (logprobOf(up, set, ids, 2) - logprobOf(dn, set, ids, 2)) / (float64(up[v]) - float64(dn[v]))
			if math.Abs(g[v]-want) > 2e-4 {
				t.Errorf("tau %v: d/dz[%d] = %v, want %v", tau, v, g[v], want)
			}
		}
	}
}

func TestSampleDoesNotAllocate(t *testing.T) {
	for _, set := range []grouse.Sampling{{Temperature: 1}, {Temperature: 1, TopK: 50, TopP: 0.9}, {Temperature: 0}, {Temperature: 1, TopP: 0.99}} {
		s, _ := sampling.New(set, 5000)
		z := row(1, 5000, 3)
		sample := func() {
			if _, err := s.Sample(z, 0.3, nil); err != nil {
				t.Fatal(err)
			}
		}
		sample()
		if n := testing.AllocsPerRun(5, sample); n != 0 {
			t.Errorf("%+v: %v allocations a call", set, n)
		}
	}
}

func FuzzSampler(f *testing.F) {
	f.Add(uint32(1), 20, float32(1), int32(5), float32(0.9), float32(0.1), float32(0.5))
	f.Add(uint32(2), 2000, float32(0.5), int32(0), float32(0.999), float32(0), float32(0.99))
	f.Fuzz(func(t *testing.T, seed uint32, V int, tau float32, k int32, p, minP, u float32) {
		V = 1 + (V&0x7fffffff)%3000
		set := grouse.Sampling{Temperature: tau, TopK: k, TopP: p, MinP: minP}
		s, err := sampling.New(set, V)
		if err != nil || !(u >= 0 && u < 1) || (tau != 0 && tau < 1e-3) || tau > 1e6 {
			return
		}
		z := row(seed, V, 3)
		d, err := s.Sample(z, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d.Kept != nil {
			if !slices.IsSorted(d.Kept) || !slices.Contains(d.Kept, d.Token) {
				t.Fatalf("token %d, kept %v", d.Token, d.Kept)
			}
			if k > 0 && tau > 0 && len(d.Kept) > int(k) {
				t.Fatalf("%d kept, top_k %d", len(d.Kept), k)
			}
		}
		if !(d.Logprob <= 0) || math.IsInf(float64(d.Logprob), 0) || !(d.Entropy >= 0) || float64(d.Entropy) > math.Log(float64(V))+1e-3 {
			t.Fatalf("logprob %v, entropy %v of %d tokens", d.Logprob, d.Entropy, V)
		}
	})
}

func BenchmarkSample(b *testing.B) {
	const V = 151936
	z := row(1, V, 3)
	for _, set := range []grouse.Sampling{{Temperature: 1}, {Temperature: 1, TopK: 512, TopP: 0.95}} {
		b.Run(fmt.Sprintf("%+v", set), func(b *testing.B) {
			s, _ := sampling.New(set, V)
			var m logprob.Masses
			m.Fill(z, set.Temperature)
			for b.Loop() {
				if _, err := s.Sample(z, 0.7, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
