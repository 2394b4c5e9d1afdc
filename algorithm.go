package grouse

// Names of the recipe's choices, as recipes spell them.
const (
	AdvantageMean    = "mean"
	AdvantageMeanStd = "mean_std"

	SeqMeanTokenMean    = "seq_mean_token_mean"
	TokenMean           = "token_mean"
	SeqMeanTokenSum     = "seq_mean_token_sum"
	SeqMeanTokenSumNorm = "seq_mean_token_sum_norm"

	LevelToken    = "token"
	LevelSequence = "sequence"

	PiOldRollout    = "rollout"
	PiOldRecomputed = "recomputed"

	KLNone = "none"

	FilterNone    = "none"
	FilterTotal   = "total"
	FilterOutcome = "outcome"
)

// Algorithm is the policy objective of a stage: every number that
// trainer/grpo's maths depends on (spec sections 1 to 6 and 8). The JSON names
// are the recipe's keys. It is filled by internal/config from a preset and the
// recipe; nothing here has a hidden default.
type Algorithm struct {
	Advantage     string  `json:"advantage"`      // mean | mean_std (1.2)
	AdvantageDDoF int     `json:"advantage_ddof"` // 0 or 1, of mean_std's standard deviation
	AdvantageEps  float64 `json:"advantage_eps"`  // added to the standard deviation

	Epsilon     float64 `json:"epsilon"`      // lower clip width: r >= 1-epsilon (1.4)
	EpsilonHigh float64 `json:"epsilon_high"` // upper clip width: r <= 1+epsilon_high
	Delta       float64 `json:"delta"`        // dual clip c, > 1; 0: off

	LossAggregation string  `json:"loss_aggregation"` // seq_mean_token_mean | token_mean | seq_mean_token_sum | seq_mean_token_sum_norm (1.5)
	LossNormTokens  float64 `json:"loss_norm_tokens"` // L of seq_mean_token_sum_norm, tokens

	ImportanceSamplingLevel string `json:"importance_sampling_level"` // token | sequence (1.6)
	PiOld                   string `json:"pi_old"`                    // rollout | recomputed (1.1)

	KLEstimator string  `json:"kl_estimator"` // none, k1, k2, k3, k1_is, k2_is, k3_is (2)
	Beta        float64 `json:"beta"`         // strength for domains without one of their own
	KLInReward  float64 `json:"kl_in_reward"` // coefficient of sum_t (old - ref) taken off the reward (2.2); 0: off

	OffPolicyMaskThreshold *float64 `json:"off_policy_mask_threshold"` // delta of section 3, nats per token; nil: off

	EngineCorrection EngineCorrection `json:"engine_correction"` // (6)

	NumIterations int `json:"num_iterations"` // passes over a step's rollouts
	MiniBatches   int `json:"mini_batches"`   // optimizer updates in a pass

	FilterGroups             string  `json:"filter_groups"` // none | total | outcome: which groups are flat (8)
	MaxWaves                 int     `json:"max_waves"`     // generation waves a step may take to fill up
	MaskTruncatedCompletions bool    `json:"mask_truncated_completions"`
	RetirePassRate           float64 `json:"retire_pass_rate"` // a prompt solved at this rate is not drawn again; 0: off
	Curriculum               string  `json:"curriculum"`       // uniform | prioritized | easy_to_hard (8)

	RefModelSyncSteps int  `json:"ref_model_sync_steps"` // the reference becomes the policy every so many steps; 0: never
	KeepRouting       bool `json:"keep_routing"`         // (4)
	KeepSamplingMask  bool `json:"keep_sampling_mask"`   // (5)
	ShuffleRewards    bool `json:"shuffle_rewards"`      // control experiment: rewards are dealt out at random within the batch, so nothing can be learned
	ReferenceRouting  bool `json:"reference_routing"`    // the reference replays the recorded routing too
}

// EngineCorrection corrects the mismatch between a foreign rollout engine and
// the trainer (spec section 6).
type EngineCorrection struct {
	Mode  string  `json:"mode"`  // none, or {token,sequence,geometric}_{truncate,mask,reject}
	Cap   float64 `json:"cap"`   // C
	Floor float64 `json:"floor"` // c
	Veto  float64 `json:"veto"`  // the whole sequence counts 0 if a token's rho is below; 0: off
}

// UsesReference reports whether the algorithm reads the reference policy's
// logprobs, given the domains' strengths.
func (a *Algorithm) UsesReference(domains []Domain) bool {
	if a.KLInReward != 0 {
		return true
	}
	if a.KLEstimator == KLNone {
		return false
	}
	for _, d := range domains {
		if d.BetaOr(a.Beta) != 0 {
			return true
		}
	}
	return false
}

// Updates returns the number of optimizer updates in a step.
func (a *Algorithm) Updates() int { return a.NumIterations * a.MiniBatches }
