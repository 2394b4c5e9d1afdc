package cuda

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// qwen06 is a model of Qwen3-0.6B's sizes, by hand: 28 layers of 15,730,944
// weights, an embedding of 151,936 x 1024 that is the head, a last norm.
var qwen06 = Shape{
	Params: 28*15730944 + 151936*1024 + 1024, Matrices: 28*15728640 + 151936*1024, Tied: true,
	Layers: 28, Dim: 1024, Vocab: 151936, Hidden: 3072, HeadNorms: true,
	Attention: tensor.AttentionShape{Heads: 16, KVHeads: 8, KeyDim: 128, ValueDim: 128},
}

func part(p Plan, name string) int64 {
	for _, x := range p {
		if x.Name == name {
			return x.Bytes
		}
	}
	return 0
}

func TestPlanCountsBytes(t *testing.T) {
	u := Use{Train: true, Reference: true, MicroBatchTokens: 4096, KVTokens: 1 << 16}
	p := NewPlan(qwen06, u)
	n := qwen06.Params
	for name, want := range map[string]int64{
		"weights":   4*n + 2*qwen06.Matrices,
		"gradients": 4*n + 4*151936*1024,
		"moments":   8 * n,
		"reference": 4*n + 2*qwen06.Matrices,
		// of a token in a layer: two residuals; q, k (before and after their norms), v, output; 16 sums; gate and up;
		// then one layer's gradients, with two norms and SwiGLU; then what comes before and after the layers
		"activations": 4096 * 4 * (29*(2*1024+2*2048+2*1024+1024+2048+16+2*3072) + 2*1024 + 3072 + 6*1024) * 9 / 8,
		"KV cache":    1 << 16 * 28 * 8 * 256 * 2,
	} {
		if got := part(p, name); got != want {
			t.Errorf("%s: %d bytes, want %d", name, got, want)
		}
	}
	u.BF16Moments, u.Recompute, u.Reference, u.Options.Float32 = true, true, false, true
	p = NewPlan(qwen06, u)
	for name, want := range map[string]int64{"weights": 4 * n, "moments": 4 * n, "reference": 0, "KV cache": 1 << 16 * 28 * 8 * 256 * 4} {
		if got := part(p, name); got != want {
			t.Errorf("float32, recomputed: %s: %d bytes, want %d", name, got, want)
		}
	}
	p = NewPlan(qwen06, Use{Train: true, Reference: true, BF16Weights: true, Trained: 1000, Copies: 2, MicroBatchTokens: 4096})
	masterless := 2*qwen06.Matrices + 4*(n-qwen06.Matrices)
	for name, want := range map[string]int64{"weights": masterless, "reference": masterless, "versions for sampling": 2 * masterless, "gradients": 4*1000 + 4*151936*1024, "moments": 8 * 1000} {
		if got := part(p, name); got != want {
			t.Errorf("without masters: %s: %d bytes, want %d", name, got, want)
		}
	}
	away := Use{Train: true, OffloadMoments: true, BF16Moments: true, Ranks: 4, MicroBatchTokens: 4096}
	p = NewPlan(qwen06, away)
	if got := [2]int64{part(p, "moments"), part(p, "passage of moments")}; got != [2]int64{0, 64 << 20} || HostBytes(qwen06, away) != 4*n {
		t.Errorf("offloaded: %v on the device, %d on the host, which has all ranks' %d", got, HostBytes(qwen06, away), 4*n)
	}
	if away.BF16Moments = false; HostBytes(qwen06, away) != 8*n || HostBytes(qwen06, u) != 0 || HostBytes(qwen06, Use{OffloadMoments: true}) != 0 {
		t.Errorf("the host has %d, %d and %d", HostBytes(qwen06, away), HostBytes(qwen06, u), HostBytes(qwen06, Use{OffloadMoments: true}))
	}
	latent := qwen06
	latent.Caches, latent.Derived = []tensor.AttentionShape{{Heads: 16, KVHeads: 1, KeyDim: 576, ValueDim: 512, ValuesInKeys: true}, {Heads: 4, KVHeads: 1, KeyDim: 128}}, 5000
	for f32, want := range map[bool][2]int64{false: {1 << 10 * 28 * 704 * 2, 6 * 5000}, true: {1 << 10 * 28 * 704 * 4, 4 * 5000}} {
		p = NewPlan(latent, Use{KVTokens: 1 << 10, Options: Options{Float32: f32}})
		if got := [2]int64{part(p, "KV cache"), part(p, "weights of the compressed cache")}; got != want {
			t.Errorf("compressed cache, float32 %v: %v bytes, want %v", f32, got, want)
		}
	}
	p = NewPlan(qwen06, Use{Train: true, BF16Moments: true, Recompute: true, MicroBatchTokens: 4096, Options: Options{Float32: true}})
	if a, b := part(p, "activations"), part(NewPlan(qwen06, Use{Train: true, MicroBatchTokens: 4096}), "activations"); a > b/4 {
		t.Errorf("recomputing keeps %d bytes of activations, all of them are %d", a, b)
	}
	if got := NewPlan(qwen06, Use{}); part(got, "gradients") != 0 || part(got, "KV cache") != 0 || got.Total() < 6*n/2 {
		t.Errorf("weights alone: %v", got)
	}
}

func TestPlanSaysWhatItNeeds(t *testing.T) {
	u := Use{Train: true, Reference: true, MicroBatchTokens: 4096, KVTokens: 1 << 16}
	p := NewPlan(qwen06, u)
	if got, want := p.Explain(139<<30), "needs 30.2 of 139.0 GiB: weights 3.3, gradients 2.8, moments 4.4, reference 3.3, activations 8.9, logits and operands 0.4, KV cache 7.0 GiB"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := Fit(qwen06, u, 139<<30); err != nil {
		t.Error(err)
	}
	total := p.Total()
	for _, c := range []struct {
		bytes int64
		want  string
	}{
		{total - 1, "would fit with trainer.bf16_moments: true"},
		{total * 3 / 4, "would fit with trainer.bf16_moments: true, trainer.recompute: true"},
		{total * 45 / 100, "would fit with trainer.offload_moments: true, trainer.recompute: true, trainer.micro_batch_tokens: 512, rollout.max_kv_tokens: 32768 (moments of 4.4 GiB in the host's memory)"},
		{1 << 30, "even with trainer.bf16_moments: true, trainer.offload_moments: true, trainer.recompute: true, trainer.micro_batch_tokens: 512, rollout.max_kv_tokens: 16384, trainer.bf16_weights: true it needs"},
	} {
		if err := Fit(qwen06, u, c.bytes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d of %d bytes: %v, want %q", c.bytes, total, err, c.want)
		}
	}
	// A setting that is not needed beside the others is not named.
	large := Use{Train: true, MicroBatchTokens: 512, KVTokens: 1 << 20}
	if err := Fit(qwen06, large, 42<<30); err == nil || !strings.HasSuffix(err.Error(), "it would fit with rollout.max_kv_tokens: 262144") {
		t.Errorf("a large cache: %v", err)
	}
	if err := Fit(qwen06, Use{}, 1<<20); err == nil || !strings.Contains(err.Error(), "a smaller model or a larger GPU") {
		t.Errorf("inference in a megabyte: %v", err)
	}
}
