package config

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/track"
	"github.com/grouse-rl/grouse/trainer/grpo"
)

// check refuses what decodes but makes no sense: impossible combinations and
// settings that would have no effect.
func check(r *Resolved) error {
	c := &checker{r: r}
	s := &r.Spec
	c.model()
	c.oneOf("on_bad_row", s.OnBadRow, "stop", "skip")
	names := map[string]bool{}
	for i := range s.Stages {
		c.stage(i, names)
		names[s.Stages[i].Name] = true
	}
	c.eval()
	for i, t := range s.Trackers {
		if err := track.Check(t); err != nil {
			c.refuse(fmt.Sprintf("trackers[%d].use", i), grouse.FixOf(err), "%v", err)
		}
	}
	return c.err
}

type checker struct {
	r   *Resolved
	err error
}

// refuse notes the first refusal, at the place that the key came from.
func (c *checker) refuse(path, fix, format string, args ...any) {
	if c.err != nil {
		return
	}
	at := ""
	for p := path; ; {
		if o, ok := c.r.Origin[p]; ok {
			at = o.String() + ": "
			break
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			break
		}
		p = p[:i]
	}
	c.err = grouse.Errorf(grouse.Invalid, "%s%s: %s", at, path, fmt.Sprintf(format, args...)).WithFix("%s", fix)
}

func (c *checker) oneOf(path, got string, names ...string) {
	if slices.Contains(names, got) {
		return
	}
	fix := strings.Join(names, ", ")
	if n := nearest(got, names); n != "" {
		fix = fmt.Sprintf("did you mean %q?", n)
	}
	c.refuse(path, fix, "unknown value %q", got)
}

func (c *checker) positive(path string, v int) {
	if v < 1 {
		c.refuse(path, "want at least 1", "is %d", v)
	}
}

func (c *checker) model() {
	m := &c.r.Spec.Model
	n := 0
	for _, set := range []bool{m.Path != "", m.Hub != "", m.Tiny != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		c.refuse("model", "give one of path, hub and tiny", "%d of path, hub and tiny are given", n)
	}
	if m.From != nil && m.Path == "" {
		c.refuse("model.from", "remove it: grouse fork writes it", "has no effect without path")
	}
	if m.Indexer != nil && m.Tiny != nil {
		c.refuse("model.indexer", "put its keys into tiny", "has no effect on a model from scratch")
	}
}

func (c *checker) stage(i int, earlier map[string]bool) {
	s := &c.r.Spec.Stages[i]
	at := func(key string) string { return fmt.Sprintf("stages[%d].%s", i, key) }
	c.oneOf(at("kind"), string(s.Kind), stageKinds...)
	if earlier[s.Name] {
		c.refuse(at("name"), "give each stage a name of its own", "a stage before is called %q too", s.Name)
	}
	if err := CheckName(s.Name); err != nil {
		c.refuse(at("name"), grouse.FixOf(err), "%v", err)
	}
	if s.Model != "" && s.Model != "base" && !earlier[s.Model] {
		c.refuse(at("model"), "base, or the name of an earlier stage", "no earlier stage %q", s.Model)
	}
	if len(s.Domains) == 0 {
		c.refuse(at("domains"), "domains: {NAME: {data: ..., rewards: [...]}}", "no domain is given")
	}
	for j := range s.Domains {
		c.domain(fmt.Sprintf("%s[%d]", at("domains"), j), s, &s.Domains[j], earlier)
	}
	c.positive(at("steps"), s.Steps)
	c.trainer(at("trainer"), &s.Trainer)
	if s.Trainer.TrainIndexer == grouse.IndexerWarmup && s.Kind != grouse.StageSFT {
		c.refuse(at("trainer.train_indexer"), "warmup in an sft stage, sparse here", "warmup trains on dense attention over text, not on completions that sparse attention made")
	}
	switch s.Kind {
	case grouse.StageSFT:
		c.positive(at("sft.batch_size"), s.SFT.BatchSize)
		c.positive(at("sft.max_length"), s.SFT.MaxLength)
	case grouse.StageRL:
		c.rollout(at("rollout"), s)
		c.algorithm(at("algorithm"), s)
	case grouse.StageRejectionSampling:
		c.rollout(at("rollout"), s)
		c.positive(at("rejection_sampling.n"), s.Reject.N)
		if s.Reject.Keep < 1 || s.Reject.Keep > s.Reject.N {
			c.refuse(at("rejection_sampling.keep"), "keep between 1 and n completions", "is %d of %d", s.Reject.Keep, s.Reject.N)
		}
	}
}

