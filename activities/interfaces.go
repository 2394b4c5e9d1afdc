package activities

import (
	"context"
	"time"

	"github.com/grouse-rl/grouse"
)

// Sampler makes completions.
type Sampler interface {
	// Sample returns one group for each prompt, in their order, with
	// req.N completions each, every token drawn by exactly req.Policy (of any
	// chain if req.Policy.Chain is empty).
	// It returns grouse.NotFound if it has no such weights. What it returns
	// depends on req alone. It calls progress, if not nil, from any goroutine,
	// with the number of groups done.
	Sample(ctx context.Context, req SampleRequest, progress func(done int)) ([]grouse.Group, error)
}

// Purposes of random numbers: each has streams of its own.
const (
	PurposeRollout = "rollout"
	PurposeEval    = "eval"
	PurposeReject  = "reject"
)

// SampleRequest is what Sampler.Sample does.
type SampleRequest struct {
	Run     string
	Purpose string
	Stage   int
	Step    int64 // from 1; for an evaluation, the step it was made at
	Policy  grouse.PolicyRef
	Prompts []Candidate
	N       int // completions a prompt
	Rollout grouse.RolloutSpec
	Seed    uint64
	// KeepRouting asks for the experts that were chosen.
	KeepRouting bool
}

// Candidate is a drawn prompt with its place in the step's candidate order.
type Candidate struct {
	Candidate uint32        `json:"candidate"`
	Prompt    grouse.Prompt `json:"prompt"`
}

// Scorer judges completions.
type Scorer interface {
	// Score returns the scores of every group, [groups][G]. A reward that
	// failed, after its own retries, is an Outcome, not an error: an error
	// means that nothing was judged, and the activity is tried again.
	Score(ctx context.Context, req ScoreRequest, progress func(done int)) ([][]grouse.Score, error)
}

// ScoreRequest is what Scorer.Score does. The groups' prompts have all their
// columns; a rollout's Text may be empty and then is the decoded ResponseIDs.
type ScoreRequest struct {
	Run     string
	Purpose string
	Stage   int
	Step    int64
	Domains map[string]grouse.Domain // by name
	Groups  []grouse.Group
	// Observe, if not nil, is told of every reward's work on a group, from any goroutine.
	Observe func(reward string, took time.Duration, outcome grouse.Outcome)
}

// Router says where rewards run.
type Router interface {
	// ScoreRoutes divides the domains among task queues. Every domain is in
	// exactly one route.
	ScoreRoutes(ctx context.Context, domains []grouse.Domain) ([]ScoreRoute, error)
}

// ScoreRoute is where the groups of some domains are scored.
type ScoreRoute struct {
	Domains   []string `json:"domains"`
	Local     bool     `json:"local"`      // cheap and pure: in the workflow worker's process, no queue
	Queue     string   `json:"queue"`      // unless Local
	DeadlineS float64  `json:"deadline_s"` // for one shard, seconds; 0: an hour
}

// PolicyTrainer holds one policy in memory and learns. Weights, moments and
// counters change by Step and SFT only, in a way that depends on them and on
// the request alone, bit for bit. After an error of Begin, Step or SFT what is
// in memory counts for nothing until LoadInitial or CheckpointStore.Load.
type PolicyTrainer interface {
	// LoadInitial sets the weights to those the run begins with and returns
	// their SHA-256, hex.
	LoadInitial(ctx context.Context) (string, error)
	// Begin prepares for a stage on the weights in memory: new moments, the
	// reference policy.
	Begin(ctx context.Context, stage int) error
	// Step trains on groups in candidate order. With none it counts the step
	// and changes no weight.
	Step(ctx context.Context, req StepRequest, progress func(done int)) (StepResult, error)
	// SFT does the updates First to Last of an sft stage.
	SFT(ctx context.Context, req SFTRequest, progress func(done int)) (SFTResult, error)
	// Publish makes the weights in memory available to samplers under the
	// name, and keeps at least the newest max_staleness+1 of the stage.
	// Publishing a name again does nothing.
	Publish(ctx context.Context, ref grouse.PolicyRef) error
	// Vocab is the number of token ids; Routing the shape of kept routing, zero
	// for a dense model; Device names the kernel set: cpu/avx2.
	Vocab() int
	Routing() grouse.RoutingShape
	Device() string
}

// Intact is a PolicyTrainer whose memory is spread over processes: Intact reports false
// when one of them is gone. What is in memory then counts for nothing until LoadInitial or
// CheckpointStore.Load.
type Intact interface{ Intact() bool }

// StepRequest is one step of an rl stage.
type StepRequest struct {
	Stage    int
	Step     int64
	Groups   []grouse.ScoredGroup // admitted ones, ascending candidate; prompts without columns
	Settings Settings
}

// StepResult is what a step did.
type StepResult struct {
	Stats  grouse.Metrics   // deterministic: they enter the chain
	Times  grouse.Metrics   // times, rates, memory
	Pause  string           // not empty: why a person should look before the run goes on
	Traces [][]grouse.Trace // of each group's rollouts, for viewers
}

// SFTRequest is some updates of an sft stage.
type SFTRequest struct {
	Stage       int
	First, Last int64 // updates, from 1
	Settings    Settings
}

