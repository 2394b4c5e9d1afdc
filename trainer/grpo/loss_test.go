package grpo_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

// The gradient is the derivative of the loss. The off-policy mask depends on the
// logprobs but is a constant of the gradient: sequences whose mask would change
// within the difference are left out.
func TestGradientIsTheDerivative(t *testing.T) {
	for name, f := range variants() {
		t.Run(name, func(t *testing.T) {
			o := objective(t, f)
			checked := 0
			for seed := range uint32(6) {
				seqs := sequences(seed, 6, 0.4)
				norm := normalizers(seqs)
				_, grads, _ := evaluate(o, norm, seqs)
				for i := range seqs {
					for tok := range seqs[i].Logprobs {
						const h = 1e-6
						at := func(d float64) (float64, bool) {
							s := seqs[i]
							s.Logprobs = append([]float64(nil), s.Logprobs...)
							s.Logprobs[tok] += d
							g := make([]float64, len(s.Logprobs))
							st := grpo.Loss(o, norm, &s, g, nil)
							return st.Loss, st.Dropped
						}
						up, d1 := at(h)
						dn, d2 := at(-h)
						far1, _ := at(1e-4)
						far2, _ := at(-1e-4)
						want := (up - dn) / (2 * h)
						if d1 != d2 || math.Abs((far1-far2)/2e-4-want) > 1e-3*math.Abs(want)+1e-5 {
							continue // a corner of the clip lies within the difference
						}
						checked++
						if !closeTo(grads[i][tok], want, 1e-5, 1e-8) {
							t.Fatalf("seed %d sequence %d token %d: gradient %v, difference %v", seed, i, tok, grads[i][tok], want)
						}
					}
				}
			}
			if checked < 60 {
				t.Errorf("only %d tokens were checked", checked)
			}
		})
	}
}

// The terms of a sequence depend on it and the normalizers only, so any split
// gives the same bits; statistics are folded in batch order.
func TestSplitsChangeNothing(t *testing.T) {
	for name, f := range variants() {
		o := objective(t, f)
		seqs := sequences(3, 16, 0.4)
		norm := normalizers(seqs)
		_, want, stats := evaluate(o, norm, seqs)
		wantMetrics := fmt.Sprintf("%x", metricBits(grpo.LossMetrics(stats)))
		for _, size := range []int{1, 3, 5, 16} {
			var got [][]float64
			var gotStats []grpo.SequenceStats
			var parts grpo.Normalizers
			for i := 0; i < len(seqs); i += size {
				part := seqs[i:min(i+size, len(seqs))]
				parts.Merge(normalizers(part))
				_, g, st := evaluate(o, norm, part)
				got, gotStats = append(got, g...), append(gotStats, st...)
			}
			if parts != norm {
				t.Fatalf("%s: normalizers of the parts %+v, of the whole %+v", name, parts, norm)
			}
			for i := range want {
				for tok := range want[i] {
					if math.Float64bits(got[i][tok]) != math.Float64bits(want[i][tok]) {
						t.Fatalf("%s: micro-batches of %d change the gradient of token %d of sequence %d", name, size, tok, i)
					}
				}
			}
			if m := fmt.Sprintf("%x", metricBits(grpo.LossMetrics(gotStats))); m != wantMetrics {
				t.Fatalf("%s: micro-batches of %d change the metrics", name, size)
			}
		}
	}
}

func metricBits(m grouse.Metrics) []byte { return []byte(fmt.Sprint(m)) } // maps print sorted