func (c *checker) domain(path string, s *grouse.Stage, d *grouse.Domain, earlier map[string]bool) {
	c.data(path+".data", &d.Data, earlier)
	if !(d.Weight > 0) || math.IsInf(d.Weight, 0) {
		c.refuse(path+".weight", "a number above 0; leave the domain out instead of giving it 0", "is %v", d.Weight)
	}
	c.oneOf(path+".thinking", d.Thinking, "", "true", "false", "mixed")
	if s.Kind == grouse.StageSFT {
		if len(d.Rewards) > 0 {
			c.refuse(path+".rewards", "remove them: sft learns from the completion column", "an sft stage reads no rewards")
		}
		return
	}
	if len(d.Rewards) == 0 {
		c.refuse(path+".rewards", "rewards: [math]", "domain %q has no reward", d.Name)
	}
	seen := map[string]bool{}
	for k, r := range d.Rewards {
		at := fmt.Sprintf("%s.rewards[%d]", path, k)
		if seen[r.Name] {
			c.refuse(at+".name", "give it a name of its own: {use: X, name: Y}", "two rewards are called %q", r.Name)
		}
		seen[r.Name] = true
		if r.Weight == 0 && !r.Gate {
			c.refuse(at+".weight", "remove the reward, or make it a gate", "a weight of 0 has no effect")
		}
		if r.Use == "soft_overlong" && s.Algorithm.MaskTruncatedCompletions {
			c.refuse(at, "use one of them", "overlong shaping and mask_truncated_completions both deal with long completions")
		}
	}
}

func (c *checker) data(path string, d *grouse.DataSpec, earlier map[string]bool) {
	n := 0
	for _, set := range []bool{d.Path != "", d.Hub != "", d.Task != "", d.Stage != ""} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		c.refuse(path, "give one of path, hub, task and stage", "%d of path, hub, task and stage are given", n)
	case d.Params != nil && d.Task == "":
		c.refuse(path+".params", "remove it: only generators (task) have parameters", "has no effect here")
	case d.Config != "" && d.Hub == "":
		c.refuse(path+".config", "remove it: only hub data sets have configurations", "has no effect here")
	case d.Split != "" && d.Hub == "" && d.Task == "":
		c.refuse(path+".split", "remove it: a file has no splits", "has no effect here")
	case d.Stage != "" && !earlier[d.Stage]:
		c.refuse(path+".stage", "the name of an earlier rejection_sampling stage", "no earlier stage %q", d.Stage)
	}
}

func (c *checker) rollout(path string, s *grouse.Stage) {
	r := &s.Rollout
	c.oneOf(path+".engine", r.Engine, "local", "openai", "vllm", "sglang")
	if (r.URL == "") != (r.Engine == "local") {
		c.refuse(path+".url", "an external engine needs a url; the local one has none", "is %q with engine %s", r.URL, r.Engine)
	}
	c.positive(path+".num_generations", r.NumGenerations)
	c.positive(path+".prompts_per_step", r.PromptsPerStep)
	c.positive(path+".max_prompt_length", r.MaxPromptLength)
	c.positive(path+".max_completion_length", r.MaxCompletionLength)
	c.positive(path+".max_kv_tokens", r.MaxKVTokens)
	if s.Kind == grouse.StageRL && r.NumGenerations < 2 {
		c.refuse(path+".num_generations", "at least 2", "a group of one has no advantage")
	}
	if r.MaxStaleness < 0 {
		c.refuse(path+".max_staleness", "0 or more steps", "is %d", r.MaxStaleness)
	}
	p := r.Sampling
	switch {
	case !(p.Temperature > 0):
		c.refuse(path+".sampling.temperature", "a number above 0: greedy samples of one prompt are all the same", "is %v", p.Temperature)
	case p.TopK < 0:
		c.refuse(path+".sampling.top_k", "0 for off, or a number of tokens", "is %d", p.TopK)
	case !(p.TopP > 0 && p.TopP <= 1):
		c.refuse(path+".sampling.top_p", "above 0, at most 1 (1 is off)", "is %v", p.TopP)
	case !(p.MinP >= 0 && p.MinP < 1):
		c.refuse(path+".sampling.min_p", "0 (off) to 1", "is %v", p.MinP)
	case s.Kind == grouse.StageRL && s.Algorithm.KeepSamplingMask && (p.TopP < 1 || p.MinP > 0) && (p.TopK == 0 || p.TopK > 512):
		c.refuse(path+".sampling.top_k", "set rollout.top_k to at most 512 beside top_p and min_p", "kept sampling masks of unbounded size: a flat distribution would store the whole vocabulary")
	}
}

func (c *checker) algorithm(path string, s *grouse.Stage) {
	a := &s.Algorithm
	if err := grpo.Validate(a, s.Domains); err != nil {
		key := path
		if _, rest, ok := strings.Cut(err.Error(), "algorithm: "); ok {
			if word, _, ok := strings.Cut(rest, " "); ok {
				key = path + "." + strings.TrimSuffix(word, ":")
			}
		}
		c.refuse(key, grouse.FixOf(err), "%v", err)
	}
	c.positive(path+".num_iterations", a.NumIterations)
	c.positive(path+".mini_batches", a.MiniBatches)
	c.positive(path+".max_waves", a.MaxWaves)
	c.oneOf(path+".filter_groups", a.FilterGroups, "none", "total", "outcome")
	c.oneOf(path+".curriculum", a.Curriculum, "uniform", "prioritized", "easy_to_hard")
	if a.MiniBatches > s.Rollout.PromptsPerStep {
		c.refuse(path+".mini_batches", "at most rollout.prompts_per_step", "%d mini-batches of %d groups", a.MiniBatches, s.Rollout.PromptsPerStep)
	}
	if !(a.RetirePassRate >= 0 && a.RetirePassRate <= 1) {
		c.refuse(path+".retire_pass_rate", "0 (off) to 1", "is %v", a.RetirePassRate)
	}
}