// SFTResult is what they did.
type SFTResult struct {
	DataSHA256 string // of the examples' ids and tokens, in order, hex
	Stats      grouse.Metrics
	Times      grouse.Metrics
	Pause      string
}

// CheckpointStore keeps the trainer's memory in files.
type CheckpointStore interface {
	// Save writes weights, moments and counters. The checkpoint is whole when
	// it returns, or absent. Saving the same step again is allowed.
	Save(ctx context.Context, req SaveRequest) (grouse.CheckpointRecord, error)
	// Load puts a checkpoint into the trainer's memory, the stage's reference
	// policy included. NotFound or Corrupt if it cannot be used.
	Load(ctx context.Context, rec grouse.CheckpointRecord) error
	// Prune removes all checkpoints but those given.
	Prune(ctx context.Context, keep []grouse.CheckpointRecord) error
}

// SaveRequest names a checkpoint.
type SaveRequest struct {
	Policy grouse.PolicyRef
	Last   bool // of its stage
}

// Prompts is the data.
type Prompts interface {
	// Draw returns up to n prompts for candidates first, first+1, ...; fewer
	// if the data has no more. It depends on req alone.
	Draw(ctx context.Context, req DrawRequest) ([]Candidate, error)
	// Eval returns the held-out prompts, candidates from 0.
	Eval(ctx context.Context) ([]Candidate, error)
	// Reject returns the prompts of a rejection-sampling stage, candidates from 0.
	Reject(ctx context.Context, stage int) ([]Candidate, error)
	// Keep stores what a rejection-sampling stage kept as the stage's data set.
	// It replaces what is there.
	Keep(ctx context.Context, stage int, rows []KeptRow) error
}

// DrawRequest is one draw.
type DrawRequest struct {
	Stage   int
	Step    int64
	First   uint32                                        // candidate
	N       int                                           //
	Exclude map[string]bool                               // row ids that earlier waves of the step drew
	Solved  func() (map[string]grouse.SolveRecord, error) // by row id, as of the draw's head; rows never drawn are absent
}

// KeptRow is one completion that rejection sampling kept.
type KeptRow struct {
	Prompt  grouse.Prompt
	Rollout grouse.Rollout
	Reward  float64
}

// Ledger is the run's write-ahead log: *ledger.Writer.
type Ledger interface {
	// Append makes the records durable, all or none seen; one that is there
	// already is left out, and is Corrupt if it differs. Stale if another
	// process took the run over.
	Append(ctx context.Context, recs ...grouse.Record) error
	// Find returns NotFound if there is no such record.
	Find(kind grouse.RecordKind, key string) (grouse.Record, error)
	List(kind grouse.RecordKind) ([]grouse.Record, error)
	PutBlob(ctx context.Context, data []byte) (sha256 string, err error)
	Blob(ctx context.Context, sha256 string) ([]byte, error)
	Epoch() uint64
}

// Bus carries batches: *natsbus.Bus.
type Bus interface {
	// Publish stores payload under key; the first bytes under a key stay.
	Publish(ctx context.Context, key string, rows int, payload []byte) (grouse.BatchRef, error)
	// Lookup returns the reference stored under key, NotFound if there is none.
	Lookup(ctx context.Context, key string) (grouse.BatchRef, error)
	// Fetch returns verified bytes, NotFound if they are gone or damaged.
	Fetch(ctx context.Context, ref grouse.BatchRef) ([]byte, error)
	// Purge drops a step's batches, Delete a run's.
	Purge(ctx context.Context, run, step string) error
	Delete(ctx context.Context, run string) error
}

// Codec is the encoding of batches: internal/wire. Bytes that go in were
// verified before. Encoding is deterministic.
type Codec interface {
	EncodeGroups(groups []grouse.Group) ([]byte, error)
	// DecodeGroups returns groups whose prompts have what training needs: row
	// id, domain, token ids.
	DecodeGroups(data []byte) ([]grouse.Group, error)
	EncodeScores(scores []GroupScores) ([]byte, error)
	DecodeScores(data []byte) ([]GroupScores, error)
}

// GroupScores is the scores of one group, [G].
type GroupScores struct {
	Candidate uint32
	Scores    []grouse.Score
}

// Observer is told what happened, for metrics files, dashboards and trackers.
// It is told of a step again when an activity is repeated or the ledger is
// replayed, so it goes by stage and step.
type Observer interface {
	Observe(ctx context.Context, e Event)
}

// Event is something that happened to a run.
type Event struct {
	Kind   string               `json:"kind"` // step, sft, checkpoint, eval, restore, warning
	Run    string               `json:"run"`
	Stage  int                  `json:"stage"`
	Step   int64                `json:"step"`
	Policy grouse.PolicyRef     `json:"policy"`
	Stats  grouse.Metrics       `json:"stats,omitempty"`
	Times  grouse.Metrics       `json:"times,omitempty"`
	Text   string               `json:"text,omitempty"`
	Epoch  uint64               `json:"epoch"`
	Groups []grouse.ScoredGroup `json:"-"` // of a step: what was trained on; nil when repeated
	Traces [][]grouse.Trace     `json:"-"` // of their rollouts
}
