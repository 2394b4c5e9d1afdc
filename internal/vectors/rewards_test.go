package vectors_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards/language"
	"github.com/grouse-rl/grouse/rewards/length"
	"github.com/grouse-rl/grouse/rewards/proof"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

// runRewards dispatches on the case's name: in this file it says the kind.
func runRewards(c vectorCase) error {
	if err := noConfig(c); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(c.Name, "overlong_"):
		return runOverlong(c)
	case c.Name == "deepseekmath_v2":
		return runDeepSeekMath(c)
	case c.Name == "language_consistency":
		return runLanguage(c)
	case c.Name == "advantages":
		return runAdvantages(c)
	case c.Name == "zero_gradient_filter":
		return runFilter(c)
	case c.Name == "verifier_format":
		return runVerifierFormat(c)
	case c.Name == "generator_format":
		return runGeneratorFormat(c)
	}
	return fmt.Errorf("unknown kind of case %q", c.Name)
}

// none is an input without fields.
type none struct{}

func runOverlong(c vectorCase) error {
	var in struct {
		LMax    int   `json:"l_max"`
		LCache  int   `json:"l_cache"`
		Lengths []int `json:"lengths"`
	}
	var want struct {
		Reward []float64 `json:"reward"`
	}
	if err := decodeBoth(c, &in, &want); err != nil {
		return err
	}
	var got []float64
	for _, n := range in.Lengths {
		got = append(got, length.SoftOverlong(n, in.LMax, in.LCache))
	}
	var d diff
	d.numbers("reward", got, want.Reward, tolerance{})
	return d.err()
}

func runDeepSeekMath(c vectorCase) error {
	var in struct {
		Alpha float64 `json:"alpha"`
		Beta  float64 `json:"beta"`
	}
	type row struct {
		Format       int     `json:"format"`
		Predicted    float64 `json:"predicted"`
		Score        float64 `json:"score"`
		Meta         float64 `json:"meta"`
		RScore       float64 `json:"r_score"`
		Verifier     float64 `json:"verifier"`
		VerifierMeta float64 `json:"verifier_meta"`
		Generator    float64 `json:"generator"`
	}
	var want struct {
		Rows []row `json:"rows"`
	}
	if err := decodeBoth(c, &in, &want); err != nil {
		return err
	}
	var d diff
	for i, r := range want.Rows {
		if r.Format != 0 && r.Format != 1 {
			d.addf("row %d: format %d", i, r.Format)
		}
		for _, s := range []float64{r.Predicted, r.Score, r.Meta} {
			if s != 0 && s != 0.5 && s != 1 {
				d.addf("row %d: score %v", i, s)
			}
		}
		format := r.Format == 1
		got := row{Format: r.Format, Predicted: r.Predicted, Score: r.Score, Meta: r.Meta,
			RScore: proof.ScoreReward(r.Predicted, r.Score), Verifier: proof.VerifierReward(format, r.Predicted, r.Score),
			VerifierMeta: proof.VerifierMetaReward(format, r.Predicted, r.Score, r.Meta),
			Generator:    proof.GeneratorReward(format, in.Alpha, in.Beta, r.Score, r.Predicted, r.Meta)}
		d.exact(fmt.Sprintf("row %d", i), got, r)
	}
	if in.Alpha != proof.Alpha || in.Beta != proof.Beta {
		d.addf("alpha %v, beta %v: the paper's are %v, %v", in.Alpha, in.Beta, proof.Alpha, proof.Beta)
	}
	return d.err()
}

func runLanguage(c vectorCase) error {
	var in struct {
		Counts []struct {
			Target int `json:"target"`
			Total  int `json:"total"`
		} `json:"counts"`
	}
	var want struct {
		Reward []float64 `json:"reward"`
	}
	if err := decodeBoth(c, &in, &want); err != nil {
		return err
	}
	var got []float64
	for _, n := range in.Counts {
		got = append(got, language.Consistency(n.Target, n.Total))
	}
	var d diff
	d.numbers("reward", got, want.Reward, double)
	return d.err()
}

func runAdvantages(c vectorCase) error {
	var want struct {
		Cases []struct {
			Config     json.RawMessage `json:"config"`
			Rewards    []float64       `json:"rewards"`
			Groups     []int           `json:"groups"`
			Advantages []float64       `json:"advantages"`
		} `json:"cases"`
	}
	if err := decodeBoth(c, &none{}, &want); err != nil {
		return err
	}
	var d diff
	for i, w := range want.Cases {
		cfg := struct {
			Norm string  `json:"norm"`
			DDoF int     `json:"ddof"`
			Eps  float64 `json:"eps"`
		}{"", 1, 1e-6}
		if err := strict(w.Config, &cfg); err != nil {
			return err
		}
		o, err := grpo.New(&grouse.Algorithm{Advantage: cfg.Norm, AdvantageDDoF: cfg.DDoF, AdvantageEps: cfg.Eps, LossAggregation: grouse.TokenMean,
			ImportanceSamplingLevel: grouse.LevelToken, PiOld: grouse.PiOldRollout, KLEstimator: grouse.KLNone, EngineCorrection: grouse.EngineCorrection{Mode: "none"}})
		if err != nil {
			return err
		}
		d.numbers(fmt.Sprintf("case %d", i), advantagesByGroup(o, w.Rewards, w.Groups), w.Advantages, double)
	}
	return d.err()
}

func runFilter(c vectorCase) error {
	var want struct {
		Groups []struct {
			Rewards []float64 `json:"rewards"`
			Keep    bool      `json:"keep"`
		} `json:"groups"`
	}
	if err := decodeBoth(c, &none{}, &want); err != nil {
		return err
	}
	var d diff
	for i, g := range want.Groups {
		d.exact(fmt.Sprintf("group %d %v", i, g.Rewards), !grouse.Flat(g.Rewards), g.Keep)
	}
	return d.err()
}

func runVerifierFormat(c vectorCase) error {
	type row struct {
		Text   string   `json:"text"`
		Format int      `json:"format"`
		Score  *float64 `json:"score"`
	}
	var want struct {
		Rows []row `json:"rows"`
	}
	if err := decodeBoth(c, &none{}, &want); err != nil {
		return err
	}
	var d diff
	for i, w := range want.Rows {
		got := row{Text: w.Text}
		if e, ok := proof.ParseVerifier(w.Text); ok {
			got.Format, got.Score = 1, &e.Score
		}
		d.exact(fmt.Sprintf("row %d", i), got, w)
	}
	return d.err()
}

func runGeneratorFormat(c vectorCase) error {
	type row struct {
		Text   string   `json:"text"`
		Format int      `json:"format"`
		Score  *float64 `json:"self_score"`
		Proof  *string  `json:"proof"`
	}
	var want struct {
		Rows []row `json:"rows"`
	}
	if err := decodeBoth(c, &none{}, &want); err != nil {
		return err
	}
	var d diff
	for i, w := range want.Rows {
		got := row{Text: w.Text}
		if g, ok := proof.ParseGenerator(w.Text); ok {
			got.Format, got.Score, got.Proof = 1, &g.Self.Score, &g.Proof
		}
		d.exact(fmt.Sprintf("row %d", i), got, w)
	}
	return d.err()
}

func decodeBoth(c vectorCase, in, want any) error {
	if err := decode("input", c.Input, in); err != nil {
		return err
	}
	return decode("expected", c.Expected, want)
}