func (c *checker) trainer(path string, t *grouse.TrainerSpec) {
	c.oneOf(path+".backend", t.Backend, "cpu", "cuda", "torch")
	c.oneOf(path+".train_indexer", t.TrainIndexer, grouse.IndexerNone, grouse.IndexerWarmup, grouse.IndexerSparse)
	c.oneOf(path+".lr_scheduler_type", t.Schedule, "constant", "linear", "cosine")
	c.positive(path+".micro_batch_tokens", t.MicroBatchTokens)
	if t.BF16Weights && t.Backend != "cuda" {
		c.refuse(path+".bf16_weights", "remove it, or set trainer.backend: cuda", "%s trains float32 weights only", t.Backend)
	}
	if t.OffloadMoments && t.Backend != "cuda" {
		c.refuse(path+".offload_moments", "remove it, or set trainer.backend: cuda", "%s has no memory of its own that the moments could leave", t.Backend)
	}
	for _, f := range []struct {
		key  string
		v    float64
		ok   bool
		want string
	}{
		{"learning_rate", t.LearningRate, t.LearningRate > 0, "a number above 0"},
		{"adam_beta1", t.Beta1, t.Beta1 >= 0 && t.Beta1 < 1, "0 to 1"},
		{"adam_beta2", t.Beta2, t.Beta2 >= 0 && t.Beta2 < 1, "0 to 1"},
		{"adam_epsilon", t.Eps, t.Eps > 0, "a number above 0"},
		{"weight_decay", t.WeightDecay, t.WeightDecay >= 0, "0 or more"},
		{"max_grad_norm", t.MaxGradNorm, t.MaxGradNorm >= 0, "0 (off) or more"},
		{"min_lr_ratio", t.MinLRRatio, t.MinLRRatio >= 0 && t.MinLRRatio <= 1, "0 to 1"},
		{"warmup_steps", float64(t.WarmupSteps), t.WarmupSteps >= 0, "0 or more"},
		{"ranks", float64(t.Ranks), t.Ranks >= 0 && t.Ranks <= 1024, "0 (one process) to 1024"},
	} {
		if !f.ok {
			c.refuse(path+"."+f.key, f.want, "is %v", f.v)
		}
	}
}

func (c *checker) eval() {
	e := &c.r.Spec.Eval
	if e.Data.Path == "" && e.Data.Hub == "" && e.Data.Task == "" {
		if e.Every != 0 {
			c.refuse("eval.every", "give eval.data, or remove it", "there is no data to evaluate on")
		}
		return
	}
	if e.Every < 0 {
		c.refuse("eval.every", "0 or more steps", "is %d", e.Every)
	}
	kind, n, err := Metric(e.Metric)
	if err != nil {
		c.refuse("eval.metric", grouse.FixOf(err), "%v", err)
		return
	}
	if e.N == 0 {
		e.N = n
	}
	if e.N < n {
		c.refuse("eval.n", "at least the metric's number", "%d completions for %s", e.N, e.Metric)
	}
	if kind != "accuracy" && e.Sampling.Temperature == 0 && e.N > 1 {
		c.refuse("eval.sampling.temperature", "a temperature above 0", "%d greedy completions of a prompt are all the same", e.N)
	}
	if len(e.Rewards) == 0 {
		for _, s := range slices.Backward(c.r.Spec.Stages) { // what the run is trained for in the end
			for _, d := range s.Domains {
				if len(e.Rewards) == 0 && len(d.Rewards) > 0 && (e.Domain == "" || e.Domain == d.Name) {
					e.Domain, e.Rewards = d.Name, d.Rewards
				}
			}
		}
		if len(e.Rewards) == 0 {
			c.refuse("eval.rewards", "eval: {rewards: [math]}", "nothing says how to judge an answer")
		}
	}
	if e.MaxTokens == 0 {
		for _, s := range c.r.Spec.Stages {
			if s.Kind == grouse.StageRL {
				e.MaxTokens = s.Rollout.MaxCompletionLength
			}
		}
	}
	c.positive("eval.max_completion_length", e.MaxTokens)
}

// Metric splits the name of an evaluation's metric: accuracy, avg@N, pass@N.
func Metric(name string) (kind string, n int, err error) {
	kind, at, ok := strings.Cut(name, "@")
	if name == "accuracy" {
		return name, 1, nil
	}
	if _, scan := fmt.Sscanf(at, "%d", &n); ok && scan == nil && n > 0 && (kind == "avg" || kind == "pass") && fmt.Sprint(n) == at {
		return kind, n, nil
	}
	return "", 0, grouse.Errorf(grouse.Invalid, "unknown metric %q", name).WithFix("accuracy, avg@N or pass@N")
}
