package moe_test

import (
	"math"
	"reflect"
	"testing"

	"github.com/grouse-rl/grouse/internal/model/moe"
)

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name   string
		router moe.Router
		logits []float64
		want   []int
	}{
		{"ties go to the lower index", moe.Router{ScoreFunc: moe.Softmax, TopK: 2}, []float64{0, 1, 1, 1}, []int{1, 2}},
		{"bias changes the choice", moe.Router{ScoreFunc: moe.Sigmoid, TopK: 1, Bias: []float64{0, 0, 9}}, []float64{1, 2, 0}, []int{2}},
		{"a softmax router has no bias", moe.Router{ScoreFunc: moe.Softmax, TopK: 1, Bias: []float64{0, 0, 9}}, []float64{1, 2, 0}, []int{1}},
		{"groups by their two best", moe.Router{ScoreFunc: moe.Sigmoid, TopK: 2, NumGroups: 2, TopGroups: 1, Bias: make([]float64, 4)}, []float64{5, -5, 2, 2}, []int{2, 3}},
		{"groups by their best without a bias", moe.Router{ScoreFunc: moe.Sigmoid, TopK: 2, NumGroups: 2, TopGroups: 1}, []float64{5, -5, 2, 2}, []int{0, 1}},
		{"other groups are out even if every score is negative", moe.Router{ScoreFunc: moe.Sigmoid, TopK: 2, NumGroups: 2, TopGroups: 1, Bias: []float64{-1, -9, -3, -8}},
			[]float64{0, 0, 0, 0}, []int{0, 1}},
	} {
		if err := c.router.Validate(len(c.logits)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := c.router.Choose(c.logits); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// R3 (arXiv:2510.11370): softmax restricted to the forced set.
func TestForcedSoftmaxIsRestrictedSoftmax(t *testing.T) {
	r := moe.Router{ScoreFunc: moe.Softmax, TopK: 2, Scale: 1, Normalize: true}
	z := []float64{0.3, -1, 2, 0.5}
	got := r.Weights(z, []int{1, 3})
	sum := math.Exp(-1) + math.Exp(0.5)
	for j, want := range []float64{math.Exp(-1) / sum, math.Exp(0.5) / sum} {
		if math.Abs(got[j]-want) > 1e-15 {
			t.Errorf("weight %d: %v, want %v", j, got[j], want)
		}
	}
}

func TestWeightsGradIsTheDerivative(t *testing.T) {
	z, experts, coef := []float64{0.3, -1, 2, 0.5, -0.2}, []int{3, 0, 2}, []float64{0.7, -1.1, 0.4}
	for _, r := range []moe.Router{{ScoreFunc: moe.Sigmoid, Scale: 2.5, Normalize: true}, {ScoreFunc: moe.Sigmoid, Scale: 2}, {ScoreFunc: moe.Softmax, Scale: 1, Normalize: true}, {ScoreFunc: moe.Softmax, Scale: 1}} {
		f := func(e int, h float64) float64 {
			y := append([]float64(nil), z...)
			y[e] += h
			sum := 0.0
			for j, g := range r.Weights(y, experts) {
				sum += coef[j] * g
			}
			return sum
		}
		got := r.WeightsGrad(z, experts, coef)
		for e := range z {
			want := (f(e, 1e-6) - f(e, -1e-6)) / 2e-6
			if math.Abs(got[e]-want) > 1e-8 {
				t.Errorf("%+v: d/dz[%d] = %v, want %v", r, e, got[e], want)
			}
			if e == 1 && r.Normalize && got[e] != 0 {
				t.Errorf("%+v: a gradient of %v reaches an expert that was not chosen", r, got[e])
			}
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	for name, r := range map[string]moe.Router{
		"score function": {ScoreFunc: "relu", TopK: 1}, "too many": {ScoreFunc: moe.Softmax, TopK: 9}, "none": {ScoreFunc: moe.Softmax},
		"bias length": {ScoreFunc: moe.Sigmoid, TopK: 1, Bias: []float64{1}}, "uneven groups": {ScoreFunc: moe.Sigmoid, TopK: 1, NumGroups: 3, TopGroups: 1},
		"groups too small": {ScoreFunc: moe.Sigmoid, TopK: 5, NumGroups: 2, TopGroups: 1},
	} {
		if r.Validate(8) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
