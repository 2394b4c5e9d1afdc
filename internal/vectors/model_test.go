package vectors_test

import (
	"github.com/grouse-rl/grouse/internal/model/dsa"
	"github.com/grouse-rl/grouse/internal/model/moe"
)

type routingInput struct {
	ScoreFunc string      `json:"score_func"`
	Logits    [][]float64 `json:"router_logits"`
	Bias      []float64   `json:"e_score_correction_bias"`
	TopK      int         `json:"top_k"`
	NumGroups int         `json:"n_group"`
	TopGroups int         `json:"topk_group"`
	Scale     float64     `json:"routed_scaling_factor"`
	Normalize bool        `json:"norm_topk_prob"`
	Forced    [][]int     `json:"forced_experts"`
	Coef      [][]float64 `json:"coef"`
}

type routingExpected struct {
	Free    [][]int     `json:"free_choice"`
	Weights [][]float64 `json:"forced_gate_weights"`
	Grad    [][]float64 `json:"grad_router_logits"`
}

func runRouting(c vectorCase) error {
	var in routingInput
	var want, got routingExpected
	if err := noConfig(c); err != nil {
		return err
	}
	if err := decode("input", c.Input, &in); err != nil {
		return err
	}
	if err := decode("expected", c.Expected, &want); err != nil {
		return err
	}
	r := moe.Router{ScoreFunc: in.ScoreFunc, Bias: in.Bias, TopK: in.TopK, NumGroups: in.NumGroups, TopGroups: in.TopGroups, Scale: in.Scale, Normalize: in.Normalize}
	for t, z := range in.Logits {
		if err := r.Validate(len(z)); err != nil {
			return err
		}
		got.Free = append(got.Free, r.Choose(z))
		got.Weights = append(got.Weights, r.Weights(z, in.Forced[t]))
		got.Grad = append(got.Grad, r.WeightsGrad(z, in.Forced[t], in.Coef[t]))
	}
	var d diff
	d.exact("free_choice", got.Free, want.Free)
	d.ragged("forced_gate_weights", got.Weights, want.Weights, double)
	d.ragged("grad_router_logits", got.Grad, want.Grad, double)
	return d.err()
}

type indexerInput struct {
	Q         [][][]float64 `json:"q"`
	K         [][]float64   `json:"k"`
	Weights   [][]float64   `json:"weights"`
	Attention [][][]float64 `json:"main_attn_logits"`
	TopK      int           `json:"index_topk"`
}

type indexerExpected struct {
	Scores     [][]float64 `json:"index_scores"`
	Selected   [][]int     `json:"selected"`
	LossDense  float64     `json:"loss_dense"`
	GradDense  [][]float64 `json:"grad_scores_dense"`
	LossSparse float64     `json:"loss_sparse"`
	GradSparse [][]float64 `json:"grad_scores_sparse"`
}

func runIndexer(c vectorCase) error {
	var in indexerInput
	var want indexerExpected
	if err := noConfig(c); err != nil {
		return err
	}
	if err := decode("input", c.Input, &in); err != nil {
		return err
	}
	if err := decode("expected", c.Expected, &want); err != nil {
		return err
	}
	scores := dsa.IndexScores(in.Q, in.K, in.Weights)
	selected := dsa.Select(scores, in.TopK)
	dense, gradDense := dsa.Loss(scores, in.Attention, dsa.Causal(len(scores)))
	sparse, gradSparse := dsa.Loss(scores, in.Attention, selected)
	var d diff
	d.ragged("index_scores", scores, want.Scores, double)
	d.exact("selected", selected, want.Selected)
	d.number("loss_dense", dense, want.LossDense, double)
	d.ragged("grad_scores_dense", gradDense, want.GradDense, double)
	d.number("loss_sparse", sparse, want.LossSparse, double)
	d.ragged("grad_scores_sparse", gradSparse, want.GradSparse, double)
	return d.err()
}
