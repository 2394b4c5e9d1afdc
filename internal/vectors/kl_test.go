package vectors_test

import (
	"fmt"
	"math"

	"github.com/grouse-rl/grouse/trainer/grpo"
)

type klInput struct {
	Theta []float64 `json:"logits_theta"`
	Old   []float64 `json:"logits_old"`
	Ref   []float64 `json:"logits_ref"`
}

type klExpected struct {
	KL          float64                `json:"kl"`
	GradKL      []float64              `json:"grad_kl_logits"`
	GradForward []float64              `json:"grad_forward_kl_logits"`
	Estimators  map[string]klEstimator `json:"estimators"`
}

type klEstimator struct {
	Value        []float64 `json:"value"`
	DLP          []float64 `json:"dlp"`
	MeanOnPolicy *float64  `json:"mean_on_policy,omitempty"`
	GradOnPolicy []float64 `json:"grad_on_policy,omitempty"`
	MeanUnderOld float64   `json:"mean_under_old"`
	GradUnderOld []float64 `json:"grad_under_old"`
}

func logSoftmax(z []float64) []float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range z {
		top = max(top, v)
	}
	for _, v := range z {
		sum += math.Exp(v - top)
	}
	out := make([]float64, len(z))
	for i, v := range z {
		out[i] = v - top - math.Log(sum)
	}
	return out
}

// underSampler returns the expectation of value and of its gradient with respect to
// theta's logits.
func underSampler(sampler, theta, value, dlp []float64) (mean float64, grad []float64) {
	grad = make([]float64, len(theta))
	for v := range theta {
		q := math.Exp(sampler[v])
		mean += q * value[v]
		for j := range grad {
			d := -math.Exp(theta[j])
			if j == v {
				d++
			}
			grad[j] += q * dlp[v] * d
		}
	}
	return mean, grad
}

func runKL(c vectorCase) error {
	var in klInput
	var want klExpected
	if err := noConfig(c); err != nil {
		return err
	}
	if err := decode("input", c.Input, &in); err != nil {
		return err
	}
	if err := decode("expected", c.Expected, &want); err != nil {
		return err
	}
	theta, old, ref := logSoftmax(in.Theta), logSoftmax(in.Old), logSoftmax(in.Ref)
	V := len(theta)
	var d diff

	logRatio, forward := make([]float64, V), make([]float64, V)
	for v := range theta {
		logRatio[v] = theta[v] - ref[v]
		forward[v] = math.Exp(theta[v]) - math.Exp(ref[v])
	}
	kl, gradKL := underSampler(theta, theta, logRatio, logRatio)
	d.number("kl", kl, want.KL, double)
	d.numbers("grad_kl_logits", gradKL, want.GradKL, double)
	d.numbers("grad_forward_kl_logits", forward, want.GradForward, double)

	if len(want.Estimators) != 7 {
		d.addf("%d estimators, want 7", len(want.Estimators))
	}
	for name, w := range want.Estimators {
		value, dlp, err := estimates(name, theta, old, ref)
		if err != nil {
			return err
		}
		d.numbers(name+".value", value, w.Value, double)
		d.numbers(name+".dlp", dlp, w.DLP, double)
		mean, grad := underSampler(old, theta, value, dlp)
		d.number(name+".mean_under_old", mean, w.MeanUnderOld, double)
		d.numbers(name+".grad_under_old", grad, w.GradUnderOld, double)
		plain := len(name) == 2
		if plain != (w.MeanOnPolicy != nil) || plain != (w.GradOnPolicy != nil) {
			d.addf("%s: on-policy expectations belong to k1, k2 and k3", name)
			continue
		}
		if plain {
			mean, grad := underSampler(theta, theta, value, dlp)
			d.number(name+".mean_on_policy", mean, *w.MeanOnPolicy, double)
			d.numbers(name+".grad_on_policy", grad, w.GradOnPolicy, double)
		}
	}
	return d.err()
}

// estimates returns an estimator's value and derivative on every id.
func estimates(name string, theta, old, ref []float64) (value, dlp []float64, err error) {
	detached := name == "k3_is_detached"
	if detached {
		name = "k3"
	}
	e, err := grpo.ParseEstimator(name)
	if err != nil {
		return nil, nil, err
	}
	if e.None() {
		return nil, nil, fmt.Errorf("estimator %q has no value", name)
	}
	for v := range theta {
		x, g := e.At(theta[v], old[v], ref[v])
		if detached {
			r, _ := grpo.Ratio(theta[v] - old[v])
			x, g = r*x, r*g
		}
		value, dlp = append(value, x), append(dlp, g)
	}
	return value, dlp, nil
}
