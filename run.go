package grouse

// RunSpec is a resolved recipe: everything a run depends on besides its data
// and initial weights. internal/config fills it from a recipe file, a preset
// and overrides; it is saved with the run and everyone takes it as it is.
type RunSpec struct {
	Name        string         `json:"name"`   // of the run: [a-z0-9][a-z0-9_-]{0,63}
	Recipe      string         `json:"recipe"` // name of the recipe
	Description string         `json:"description,omitempty"`
	Preset      string         `json:"preset,omitempty"`
	Seed        uint64         `json:"seed"`
	Model       ModelSpec      `json:"model"`
	Stages      []Stage        `json:"stages"` // at least one
	Eval        EvalSpec       `json:"eval"`
	Checkpoint  CheckpointSpec `json:"checkpoint"`
	Trackers    []TrackerSpec  `json:"trackers,omitempty"`
	OnBadRow    string         `json:"on_bad_row"`        // stop | skip: a data row that cannot be used
	RewardGuard float64        `json:"reward_error_rate"` // share of failed groups in a step that pauses the run
}

// ModelSpec says where the initial policy comes from: exactly one of Path,
// Hub and Tiny is set.
type ModelSpec struct {
	Path         string         `json:"path,omitempty"`          // a Hugging Face folder or a .gguf file
	Hub          string         `json:"hub,omitempty"`           // ORG/NAME[@revision]
	Tiny         map[string]any `json:"tiny,omitempty"`          // a config.json to initialize from scratch, with "tokenizer"
	Indexer      map[string]any `json:"indexer,omitempty"`       // lightning indexers for a dense DeepSeek-V3 folder: index_n_heads, index_head_dim, index_topk
	ChatTemplate string         `json:"chat_template,omitempty"` // overrides the model's own; "none": prompts are plain text
	From         *ForkSpec      `json:"from,omitempty"`          // of a fork: the checkpoint that Path is a copy of
}

// ForkSpec names the weights of a run that another begins with. It is part of the
// recipe, so the new run's chain of hashes begins with it.
type ForkSpec struct {
	Run   string `json:"run"`
	Stage string `json:"stage"`
	Step  int64  `json:"step"`
	Chain string `json:"chain"` // of the weights
}

// StageKind names what a stage does.
type StageKind string

const (
	StageSFT               StageKind = "sft"
	StageRL                StageKind = "rl"
	StageRejectionSampling StageKind = "rejection_sampling"
)

// Stage is one stretch of a run with its own data, objective and optimizer.
type Stage struct {
	Name      string      `json:"name"` // unique in the run
	Kind      StageKind   `json:"kind"`
	Steps     int         `json:"steps"` // sft: optimizer updates; rl: GRPO steps; rejection_sampling: 1
	Domains   []Domain    `json:"domains"`
	Rollout   RolloutSpec `json:"rollout"`
	Algorithm Algorithm   `json:"algorithm"`
	Trainer   TrainerSpec `json:"trainer"`
	SFT       SFTSpec     `json:"sft"`
	Reject    RejectSpec  `json:"rejection_sampling"`
	// Model is the stage's starting checkpoint: "" the stage before it, "base"
	// the run's model, else the name of an earlier stage.
	Model string `json:"model,omitempty"`
}

// Domain is one kind of task: data, rewards, KL strength, share of the batch.
type Domain struct {
	Name     string       `json:"name"`
	Data     DataSpec     `json:"data"`
	Weight   float64      `json:"weight"`         // share of a step's prompts, normalized over the domains
	Beta     *float64     `json:"beta,omitempty"` // KL strength; nil: the algorithm's
	Rewards  []RewardSpec `json:"rewards,omitempty"`
	System   string       `json:"system,omitempty"`   // system prompt
	Thinking string       `json:"thinking,omitempty"` // "", true, false, mixed: the chat template's toggle
}

// BetaOr returns the domain's KL strength, dflt if it has none of its own.
func (d *Domain) BetaOr(dflt float64) float64 {
	if d.Beta != nil {
		return *d.Beta
	}
	return dflt
}

// DataSpec says where rows come from: exactly one of Path, Hub, Task and Stage
// is set.
type DataSpec struct {
	Path       string         `json:"path,omitempty"`       // .jsonl, .json, .parquet, .csv, or a folder of them
	Hub        string         `json:"hub,omitempty"`        // ORG/NAME of a data set
	Config     string         `json:"config,omitempty"`     // hub: configuration
	Task       string         `json:"task,omitempty"`       // a built-in generator: see internal/data
	Params     map[string]any `json:"params,omitempty"`     // of the generator
	Stage      string         `json:"stage,omitempty"`      // the output of a rejection_sampling stage
	Split      string         `json:"split,omitempty"`      // of a hub data set or a generator
	Prompt     string         `json:"prompt,omitempty"`     // column: text or messages; "prompt"
	Completion string         `json:"completion,omitempty"` // sft: column; "completion"
	Answer     string         `json:"answer,omitempty"`     // column that rewards see as `answer`
	Template   string         `json:"template,omitempty"`   // text around the prompt column: "{prompt} Answer with a number."
	Limit      int            `json:"limit,omitempty"`      // rows; 0: all
	SHA256     string         `json:"sha256,omitempty"`     // of the rows, pinned at the run's start
}