// float32 logprobs are widened, the gradient is rounded once.
func TestFloat32IsRoundedOnce(t *testing.T) {
	for name, f := range variants() {
		o := objective(t, f)
		narrow := func(x []float64) (out []float32) {
			for _, v := range x {
				out = append(out, float32(v))
			}
			return out
		}
		widen := func(x []float32) (out []float64) {
			for _, v := range x {
				out = append(out, float64(v))
			}
			return out
		}
		seqs := sequences(9, 8, 0.4)
		norm := normalizers(seqs)
		for i := range seqs {
			s := seqs[i]
			s32 := grpo.Sequence[float32]{Domain: s.Domain, Advantage: s.Advantage, Beta: s.Beta, Mask: s.Mask,
				Logprobs: narrow(s.Logprobs), OldLogprobs: narrow(s.OldLogprobs), RolloutLogprobs: narrow(s.RolloutLogprobs), RefLogprobs: narrow(s.RefLogprobs)}
			s.Logprobs, s.OldLogprobs = widen(s32.Logprobs), widen(s32.OldLogprobs)
			s.RolloutLogprobs, s.RefLogprobs = widen(s32.RolloutLogprobs), widen(s32.RefLogprobs)
			g64, g32 := make([]float64, len(s.Logprobs)), make([]float32, len(s.Logprobs))
			st64, st32 := grpo.Loss(o, norm, &s, g64, nil), grpo.Loss(o, norm, &s32, g32, nil)
			if st64.Loss != st32.Loss {
				t.Errorf("%s: loss %v in float64, %v from float32", name, st64.Loss, st32.Loss)
			}
			for tok := range g64 {
				if g32[tok] != float32(g64[tok]) {
					t.Errorf("%s: gradient %v, want %v rounded once", name, g32[tok], g64[tok])
				}
			}
		}
	}
}

func TestMaskedTokensAreNeverRead(t *testing.T) {
	for name, f := range variants() {
		o := objective(t, f)
		s := sequences(77, 20, 0.3)[0]
		for _, q := range sequences(77, 20, 0.3) {
			if len(q.Logprobs) > len(s.Logprobs) {
				s = q
			}
		}
		for t := range s.Mask {
			s.Mask[t] = 1
		}
		s.Mask[1] = 0
		norm := grpo.Normalizers{Sequences: 1, Tokens: s.Tokens()}
		g := make([]float64, len(s.Logprobs))
		want := grpo.Loss(o, norm, &s, g, nil)
		nan := math.NaN()
		s.Logprobs[1], s.OldLogprobs[1], s.RolloutLogprobs[1], s.RefLogprobs[1] = nan, nan, nan, nan
		h := make([]float64, len(s.Logprobs))
		got := grpo.Loss(o, norm, &s, h, nil)
		if got.Loss != want.Loss || fmt.Sprint(g) != fmt.Sprint(h) || h[1] != 0 {
			t.Errorf("%s: a NaN under the mask changes loss %v to %v, gradient %v to %v", name, want.Loss, got.Loss, g, h)
		}
	}
}

func TestLossPanicsOnWrongLengths(t *testing.T) {
	delta := 0.1
	for name, c := range map[string]struct {
		alg  func(a *grouse.Algorithm)
		edit func(s *grpo.Sequence[float64])
	}{
		"short mask":       {nil, func(s *grpo.Sequence[float64]) { s.Mask = s.Mask[:1] }},
		"no rollout":       {nil, func(s *grpo.Sequence[float64]) { s.RolloutLogprobs = nil }},
		"no rollout, mask": {func(a *grouse.Algorithm) { a.PiOld, a.OffPolicyMaskThreshold = grouse.PiOldRecomputed, &delta }, func(s *grpo.Sequence[float64]) { s.RolloutLogprobs = nil }},
		"no old":           {func(a *grouse.Algorithm) { a.PiOld = grouse.PiOldRecomputed }, func(s *grpo.Sequence[float64]) { s.OldLogprobs = nil }},
		"no reference":     {func(a *grouse.Algorithm) { a.KLEstimator = "k3" }, func(s *grpo.Sequence[float64]) { s.RefLogprobs = nil }},
		"short reference":  {nil, func(s *grpo.Sequence[float64]) { s.RefLogprobs = s.RefLogprobs[:2] }},
	} {
		s := grpo.Sequence[float64]{Advantage: 1, Beta: 0.1, Mask: []uint8{1, 1, 1}, Logprobs: []float64{-1, -1, -1}, OldLogprobs: []float64{-1, -1, -1},
			RolloutLogprobs: []float64{-1, -1, -1}, RefLogprobs: []float64{-1, -1, -1}}
		c.edit(&s)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			grpo.Loss(objective(t, c.alg), grpo.Normalizers{Sequences: 1, Tokens: 3}, &s, make([]float64, 3), nil)
		}()
	}
}

