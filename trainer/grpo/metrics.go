package grpo

import (
	"math"
	"slices"

	"github.com/grouse-rl/grouse"
)

// Metric documents one number that a step reports. A name that ends in "/*" is a
// family.
type Metric struct {
	Name    string
	Formula string
	Unit    string
	Source  string // "TRL": the name and the definition are TRL's; else "grouse"
}

// Metrics is the table of every metric of a step: those that LossMetrics and
// BatchMetrics compute and those that the trainer adds (marked "trainer" in the
// formula). docs/algorithms.md is written from it.
var Metrics = []Metric{
	{"loss", "sum_i loss_i over the update", "", "TRL"},
	{"policy_loss", "its part without the KL", "", "TRL"},
	{"kl_loss", "its KL part: sum weight beta kl", "", "grouse"},
	{"kl", "sum_it m kl / sum_it m, the estimator before beta, of sequences with reference logprobs", "nats", "TRL"},
	{"kl/*", "kl of one domain", "nats", "grouse"},
	{"ratio/mean", "mean over counted tokens of the ratio that is clipped", "", "grouse"},
	{"ratio/max", "its maximum", "", "grouse"},
	{"clip_ratio/low_mean", "share of counted tokens with r < 1-epsilon and A < 0", "", "TRL"},
	{"clip_ratio/low_min", "the smallest such share of a sequence", "", "TRL"},
	{"clip_ratio/high_mean", "share of counted tokens with r > 1+epsilon_high and A > 0", "", "TRL"},
	{"clip_ratio/high_max", "the largest such share of a sequence", "", "TRL"},
	{"clip_ratio/region_mean", "low_mean + high_mean", "", "TRL"},
	{"clip_ratio/dual_mean", "share of counted tokens with r > delta and A < 0", "", "grouse"},
	{"off_policy/divergence_mean", "mean over sequences of D", "nats/token", "grouse"},
	{"off_policy/divergence_p99", "99th percentile of D, nearest rank", "nats/token", "grouse"},
	{"off_policy/masked_frac", "share of sequences with M = 0", "", "grouse"},
	{"off_policy/masked_frac_negative", "share of sequences with A < 0 that have M = 0; a warning above 0.2", "", "grouse"},
	{"sampling/sampling_logp_difference/mean", "mean over counted tokens of |old - roll|", "nats", "TRL"},
	{"sampling/sampling_logp_difference/max", "its maximum", "nats", "TRL"},
	{"sampling/importance_sampling_ratio/min", "smallest rho of the engine correction", "", "TRL"},
	{"sampling/importance_sampling_ratio/mean", "mean rho: over tokens at token level, else over sequences", "", "TRL"},
	{"sampling/importance_sampling_ratio/max", "largest rho", "", "TRL"},
	{"sampling/importance_sampling_ratio/p99", "99th percentile of rho, nearest rank", "", "grouse"},
	{"sampling/importance_sampling_ratio/cut_frac", "share of rho outside [floor, cap]", "", "grouse"},
	{"sampling/importance_sampling_ratio/vetoed_frac", "share of sequences that the veto set to 0", "", "grouse"},
	{"sampling/importance_sampling_ratio/ess", "(sum w)^2 / (count sum w^2)", "", "grouse"},
	{"reward", "mean over completions of the total reward, groups that were filtered as flat counted", "", "TRL"},
	{"reward_trained", "the same over the groups that were trained on", "", "grouse"},
	{"reward_std", "standard deviation over completions, ddof 1", "", "TRL"},
	{"reward/*", "reward of one domain", "", "grouse"},
	{"rewards/*/mean", "mean of one reward before its weight, over the completions it has an opinion on", "", "TRL"},
	{"rewards/*/std", "its standard deviation, ddof 1", "", "TRL"},
	{"frac_reward_zero_std", "share of groups whose rewards are flat", "", "TRL"},
	{"completions/mean_length", "mean of T", "tokens", "TRL"},
	{"completions/min_length", "smallest T", "tokens", "TRL"},
	{"completions/max_length", "largest T", "tokens", "TRL"},
	{"completions/clipped_ratio", "share of completions that max_completion_length cut", "", "TRL"},
	{"completions/mean_terminated_length", "mean of T over those that were not cut; 0 if all were", "tokens", "TRL"},
	{"completions/min_terminated_length", "smallest such T", "tokens", "TRL"},
	{"completions/max_terminated_length", "largest such T", "tokens", "TRL"},
	{"entropy", "mean over counted tokens of the full vocabulary's entropy at sampling; absent if the engine records none", "nats", "TRL"},
	{"kept_set/mean_size", "mean size of the truncated kept sets", "ids", "grouse"},
	{"kept_set/max_size", "the largest", "ids", "grouse"},
	{"kept_set/truncated_frac", "share of counted tokens whose kept set is not the whole vocabulary", "", "grouse"},
	{"routing/differ_frac", "trainer: share of (token, layer) whose experts are not the set that the policy's router would take by itself, all updates of the step; kept routing only", "", "grouse"},
	{"routing/differ_frac/*", "trainer: the same of one layer", "", "grouse"},
	{"indexer/loss", "trainer: mean over rows and layers of the KL between attention and the lightning indexer, last update of the step; train_indexer only", "nats", "grouse"},
	{"groups/*", "groups of the step: admitted, or why not: flat_zero, flat_max, flat, stale, invalid, overlong, surplus, reward, sample (grouse.Admission.Metrics)", "groups", "grouse"},
	{"prompts_drawn", "candidates of the step, all waves", "groups", "grouse"},
	{"grad_norm", "trainer: global 2-norm of the gradient before clipping, last update of the step", "", "TRL"},
	{"learning_rate", "trainer: of the step's last update", "", "TRL"},
	{"skipped_updates", "trainer: updates of the step skipped because the gradient was not finite", "updates", "grouse"},
	{"num_tokens", "trainer: prompt and response tokens trained on since the stage began", "tokens", "TRL"},
	{"step_time", "trainer: wall time of the step", "s", "TRL"},
	{"time/*", "trainer: wall time of a part of the step", "s", "grouse"},
}

