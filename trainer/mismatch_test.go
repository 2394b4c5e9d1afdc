package trainer_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
)

const mismatchConfig = `{"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
	"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
	"norm_topk_prob": true, "vocab_size": 128, "max_position_embeddings": 256, "initializer_range": 0.12}`

// The experiment that justifies keeping the routing (docs/moe.md): the rollout
// weights are the trainer's rounded to bfloat16, so that some tokens take other
// experts. The trainer's logprobs are nearer to the rollout's, and its gradient to
// that of the weights that made the rollout, if it takes the recorded experts.
func TestKeptRoutingIsNearerToTheRollout(t *testing.T) {
	cfg, err := model.ParseConfig([]byte(mismatchConfig))
	if err != nil {
		t.Fatal(err)
	}
	dev := cpu.New(2)
	policy, err := model.New(dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	policy.Init(rng.NewKey(rng.Init, "", 3))
	policy.Trainable()
	rounded := policy.Clone()
	rounded.Trainable()
	for _, p := range rounded.Params() {
		w := p.Read(dev)
		for i, v := range w {
			w[i] = safetensors.BFloat16(safetensors.ToBFloat16(v))
		}
		p.Write(dev, w)
	}
	e := engine.New(cpu.New(1), engine.Options{})
	defer e.Close()
	e.SetPolicy(rounded, 0)
	var out [][]grouse.Rollout
	var reqs []engine.Request
	for c := range 16 {
		reqs = append(reqs, engine.Request{Prompt: []int32{3, int32(5 + c), 7}, N: 4, MaxTokens: 96, Sampling: grouse.Sampling{Temperature: 1, TopP: 1},
			Key: rng.NewKey(rng.Rollout, "0", 1), Candidate: uint32(c), KeepRouting: true})
	}
	if out, err = e.GenerateAll(t.Context(), reqs, nil); err != nil {
		t.Fatal(err)
	}
	rollout := mismatchPass(rounded, reqs, out, false)
	free, kept := mismatchPass(policy, reqs, out, false), mismatchPass(policy, reqs, out, true)
	if rollout.mean != 0 || rollout.max != 0 {
		t.Errorf("the rollout's own weights: mismatch %v", rollout)
	}
	var b strings.Builder
	for _, r := range []struct {
		name string
		mismatch
	}{{"free", free}, {"kept", kept}} {
		fmt.Fprintf(&b, "\n%s: mean |difference| %.2e, 99th percentile %.2e, largest %.2e nats; gradient off by %.2f%%, of tokens with other experts (%.2f%%): mean %.2e",
			r.name, r.mean, r.p99, r.max, 100*r.gradientError(&rollout), 100*free.differ, r.meanOf(free.other))
	}
	t.Log(b.String())
	if free.differ == 0 {
		t.Fatal("rounding changed no choice: the experiment shows nothing")
	}
	if !(kept.mean < free.mean && kept.max < free.max && kept.gradientError(&rollout) < free.gradientError(&rollout)) {
		t.Error("kept routing is not nearer to the rollout")
	}
}

type mismatch struct {
	diff           []float64 // of each token, |logprob - the rollout's|
	other          []bool    // tokens of which some layer took other experts than the rollout's
	mean, p99, max float64
	differ         float64 // share of tokens in other
	grad           []float32
}

func (m *mismatch) gradientError(of *mismatch) float64 {
	num, den := 0.0, 0.0
	for i, g := range of.grad {
		d := float64(m.grad[i]) - float64(g)
		num += d * d
		den += float64(g) * float64(g)
	}
	return math.Sqrt(num / den)
}

func (m *mismatch) meanOf(which []bool) float64 {
	sum, n := 0.0, 0
	for i, w := range which {
		if w {
			sum += m.diff[i]
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// mismatchPass computes logprobs and a policy gradient with made-up advantages.
func mismatchPass(m *model.Model, reqs []engine.Request, out [][]grouse.Rollout, keep bool) mismatch {
	width := m.MoELayers() * m.ExpertsPerToken()
	var ids, targets, rows []int32
	var coef []float32
	var recorded []int16
	var want []float64
	seqs := &tensor.Seqs{}
	for i, rs := range out {
		for j, r := range rs {
			fed := append(append([]int32(nil), reqs[i].Prompt...), r.ResponseIDs[:len(r.ResponseIDs)-1]...)
			for p := range r.ResponseIDs {
				rows = append(rows, int32(len(ids)+len(reqs[i].Prompt)-1+p))
				targets = append(targets, r.ResponseIDs[p])
				coef = append(coef, []float32{1, -1, 0.5, -0.5}[(i+j)%4]/float32(len(r.ResponseIDs)))
				want = append(want, float64(r.Logprobs[p]))
			}
			ids = append(ids, fed...)
			recorded = append(recorded, r.Routing.Experts...)
			seqs.Add(len(fed), -1)
		}
	}
	routing := &model.Routing{Chosen: make([]int16, len(ids)*width)}
	if keep {
		routing.Forced = recorded
	}
	m.ZeroGrads()
	g := tensor.NewGraph(m.Device(), tensor.Train)
	h := m.Forward(g, model.Input{IDs: ids, Pos: seqs.Positions(), Rows: rows, Routing: routing, Attend: m.InBatch(g, seqs)})
	lp := g.Logprob(h, m.Head(), &tensor.Targets{IDs: targets, Temperature: 1})
	lp.Backward(coef)
	var res mismatch
	n := 0.0
	for i, v := range lp.Values {
		d := math.Abs(float64(v) - want[i])
		res.diff = append(res.diff, d)
		res.mean += d / float64(len(lp.Values))
		res.max = max(res.max, d)
		at := int(rows[i]) * width
		other := false
		for l := 0; l < width; l += m.ExpertsPerToken() {
			a, b := routing.Chosen[at+l:at+l+m.ExpertsPerToken()], recorded[at+l:at+l+m.ExpertsPerToken()]
			for _, e := range a {
				other = other || !slices.Contains(b, e)
			}
		}
		if res.other = append(res.other, other); other {
			n++
		}
	}
	res.differ = n / float64(len(lp.Values))
	sorted := slices.Sorted(slices.Values(res.diff))
	res.p99 = sorted[len(sorted)*99/100]
	for _, p := range m.Params() {
		res.grad = append(res.grad, p.ReadBuffer(m.Device(), p.Grad)...)
	}
	return res
}