// RewardSpec is one reward of a domain.
type RewardSpec struct {
	Use    string         `json:"use"`              // name in the registry: math, format, python, exec, http, wasm, activity, ...
	Name   string         `json:"name"`             // as metrics show it; Use unless given
	Weight float64        `json:"weight"`           // in the sum
	Gate   bool           `json:"gate,omitempty"`   // if it is not positive the completion's reward is 0
	Clip   *[2]float64    `json:"clip,omitempty"`   // bounds of the value before the weight
	Params map[string]any `json:"params,omitempty"` // its own parameters
	// Deadline is the time for one group, seconds; 0: the reward's own default.
	Deadline float64 `json:"deadline_s,omitempty"`
	Retries  int     `json:"retries,omitempty"`
}

// RolloutSpec is how completions are made.
type RolloutSpec struct {
	Engine              string   `json:"engine"` // local | openai | vllm | sglang
	URL                 string   `json:"url,omitempty"`
	NumGenerations      int      `json:"num_generations"`       // G
	PromptsPerStep      int      `json:"prompts_per_step"`      // P
	MaxPromptLength     int      `json:"max_prompt_length"`     // tokens; longer rows are bad rows
	MaxCompletionLength int      `json:"max_completion_length"` // tokens
	Sampling            Sampling `json:"sampling"`
	Stop                []string `json:"stop,omitempty"`
	MaxStaleness        int      `json:"max_staleness"`    // k: the candidates of step t are sampled by version max(0, t-k)
	MaxKVTokens         int      `json:"max_kv_tokens"`    // bound of the engine's cache, tokens
	KeepExact           bool     `json:"keep_exact"`       // latent attention: decode in the trainer's form, bit for bit; false: on the compressed cache
	GroupsPerShard      int      `json:"groups_per_shard"` // 0: the worker chooses; results do not depend on it
}

// Values of TrainerSpec.TrainIndexer.
const (
	IndexerNone   = "none"
	IndexerWarmup = "warmup" // sft only: attention is dense, everything but the indexers is frozen
	IndexerSparse = "sparse" // beside the stage's own training
)

// TrainerSpec is the optimizer and its device.
type TrainerSpec struct {
	Backend          string  `json:"backend"` // cpu | cuda | torch
	LearningRate     float64 `json:"learning_rate"`
	Schedule         string  `json:"lr_scheduler_type"` // constant | linear | cosine
	WarmupSteps      int     `json:"warmup_steps"`      // optimizer updates
	MinLRRatio       float64 `json:"min_lr_ratio"`      // where linear and cosine end, as a share of learning_rate
	Beta1            float64 `json:"adam_beta1"`
	Beta2            float64 `json:"adam_beta2"`
	Eps              float64 `json:"adam_epsilon"`
	WeightDecay      float64 `json:"weight_decay"`
	MaxGradNorm      float64 `json:"max_grad_norm"`      // 0: no clipping
	MicroBatchTokens int     `json:"micro_batch_tokens"` // most tokens in one forward pass; does not change the result on the CPU
	Recompute        bool    `json:"recompute"`          // recompute activations per layer in the backward pass
	BF16Moments      bool    `json:"bf16_moments"`
	BF16Weights      bool    `json:"bf16_weights,omitempty"`    // matrices without float32 masters, rounded at random; cuda only
	OffloadMoments   bool    `json:"offload_moments,omitempty"` // moments in the host's memory, with the same result; cuda only
	TrainIndexer     string  `json:"train_indexer"`             // none | warmup | sparse: lightning indexers of DeepSeek sparse attention
	MaxSkipped       int     `json:"max_skipped_updates"`       // non-finite gradients in a row that pause the run
	Ranks            int     `json:"ranks,omitempty"`           // processes that share every update; 0 and 1: one. The same in all stages
}

// SFTSpec is what an sft stage needs besides the trainer.
type SFTSpec struct {
	BatchSize int `json:"batch_size"` // examples an update
	MaxLength int `json:"max_length"` // tokens an example; longer rows are bad rows
}

// RejectSpec is a rejection-sampling stage: N completions a prompt, the best
// Keep of them by reward (at least MinReward) become rows of a data set.
type RejectSpec struct {
	N         int     `json:"n"`
	Keep      int     `json:"keep"`
	MinReward float64 `json:"min_reward"`
	Prompts   int     `json:"prompts"` // how many rows to sample for; 0: all
}

// EvalSpec is the held-out evaluation.
type EvalSpec struct {
	Every     int          `json:"every"` // steps; 0: only before and after
	Data      DataSpec     `json:"data"`
	Rewards   []RewardSpec `json:"rewards,omitempty"` // empty: those of the domain named by Domain
	Domain    string       `json:"domain,omitempty"`
	Metric    string       `json:"metric"` // accuracy | avg@N | pass@N
	N         int          `json:"n"`      // completions a prompt
	Limit     int          `json:"limit"`  // prompts; 0: all
	Sampling  Sampling     `json:"sampling"`
	MaxTokens int          `json:"max_completion_length"`
	BeforeRL  bool         `json:"before"` // evaluate before the first rl step
}

// CheckpointSpec says when the weights are written and how many are kept.
type CheckpointSpec struct {
	Every int `json:"every"` // steps
	Keep  int `json:"keep"`  // most recent ones; 0: all
}

// TrackerSpec names an experiment tracker.
type TrackerSpec struct {
	Use    string         `json:"use"` // tensorboard | wandb | mlflow | prometheus
	Params map[string]any `json:"params,omitempty"`
}