func TestNewRefuses(t *testing.T) {
	bad := -1.0
	for name, f := range map[string]func(a *grouse.Algorithm){
		"advantage":                 func(a *grouse.Algorithm) { a.Advantage = "std" },
		"advantage_ddof":            func(a *grouse.Algorithm) { a.AdvantageDDoF = 2 },
		"epsilon":                   func(a *grouse.Algorithm) { a.Epsilon = math.NaN() },
		"delta":                     func(a *grouse.Algorithm) { a.Delta = 1.1 },
		"loss_aggregation":          func(a *grouse.Algorithm) { a.LossAggregation = "mean" },
		"loss_norm_tokens":          func(a *grouse.Algorithm) { a.LossAggregation = grouse.SeqMeanTokenSumNorm },
		"importance_sampling_level": func(a *grouse.Algorithm) { a.ImportanceSamplingLevel = "word" },
		"pi_old":                    func(a *grouse.Algorithm) { a.PiOld = "" },
		"kl_estimator":              func(a *grouse.Algorithm) { a.KLEstimator = "k4" },
		"beta":                      func(a *grouse.Algorithm) { a.Beta = -0.1 },
		"off_policy_mask_threshold": func(a *grouse.Algorithm) { a.OffPolicyMaskThreshold = &bad },
		"engine_correction.mode":    func(a *grouse.Algorithm) { a.EngineCorrection.Mode = "word_mask" },
		"engine_correction.cap":     func(a *grouse.Algorithm) { a.PiOld, a.EngineCorrection.Mode = grouse.PiOldRecomputed, "token_mask" },
		"engine_correction.floor": func(a *grouse.Algorithm) {
			a.PiOld, a.EngineCorrection = grouse.PiOldRecomputed, grouse.EngineCorrection{Mode: "token_mask", Cap: 2, Floor: 3}
		},
		"engine_correction.veto": func(a *grouse.Algorithm) { a.EngineCorrection.Veto = 1e-4 },
		"twice": func(a *grouse.Algorithm) {
			a.EngineCorrection = grouse.EngineCorrection{Mode: "token_truncate", Cap: 2}
		},
	} {
		_, err := grpo.New(algorithm(f))
		if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), name) || grouse.FixOf(err) == "" {
			t.Errorf("%s: error %v (fix %q), want invalid, naming the key, with a fix", name, err, grouse.FixOf(err))
		}
	}
}