// LossMetrics folds the statistics of one update, in batch order, into metrics.
// A mean over nothing is left out rather than reported as 0.
func LossMetrics(stats []SequenceStats) grouse.Metrics {
	out := grouse.Metrics{}
	if len(stats) == 0 {
		return out
	}
	var loss, policy, klLoss float64
	var ratio, kl mean
	klBy := map[string]*mean{}
	var low, high, dual, tokens int
	ratioMax := 0.0
	lowMin, highMax := math.Inf(1), 0.0
	for i := range stats {
		s := &stats[i]
		loss, policy, klLoss = loss+s.Loss, policy+s.PolicyLoss, klLoss+s.KLLoss
		tokens += s.Tokens
		low, high, dual = low+s.ClippedLow, high+s.ClippedHigh, dual+s.ClippedDual
		ratio.add(s.RatioSum, s.Tokens)
		ratioMax = max(ratioMax, s.RatioMax)
		if s.Tokens > 0 {
			lowMin = min(lowMin, float64(s.ClippedLow)/float64(s.Tokens))
			highMax = max(highMax, float64(s.ClippedHigh)/float64(s.Tokens))
		}
		if s.HasKL {
			kl.add(s.KLSum, s.Tokens)
			if klBy[s.Domain] == nil {
				klBy[s.Domain] = &mean{}
			}
			klBy[s.Domain].add(s.KLSum, s.Tokens)
		}
	}
	out["loss"], out["policy_loss"], out["kl_loss"] = loss, policy, klLoss
	kl.into(out, "kl")
	for domain, m := range klBy {
		m.into(out, "kl/"+domain)
	}
	if tokens > 0 {
		n := float64(tokens)
		ratio.into(out, "ratio/mean")
		out["ratio/max"] = ratioMax
		out["clip_ratio/low_mean"], out["clip_ratio/low_min"] = float64(low)/n, lowMin
		out["clip_ratio/high_mean"], out["clip_ratio/high_max"] = float64(high)/n, highMax
		out["clip_ratio/region_mean"] = float64(low+high) / n
		out["clip_ratio/dual_mean"] = float64(dual) / n
	}
	offPolicyMetrics(out, stats)
	engineMetrics(out, stats)
	return out
}

func offPolicyMetrics(out grouse.Metrics, stats []SequenceStats) {
	var d mean
	var all []float64
	var dropped, negative int
	for i := range stats {
		s := &stats[i]
		if s.Advantage < 0 {
			negative++
		}
		if s.Dropped {
			dropped++
		}
		if s.HasDivergence {
			d.add(s.Divergence, 1)
			all = append(all, s.Divergence)
		}
	}
	if d.n == 0 {
		return
	}
	d.into(out, "off_policy/divergence_mean")
	out["off_policy/divergence_p99"] = nearestRank(all, 0.99)
	out["off_policy/masked_frac"] = float64(dropped) / float64(len(stats))
	if negative > 0 {
		out["off_policy/masked_frac_negative"] = float64(dropped) / float64(negative) // only negative ones are dropped
	}
}

func engineMetrics(out grouse.Metrics, stats []SequenceStats) {
	var mismatch, rho mean
	mismatchMax := 0.0
	var all []float64
	var sum, squares float64
	var cut, vetoed int
	for i := range stats {
		s := &stats[i]
		if s.HasMismatch {
			mismatch.add(s.MismatchSum, s.Tokens)
			mismatchMax = max(mismatchMax, s.MismatchMax)
		}
		cut += s.Cut
		if s.Vetoed {
			vetoed++
		}
		for j, r := range s.Rho {
			w := float64(s.EngineWeights[j])
			rho.add(float64(r), 1)
			all = append(all, float64(r))
			sum += w
			squares += float64(w * w)
		}
	}
	if mismatch.n > 0 {
		mismatch.into(out, "sampling/sampling_logp_difference/mean")
		out["sampling/sampling_logp_difference/max"] = mismatchMax
	}
	if rho.n == 0 {
		return
	}
	const key = "sampling/importance_sampling_ratio/"
	rho.into(out, key+"mean")
	out[key+"min"], out[key+"max"] = slices.Min(all), slices.Max(all)
	out[key+"p99"] = nearestRank(all, 0.99)
	out[key+"cut_frac"] = float64(cut) / float64(rho.n)
	out[key+"vetoed_frac"] = float64(vetoed) / float64(len(stats))
	if squares > 0 {
		out[key+"ess"] = sum * sum / (float64(rho.n) * squares)
	} else {
		out[key+"ess"] = 0
	}
}

