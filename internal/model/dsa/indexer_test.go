package dsa_test

import (
	"math"
	"reflect"
	"testing"

	"github.com/grouse-rl/grouse/internal/model/dsa"
)

func TestSelectTiesAndShortRows(t *testing.T) {
	scores := [][]float64{{1, 0, 0, 0}, {2, 2, 0, 0}, {1, 3, 3, 0}, {0, 0, 0, 0}}
	want := [][]int{{0}, {0, 1}, {1, 2}, {0, 1}}
	if got := dsa.Select(scores, 2); !reflect.DeepEqual(got, want) {
		t.Errorf("selected %v, want %v", got, want)
	}
}

// For a context of at most k positions DSA is dense attention.
func TestShortContextIsDense(t *testing.T) {
	scores := [][]float64{{1, 0, 0}, {2, 5, 0}, {1, 3, 2}}
	if got, want := dsa.Select(scores, 3), dsa.Causal(3); !reflect.DeepEqual(got, want) {
		t.Errorf("selected %v, want %v", got, want)
	}
}

func TestIndexScoresByHand(t *testing.T) {
	q := [][][]float64{{{1, 0}}, {{1, 2}}}
	k := [][]float64{{3, 1}, {-1, -1}}
	w := [][]float64{{2}, {0.5}}
	root := math.Sqrt(2)
	want := [][]float64{{2 / root * 3, 0}, {0.5 / root * 5, 0}} // q1.k1 = -3: relu
	got := dsa.IndexScores(q, k, w)
	for i := range want {
		for j := range want[i] {
			if math.Abs(got[i][j]-want[i][j]) > 1e-15 {
				t.Errorf("I[%d][%d] = %v, want %v", i, j, got[i][j], want[i][j])
			}
		}
	}
}

func TestLossGradientIsTheDerivative(t *testing.T) {
	scores := [][]float64{{0.3, 0, 0}, {0.1, -0.4, 0}, {1, 0.2, -0.7}}
	attention := [][][]float64{{{0.5, 0, 0}, {1, -1, 0}, {0.2, 0.9, -2}}, {{0, 0, 0}, {0, 2, 0}, {1, 1, 1}}}
	selected := dsa.Select(scores, 2)
	loss, grad := dsa.Loss(scores, attention, selected)
	if loss <= 0 {
		t.Errorf("loss %v", loss)
	}
	for i := range scores {
		for j := range scores[i] {
			at := func(h float64) float64 {
				old := scores[i][j]
				scores[i][j] += h
				l, _ := dsa.Loss(scores, attention, selected)
				scores[i][j] = old
				return l
			}
			want := (at(1e-6) - at(-1e-6)) / 2e-6
			if math.Abs(grad[i][j]-want) > 1e-8 {
				t.Errorf("d/dI[%d][%d] = %v, want %v", i, j, grad[i][j], want)
			}
		}
	}
}
