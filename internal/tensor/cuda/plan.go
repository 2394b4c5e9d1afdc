package cuda

import (
	"fmt"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// Shape is what a model's memory depends on.
type Shape struct {
	Params   int64 // weights, all of them
	Matrices int64 // of those the ones that are multiplied with: they get bfloat16 copies
	Tied     bool  // the embedding is the head: it has a second gradient

	Layers, Dim, Vocab int
	Attention          tensor.AttentionShape
	HeadNorms          bool // of queries and keys
	Latent             int  // numbers of a token that latent attention keeps besides queries, keys and values; 0
	// Caches are the shapes of what an engine keeps of a token in a layer; nil: keys
	// and values of Attention.
	Caches  []tensor.AttentionShape
	Derived int64 // weights that an engine makes of the model's for its compressed cache; 0
	Hidden  int   // of the feed-forward layers without experts

	ExpertLayers, Experts, PerToken int // of layers with experts; 0
	ExpertHidden, SharedHidden      int
}

// Use is what a run does with it: the settings that memory depends on.
type Use struct {
	Train            bool
	Trained          int64 // weights with gradients and moments; 0: all
	Reference        bool  // a second set of weights
	Copies           int   // further sets that samplers use, of versions that training has left behind
	Ranks            int   // GPUs that share the moments; 0: one
	BF16Moments      bool
	OffloadMoments   bool // to the host's memory
	BF16Weights      bool // matrices in bfloat16 alone, without float32 masters
	Recompute        bool
	MicroBatchTokens int
	KVTokens         int // positions in the engine's cache; 0: no engine
	Options          Options
}

// Part is memory for one purpose.
type Part struct {
	Name  string
	Bytes int64
}

// Plan is the memory of a run by purpose.
type Plan []Part

// layerFloats is how many numbers of a token one layer makes, and how many of them
// the tape keeps until the backward pass: norms and SwiGLU are computed again.
func (s *Shape) layerFloats(experts bool) (made, kept int64) {
	a := &s.Attention
	q, k, v := a.Heads*a.KeyDim, a.KVHeads*a.KeyDim, a.KVHeads*a.ValueDim
	n := 2*s.Dim + q + k + v + a.Heads*a.ValueDim + a.Heads + s.Latent // two residuals, q, k, v, output, sums
	if s.HeadNorms {
		n += q + k
	}
	again := 2 * s.Dim // norms
	if experts {
		n += s.Experts + s.PerToken + s.PerToken*(2*s.Dim+2*s.ExpertHidden) + s.Dim
		again += s.PerToken * s.ExpertHidden
		if s.SharedHidden > 0 {
			n += 2*s.SharedHidden + s.Dim
			again += s.SharedHidden
		}
	} else {
		n += 2 * s.Hidden
		again += s.Hidden
	}
	return int64(n + again), int64(n)
}

// activations is how many numbers of a token exist at once, gradients included:
// in the backward pass those of about one layer.
func (s *Shape) activations(u *Use) int64 {
	largest, all := int64(0), int64(0)
	for _, l := range []struct {
		experts bool
		n       int
	}{{true, s.ExpertLayers}, {false, s.Layers - s.ExpertLayers}} {
		if l.n == 0 {
			continue
		}
		made, kept := s.layerFloats(l.experts)
		largest, all = max(largest, made), all+int64(l.n)*kept
	}
	ends := int64(6 * s.Dim) // embeddings, the last norm, the rows that are judged, their gradients
	switch {
	case !u.Train:
		return largest + ends
	case u.Recompute:
		return int64(s.Layers*s.Dim) + 2*largest + ends
	}
	return all + largest + ends
}

// NewPlan computes the memory of a run from sizes alone. Activations are a little
// over the truth or under it: buffers are shared by sizes that are nearly equal.
func NewPlan(s Shape, u Use) Plan {
	weights := 4 * s.Params
	switch {
	case u.BF16Weights:
		weights -= 2 * s.Matrices
	case !u.Options.Float32:
		weights += 2 * s.Matrices
	}
	p := Plan{{"weights", weights}}
	add := func(name string, bytes int64) {
		if bytes > 0 {
			p = append(p, Part{name, bytes})
		}
	}
	if u.Train {
		gradients := 4 * trained(&s, &u)
		if s.Tied {
			gradients += 4 * int64(s.Vocab) * int64(s.Dim)
		}
		add("gradients", gradients)
		if u.OffloadMoments {
			add("passage of moments", 4*u.Options.offloadBytes())
		} else {
			ranks := int64(max(1, u.Ranks))
			add("moments", (moments(&s, &u)+ranks-1)/ranks)
		}
	}
	if u.Reference {
		add("reference", weights)
	}
	add("versions for sampling", int64(u.Copies)*weights)
	tokens := int64(u.MicroBatchTokens)
	add("activations", tokens*4*s.activations(&u)*9/8)
	chunk := u.Options.ChunkBytes
	if chunk == 0 {
		chunk = defaultChunk
	}
	chunk = max(4*int64(s.Vocab), min(chunk, 4*int64(s.Vocab)*tokens))
	operands := int64(0)
	if !u.Options.Float32 {
		chunk += chunk / 2
		operands = 2 * 2 * tokens * int64(max(s.Hidden, s.PerToken*max(s.ExpertHidden, s.Dim), s.Attention.Heads*s.Attention.KeyDim)) // two that are kept
	}
	add("logits and operands", chunk+operands)
	size, derived := int64(2), 6*s.Derived
	if u.Options.Float32 {
		size, derived = 4, 4*s.Derived
	}
	if u.KVTokens > 0 {
		add("weights of the compressed cache", derived)
	}
	add("KV cache", int64(u.KVTokens)*int64(s.Layers)*s.position()*size)
	return p
}

// trained is how many weights have gradients and moments.
func trained(s *Shape, u *Use) int64 {
	if u.Trained == 0 {
		return s.Params
	}
	return u.Trained
}

// moments is what all ranks' moments take.
func moments(s *Shape, u *Use) int64 {
	if u.BF16Moments {
		return 4 * trained(s, u)
	}
	return 8 * trained(s, u)
}

// HostBytes is what a run needs of the machine's memory for what does not stay on its
// devices: the moments of all ranks, if they are offloaded.
func HostBytes(s Shape, u Use) int64 {
	if !u.Train || !u.OffloadMoments {
		return 0
	}
	return moments(&s, &u)
}

// position is how many numbers an engine keeps of a token in a layer.
func (s *Shape) position() int64 {
	caches := s.Caches
	if caches == nil {
		caches = []tensor.AttentionShape{s.Attention}
	}
	n := 0
	for _, a := range caches {
		n += a.KVHeads * a.KeyDim
		if !a.ValuesInKeys {
			n += a.KVHeads * a.ValueDim
		}
	}
	return int64(n)
}

// Total is the sum of the parts.
func (p Plan) Total() int64 {
	sum := int64(0)
	for _, x := range p {
		sum += x.Bytes
	}
	return sum
}

const gib = 1 << 30

// String lists the parts: "weights 9.0, moments 12.1 GiB".
func (p Plan) String() string {
	var parts []string
	for _, x := range p {
		parts = append(parts, fmt.Sprintf("%s %.1f", x.Name, float64(x.Bytes)/gib))
	}
	return strings.Join(parts, ", ") + " GiB"
}

// Explain says what a run needs of a device's memory:
//
//	needs 61.2 of 139.0 GiB: weights 9.0, moments 12.1, ... GiB
func (p Plan) Explain(total int64) string {
	return fmt.Sprintf("needs %.1f of %.1f GiB: %v", float64(p.Total())/gib, float64(total)/gib, p)
}

// change is a setting that makes a run need less.
type change struct {
	text  string
	apply func(u *Use)
}

// changes lists what can be done about a run that does not fit, the cheapest in time
// first and what changes the weights' numbers last, up to what would make it fit.
func changes(s Shape, u Use, bytes int64) (list []change, fits bool) {
	enough := func() bool { return NewPlan(s, u).Total() <= bytes }
	try := func(possible bool, text string, apply func(u *Use)) {
		if possible && !enough() {
			apply(&u)
			list = append(list, change{text, apply})
		}
	}
	// halve tries ever smaller numbers down to least.
	halve := func(key string, n, least int, set func(u *Use, n int)) {
		if n <= least || enough() {
			return
		}
		for n > least && !enough() {
			n = max(least, n/2)
			set(&u, n)
		}
		list = append(list, change{fmt.Sprintf("%s: %d", key, n), func(u *Use) { set(u, n) }})
	}
	try(u.Train && !u.BF16Moments, "trainer.bf16_moments: true", func(u *Use) { u.BF16Moments = true })
	try(u.Train && !u.OffloadMoments, "trainer.offload_moments: true", func(u *Use) { u.OffloadMoments = true })
	try(u.Train && !u.Recompute, "trainer.recompute: true", func(u *Use) { u.Recompute = true })
	halve("trainer.micro_batch_tokens", u.MicroBatchTokens, 512, func(u *Use, n int) { u.MicroBatchTokens = n })
	halve("rollout.max_kv_tokens", u.KVTokens, 1<<14, func(u *Use, n int) { u.KVTokens = n })
	try(u.Train && !u.BF16Weights && !u.Options.Float32, "trainer.bf16_weights: true", func(u *Use) { u.BF16Weights = true })
	return list, enough()
}

// needed leaves out the changes without which a run fits all the same.
func needed(s Shape, u Use, bytes int64, list []change) []change {
	for i := len(list) - 1; i >= 0; i-- {
		with, others := u, slices.Delete(slices.Clone(list), i, i+1)
		for _, c := range others {
			c.apply(&with)
		}
		if NewPlan(s, with).Total() <= bytes {
			list = others
		}
	}
	return list
}

// Fit returns nil if a run fits bytes, else an error that says what it needs and
// which settings would make it fit.
func Fit(s Shape, u Use, bytes int64) error {
	plan := NewPlan(s, u)
	if plan.Total() <= bytes {
		return nil
	}
	list, fits := changes(s, u, bytes)
	if fits {
		list = needed(s, u, bytes, list)
	}
	var texts []string
	for _, c := range list {
		texts = append(texts, c.text)
		c.apply(&u)
	}
	host := ""
	if n := HostBytes(s, u); n > 0 {
		host = fmt.Sprintf(" (moments of %.1f GiB in the host's memory)", float64(n)/gib)
	}
	switch {
	case fits:
		return fmt.Errorf("the GPU's memory is too small: %s; it would fit with %s%s", plan.Explain(bytes), strings.Join(texts, ", "), host)
	case len(list) > 0:
		return fmt.Errorf("the GPU's memory is too small: %s; even with %s it needs %.1f GiB: take a smaller model or a larger GPU", plan.Explain(bytes), strings.Join(texts, ", "), float64(NewPlan(s, u).Total())/gib)
	}
	return fmt.Errorf("the GPU's memory is too small: %s; take a smaller model or a larger GPU", plan.Explain(bytes))
}