// BatchMetrics describes a step's trained groups: rewards, lengths, entropy, kept
// sets. Groups come in candidate order.
func BatchMetrics(groups []grouse.ScoredGroup) grouse.Metrics {
	out := grouse.Metrics{}
	var total moments
	byDomain, byReward := map[string]*moments{}, map[string]*moments{}
	var lengths, terminated []float64
	var entropy, kept mean
	var keptMax, tokens, clipped, flat int
	for gi := range groups {
		g := &groups[gi]
		var rewards []float64
		for _, s := range g.Scores {
			if s.Reward != nil {
				rewards = append(rewards, *s.Reward)
			}
			for name, v := range s.Parts {
				at(byReward, name).add(v)
			}
		}
		for _, r := range rewards {
			total.add(r)
			at(byDomain, g.Group.Prompt.Domain).add(r)
		}
		if grouse.Flat(rewards) {
			flat++
		}
		for ri := range g.Group.Rollouts {
			r := &g.Group.Rollouts[ri]
			T := float64(len(r.ResponseIDs))
			lengths = append(lengths, T)
			if r.Finish == grouse.FinishLength {
				clipped++
			} else {
				terminated = append(terminated, T)
			}
			for t := range r.ResponseIDs {
				if r.MaskAt(t) == 0 {
					continue
				}
				tokens++
				if r.Entropy != nil {
					entropy.add(float64(r.Entropy[t]), 1)
				}
				if row := r.Kept.Row(t); row != nil {
					kept.add(float64(len(row)), 1)
					keptMax = max(keptMax, len(row))
				}
			}
		}
	}
	if len(groups) == 0 || len(lengths) == 0 {
		return out
	}
	total.into(out, "reward", "reward_std")
	out["reward_trained"] = out["reward"]
	for name, m := range byDomain {
		m.into(out, "reward/"+name, "")
	}
	for name, m := range byReward {
		m.into(out, "rewards/"+name+"/mean", "rewards/"+name+"/std")
	}
	out["frac_reward_zero_std"] = float64(flat) / float64(len(groups))
	lengthMetrics(out, "completions/mean_length", "completions/min_length", "completions/max_length", lengths)
	lengthMetrics(out, "completions/mean_terminated_length", "completions/min_terminated_length", "completions/max_terminated_length", terminated)
	out["completions/clipped_ratio"] = float64(clipped) / float64(len(lengths))
	entropy.into(out, "entropy")
	if kept.n > 0 {
		kept.into(out, "kept_set/mean_size")
		out["kept_set/max_size"] = float64(keptMax)
	}
	if tokens > 0 {
		out["kept_set/truncated_frac"] = float64(kept.n) / float64(tokens)
	}
	return out
}

// lengthMetrics reports 0 for no lengths, as TRL does.
func lengthMetrics(out grouse.Metrics, meanKey, minKey, maxKey string, lengths []float64) {
	out[meanKey], out[minKey], out[maxKey] = 0, 0, 0
	if len(lengths) == 0 {
		return
	}
	var m mean
	for _, l := range lengths {
		m.add(l, 1)
	}
	m.into(out, meanKey)
	out[minKey], out[maxKey] = slices.Min(lengths), slices.Max(lengths)
}

// mean is a running sum over n things.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(sum float64, n int) { m.sum, m.n = m.sum+sum, m.n+n }

// into reports the mean unless it is over nothing.
func (m *mean) into(out grouse.Metrics, key string) {
	if m.n > 0 {
		out[key] = m.sum / float64(m.n)
	}
}

// moments keeps values for a mean and a standard deviation.
type moments struct{ values []float64 }

func at(m map[string]*moments, name string) *moments {
	if m[name] == nil {
		m[name] = &moments{}
	}
	return m[name]
}

func (m *moments) add(v float64) { m.values = append(m.values, v) }

// into reports the mean under meanKey and, unless stdKey is empty, the standard
// deviation with ddof 1 (0 for one value).
func (m *moments) into(out grouse.Metrics, meanKey, stdKey string) {
	n := float64(len(m.values))
	if n == 0 {
		return
	}
	sum := 0.0
	for _, v := range m.values {
		sum += v
	}
	mu := sum / n
	out[meanKey] = mu
	if stdKey == "" {
		return
	}
	squares := 0.0
	for _, v := range m.values {
		squares += float64((v - mu) * (v - mu))
	}
	out[stdKey] = math.Sqrt(squares / max(n-1, 1))
}

// nearestRank returns the q-quantile of values, which it sorts: the smallest
// value that at least q of them do not exceed.
func nearestRank(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[max(0, int(math.Ceil(q*float64(len(values))))-1)]
}