func TestValidateLooksAtTheDomains(t *testing.T) {
	zero, some := 0.0, 0.001
	off, on := []grouse.Domain{{Name: "math", Beta: &zero}}, []grouse.Domain{{Name: "math", Beta: &zero}, {Name: "chat", Beta: &some}}
	for _, c := range []struct {
		name    string
		alg     func(a *grouse.Algorithm)
		domains []grouse.Domain
		want    string
	}{
		{"no kl at all", nil, off, ""},
		{"one domain uses it", func(a *grouse.Algorithm) { a.KLEstimator = "k3_is" }, on, ""},
		{"nobody uses the estimator", func(a *grouse.Algorithm) { a.KLEstimator = "k3_is" }, off, "every domain's beta is 0"},
		{"strength without an estimator", nil, on, "kl_estimator is none"},
		{"sync without a reference", func(a *grouse.Algorithm) { a.RefModelSyncSteps = 400 }, off, "ref_model_sync_steps"},
	} {
		err := grpo.Validate(algorithm(c.alg), c.domains)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || grouse.FixOf(err) == "") {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// Every metric that is reported is in the table, and the table's own names (other
// than the trainer's and the groups') are reported.
func TestMetricsTable(t *testing.T) {
	delta := 0.05
	o := objective(t, func(a *grouse.Algorithm) {
		a.PiOld, a.KLEstimator, a.OffPolicyMaskThreshold = grouse.PiOldRecomputed, "k3_is", &delta
		a.EngineCorrection = grouse.EngineCorrection{Mode: "token_truncate", Cap: 2}
	})
	seqs := sequences(5, 16, 0.3)
	_, _, stats := evaluate(o, normalizers(seqs), seqs)
	got := grpo.LossMetrics(stats)
	one, zero := 1.0, 0.0
	group := grouse.ScoredGroup{
		Group: grouse.Group{Prompt: grouse.Prompt{Domain: "math"}, Rollouts: []grouse.Rollout{
			{ResponseIDs: []int32{1, 2}, Entropy: []float32{0.5, 1.5}, Finish: grouse.FinishStop, Kept: grouse.SamplingMask{IDs: []int32{1, 4, 6}, Offsets: []int32{0, 3, 3}}},
			{ResponseIDs: []int32{1, 2, 3, 4}, Entropy: []float32{1, 1, 1, 1}, Mask: []uint8{1, 0, 0, 0}, Finish: grouse.FinishLength}}},
		Scores: []grouse.Score{{Reward: &one, Parts: map[string]float64{"math": 1}, Outcome: grouse.Scored}, {Reward: &zero, Parts: map[string]float64{"math": 0}, Outcome: grouse.Scored}},
	}
	for k, v := range grpo.BatchMetrics([]grouse.ScoredGroup{group}) {
		got[k] = v
	}
	for key, want := range map[string]float64{
		"reward": 0.5, "reward_std": math.Sqrt(0.5), "reward/math": 0.5, "rewards/math/mean": 0.5, "frac_reward_zero_std": 0, "completions/mean_length": 3,
		"completions/min_length": 2, "completions/max_length": 4, "completions/clipped_ratio": 0.5, "completions/mean_terminated_length": 2,
		"completions/max_terminated_length": 2, "entropy": 1, "kept_set/mean_size": 3, "kept_set/max_size": 3, "kept_set/truncated_frac": 1.0 / 3,
	} {
		if !closeTo(got[key], want, 1e-12, 0) {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
	matches := func(pattern, key string) bool {
		before, after, family := strings.Cut(pattern, "*")
		return pattern == key || family && len(key) > len(before)+len(after) && strings.HasPrefix(key, before) && strings.HasSuffix(key, after)
	}
	for key := range got {
		known := false
		for _, m := range grpo.Metrics {
			known = known || matches(m.Name, key)
		}
		if !known {
			t.Errorf("%s is reported but not in the table", key)
		}
	}
	for _, m := range grpo.Metrics {
		found := strings.HasPrefix(m.Formula, "trainer:") || m.Name == "groups/*" || m.Name == "prompts_drawn"
		for key := range got {
			found = found || matches(m.Name, key)
		}
		if !found {
			t.Errorf("%s is in the table but not reported", m.Name)
		}
		if m.Formula == "" || (m.Source != "TRL" && m.Source != "grouse") {
			t.Errorf("%s has no formula or source", m.Name)
		}
	}
}

func TestMetricsOfNothing(t *testing.T) {
	if m := grpo.LossMetrics(nil); len(m) != 0 {
		t.Errorf("metrics of no sequences: %v", m)
	}
	if m := grpo.BatchMetrics(nil); len(m) != 0 {
		t.Errorf("metrics of no groups: %v", m)
	}
	o := objective(t, nil)
	empty := []grpo.Sequence[float64]{{}, {}}
	_, _, stats := evaluate(o, normalizers(empty), empty)
	for k, v := range grpo.LossMetrics(stats) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("%s of empty sequences is %v", k, v)
		}
	}
}
