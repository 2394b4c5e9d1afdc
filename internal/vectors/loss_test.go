package vectors_test

import (
	"fmt"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

type lossConfig struct {
	AdvNorm       string             `json:"adv_norm"`
	AdvDDoF       int                `json:"adv_ddof"`
	AdvEps        float64            `json:"adv_eps"`
	Agg           string             `json:"agg"`
	NormConst     float64            `json:"norm_const"`
	RatioLevel    string             `json:"ratio_level"`
	PiOld         string             `json:"pi_old"`
	ClipLow       float64            `json:"clip_low"`
	ClipHigh      float64            `json:"clip_high"`
	ClipC         float64            `json:"clip_c"`
	KL            string             `json:"kl"`
	Beta          float64            `json:"beta"`
	BetaByDomain  map[string]float64 `json:"beta_by_domain"`
	OPSMDelta     *float64           `json:"opsm_delta"`
	ISMode        string             `json:"is_mode"`
	ISCap         float64            `json:"is_cap"`
	ISFloor       float64            `json:"is_floor"`
	KLInReward    float64            `json:"kl_in_reward"`
	LogRatioClamp float64            `json:"log_ratio_clamp"`
}

func (c *lossConfig) algorithm() *grouse.Algorithm {
	return &grouse.Algorithm{
		Advantage: c.AdvNorm, AdvantageDDoF: c.AdvDDoF, AdvantageEps: c.AdvEps, LossAggregation: c.Agg, LossNormTokens: c.NormConst,
		ImportanceSamplingLevel: c.RatioLevel, PiOld: c.PiOld, Epsilon: c.ClipLow, EpsilonHigh: c.ClipHigh, Delta: c.ClipC,
		KLEstimator: c.KL, Beta: c.Beta, OffPolicyMaskThreshold: c.OPSMDelta, KLInReward: c.KLInReward,
		EngineCorrection: grouse.EngineCorrection{Mode: c.ISMode, Cap: c.ISCap, Floor: c.ISFloor},
	}
}

type lossInput struct {
	Groups  []int       `json:"groups"`
	Rewards []float64   `json:"rewards"`
	Domains []string    `json:"domains"`
	LP      [][]float64 `json:"lp"`
	Old     [][]float64 `json:"old"`
	Roll    [][]float64 `json:"roll"`
	Ref     [][]float64 `json:"ref"`
	Mask    [][]float64 `json:"mask"`
}

type lossExpected struct {
	RewardsUsed []float64   `json:"rewards_used"`
	Advantages  []float64   `json:"advantages"`
	OPSMStat    []float64   `json:"opsm_stat"`
	OPSMKeep    []float64   `json:"opsm_keep"`
	Beta        []float64   `json:"beta"`
	ISWeight    [][]float64 `json:"is_weight"`
	Ratio       [][]float64 `json:"ratio"`
	KL          [][]float64 `json:"kl"`
	PG          [][]float64 `json:"pg"`
	Weight      [][]float64 `json:"weight"`
	Loss        float64     `json:"loss"`
	PGLoss      float64     `json:"pg_loss"`
	KLLoss      float64     `json:"kl_loss"`
	Grad        [][]float64 `json:"grad"`
	FracLow     float64     `json:"frac_clipped_low"`
	FracHigh    float64     `json:"frac_clipped_high"`
	FracMasked  float64     `json:"frac_masked_seqs"`
}

func runLoss(c vectorCase) error {
	var cfg lossConfig
	var in lossInput
	var want lossExpected
	if err := decode("config", c.Config, &cfg); err != nil {
		return err
	}
	if err := decode("input", c.Input, &in); err != nil {
		return err
	}
	if err := decode("expected", c.Expected, &want); err != nil {
		return err
	}
	if cfg.LogRatioClamp != grpo.LogRatioClamp {
		return fmt.Errorf("log_ratio_clamp %v: the clamp is %v", cfg.LogRatioClamp, grpo.LogRatioClamp)
	}
	o, err := grpo.New(cfg.algorithm())
	if err != nil {
		return err
	}
	n := len(in.LP)
	for _, l := range []int{len(in.Groups), len(in.Rewards), len(in.Domains), len(in.Old), len(in.Roll), len(in.Ref), len(in.Mask)} {
		if l != n {
			return fmt.Errorf("input: arrays of %d and %d sequences", n, l)
		}
	}
	masks := make([][]uint8, n)
	rewards := make([]float64, n)
	for i := range masks {
		masks[i] = make([]uint8, len(in.LP[i]))
		for t, m := range in.Mask[i] {
			masks[i][t] = uint8(m)
		}
		rewards[i] = grpo.PenalizedReward(in.Rewards[i], cfg.KLInReward, in.Old[i], in.Ref[i], masks[i])
	}
	advantages := advantagesByGroup(o, rewards, in.Groups)

	seqs := make([]grpo.Sequence[float64], n)
	var norm grpo.Normalizers
	for i := range seqs {
		d := grouse.Domain{Name: in.Domains[i]}
		if b, ok := cfg.BetaByDomain[d.Name]; ok {
			d.Beta = &b
		}
		seqs[i] = grpo.Sequence[float64]{Domain: d.Name, Advantage: advantages[i], Beta: d.BetaOr(cfg.Beta), Mask: masks[i],
			Logprobs: in.LP[i], OldLogprobs: in.Old[i], RolloutLogprobs: in.Roll[i], RefLogprobs: in.Ref[i]}
		norm.Add(seqs[i].Tokens())
	}
	var got lossExpected
	var stats []grpo.SequenceStats
	for i := range seqs {
		grad := make([]float64, len(seqs[i].Logprobs))
		var d grpo.Detail
		st := grpo.Loss(o, norm, &seqs[i], grad, &d)
		stats = append(stats, st)
		keep := 0.0
		if d.Keep {
			keep = 1
		}
		got.OPSMStat, got.OPSMKeep = append(got.OPSMStat, d.Distance), append(got.OPSMKeep, keep)
		got.Beta = append(got.Beta, seqs[i].Beta)
		got.ISWeight, got.Ratio, got.KL = append(got.ISWeight, d.Engine), append(got.Ratio, d.Ratio), append(got.KL, d.KL)
		got.PG, got.Weight, got.Grad = append(got.PG, d.Policy), append(got.Weight, d.Weight), append(got.Grad, grad)
		got.Loss, got.PGLoss, got.KLLoss = got.Loss+st.Loss, got.PGLoss+st.PolicyLoss, got.KLLoss+st.KLLoss
	}
	m := grpo.LossMetrics(stats)

	var d diff
	d.numbers("rewards_used", rewards, want.RewardsUsed, double)
	d.numbers("advantages", advantages, want.Advantages, double)
	d.numbers("opsm_stat", got.OPSMStat, want.OPSMStat, double)
	d.exact("opsm_keep", got.OPSMKeep, want.OPSMKeep)
	d.numbers("beta", got.Beta, want.Beta, double)
	d.ragged("is_weight", got.ISWeight, want.ISWeight, double)
	d.ragged("ratio", got.Ratio, want.Ratio, double)
	d.ragged("kl", got.KL, want.KL, double)
	d.ragged("pg", got.PG, want.PG, double)
	d.ragged("weight", got.Weight, want.Weight, double)
	d.number("loss", got.Loss, want.Loss, double)
	d.number("pg_loss", got.PGLoss, want.PGLoss, double)
	d.number("kl_loss", got.KLLoss, want.KLLoss, double)
	d.ragged("grad", got.Grad, want.Grad, double)
	d.number("frac_clipped_low", m["clip_ratio/low_mean"], want.FracLow, double)
	d.number("frac_clipped_high", m["clip_ratio/high_mean"], want.FracHigh, double)
	d.number("frac_masked_seqs", m["off_policy/masked_frac"], want.FracMasked, double)
	d.number("loss metric", m["loss"], want.Loss, double)
	return d.err()
}

// advantagesByGroup takes groups that may be interleaved.
func advantagesByGroup(o *grpo.Objective, rewards []float64, groups []int) []float64 {
	members := map[int][]int{}
	for i, g := range groups {
		members[g] = append(members[g], i)
	}
	out := make([]float64, len(rewards))
	for _, idx := range members {
		r, a := make([]float64, len(idx)), make([]float64, len(idx))
		for j, i := range idx {
			r[j] = rewards[i]
		}
		o.Advantages(a, r)
		for j, i := range idx {
			out[i] = a[j]
		}
	}
	return out
}
