package grouse

import (
	"encoding/json"
	"fmt"
)

// RecordKind names what a ledger record tells.
type RecordKind string

const (
	RecordRun        RecordKind = "run"
	RecordStage      RecordKind = "stage"
	RecordDraw       RecordKind = "draw"
	RecordScore      RecordKind = "score"
	RecordGroup      RecordKind = "group"
	RecordBatch      RecordKind = "batch"
	RecordStep       RecordKind = "step"
	RecordSFT        RecordKind = "sft"
	RecordCheckpoint RecordKind = "checkpoint"
	RecordEval       RecordKind = "eval"
)

// Record is one fact of a run, as its ledger holds it. A kind and a key name
// one fact: it is written once, and writing it again with another content is
// an error, never a second version.
type Record interface {
	RecordKind() RecordKind
	RecordKey() string
}

// StepKey is the key of what exists once a step: "1/000042".
func StepKey(stage int, step int64) string { return fmt.Sprintf("%d/%06d", stage, step) }

// RunRecord opens a ledger.
type RunRecord struct {
	Run           string          `json:"run"`
	RecipeSHA256  string          `json:"recipe_sha256"`
	WeightsSHA256 string          `json:"weights_sha256"` // of the initial weights
	Chain         string          `json:"chain"`          // H_0
	Seed          uint64          `json:"seed"`
	Spec          json.RawMessage `json:"spec"`   // the resolved recipe
	Device        string          `json:"device"` // kernel set: cpu/avx2
}

// StageRecord says that a stage began, and on what weights.
type StageRecord struct {
	Stage int       `json:"stage"`
	Name  string    `json:"name"`
	Kind  StageKind `json:"kind"`
	Chain string    `json:"chain"` // H of the weights it begins with
}

// DrawnPrompt is one candidate of a step.
type DrawnPrompt struct {
	Candidate uint32 `json:"candidate"`
	RowID     string `json:"row_id"`
	Domain    string `json:"domain"`
}

// DrawRecord names the prompts that a wave of a step drew.
type DrawRecord struct {
	Stage   int           `json:"stage"`
	Step    int64         `json:"step"` // from 1
	Wave    int           `json:"wave"` // from 0
	Head    int64         `json:"head"` // completed steps whose solve rates the draw could see
	Prompts []DrawnPrompt `json:"prompts"`
}

// GroupState is what became of a scored group before it was trained on.
type GroupState string

const (
	GroupScored   GroupState = "scored"   // it may be trained on
	GroupTrained  GroupState = "trained"  //
	GroupFiltered GroupState = "filtered" // flat, stale, invalid
	GroupFailed   GroupState = "failed"   // it could not be sampled or scored
)

// GroupVerdict is what scoring said of one group.
type GroupVerdict struct {
	Candidate uint32     `json:"candidate"`
	State     GroupState `json:"state"`            // scored, filtered or failed
	Reason    string     `json:"reason,omitempty"` // flat, stale, invalid: ..., reward: ...
	Mean      float64    `json:"mean"`             // mean reward of the group's completions
	SolveRate float64    `json:"solve_rate"`       // share of completions judged correct; of positive reward without a verdict
}

// ScoreRecord keeps, once, what scoring a wave of a step said: what a clock or
// a judge decided is data from then on.
type ScoreRecord struct {
	Stage  int            `json:"stage"`
	Step   int64          `json:"step"`
	Wave   int            `json:"wave"`
	Groups []BatchRef     `json:"groups"` // the sampled groups
	Scores []BatchRef     `json:"scores"` // their scores
	Result []GroupVerdict `json:"result"` // ascending Candidate
}

// FinalGroup is the final state of one drawn prompt.
type FinalGroup struct {
	Candidate uint32     `json:"candidate"`
	RowID     string     `json:"row_id"`
	Domain    string     `json:"domain"`
	State     GroupState `json:"state"` // trained, filtered or failed
	Reason    string     `json:"reason,omitempty"`
	Mean      float64    `json:"mean"`
	SolveRate float64    `json:"solve_rate"`
}

// GroupRecord gives every prompt that a step drew its one final state.
type GroupRecord struct {
	Stage       int          `json:"stage"`
	Step        int64        `json:"step"`
	BatchSHA256 string       `json:"batch_sha256"` // what the trained ones were trained in
	Groups      []FinalGroup `json:"groups"`       // ascending Candidate
}

// BatchRecord commits a step's batch before the optimizer sees it.
type BatchRecord struct {
	Stage       int     `json:"stage"`
	Step        int64   `json:"step"`
	PrevChain   string  `json:"prev_chain"`    // H_{t-1}
	BatchSHA256 string  `json:"batch_sha256"`  // SHA-256 of the two blobs' digests and the settings
	Groups      string  `json:"groups_sha256"` // blob; "" in an empty batch
	Scores      string  `json:"scores_sha256"` // blob; "" in an empty batch
	Rows        int     `json:"rows"`          // completions
	Settings    string  `json:"settings"`      // JSON of the settings that `set` changed; "" none
	Stats       Metrics `json:"stats"`         // of the admission; part of the step's
}

// StepRecord says that the optimizer did a step.
type StepRecord struct {
	Stage       int     `json:"stage"`
	Step        int64   `json:"step"`
	PrevChain   string  `json:"prev_chain"`
	BatchSHA256 string  `json:"batch_sha256"`
	Chain       string  `json:"chain"` // H_t
	Stats       Metrics `json:"stats"` // chained: no times, rates, memory
}

// SFTRecord says that the optimizer did some supervised updates.
type SFTRecord struct {
	Stage      int     `json:"stage"`
	First      int64   `json:"first"` // first update, from 1
	Last       int64   `json:"last"`
	DataSHA256 string  `json:"data_sha256"` // of the examples' ids and tokens, in order
	PrevChain  string  `json:"prev_chain"`
	Chain      string  `json:"chain"`
	Stats      Metrics `json:"stats"`
	Settings   string  `json:"settings"` // as BatchRecord.Settings
}

// CheckpointRecord names a checkpoint that is whole.
type CheckpointRecord struct {
	Stage          int    `json:"stage"`
	Step           int64  `json:"step"`
	Dir            string `json:"dir"` // relative to the run's folder
	WeightsSHA256  string `json:"weights_sha256"`
	ManifestSHA256 string `json:"manifest_sha256"`
	Chain          string `json:"chain"`
}

// EvalRecord is the result of a held-out evaluation.
type EvalRecord struct {
	Stage   int     `json:"stage"`
	Step    int64   `json:"step"`
	Chain   string  `json:"chain"` // of the weights that were judged
	Metric  string  `json:"metric"`
	Value   float64 `json:"value"`
	Prompts int     `json:"prompts"`
	Stats   Metrics `json:"stats"`
}

func (RunRecord) RecordKind() RecordKind        { return RecordRun }
func (StageRecord) RecordKind() RecordKind      { return RecordStage }
func (DrawRecord) RecordKind() RecordKind       { return RecordDraw }
func (ScoreRecord) RecordKind() RecordKind      { return RecordScore }
func (GroupRecord) RecordKind() RecordKind      { return RecordGroup }
func (BatchRecord) RecordKind() RecordKind      { return RecordBatch }
func (StepRecord) RecordKind() RecordKind       { return RecordStep }
func (SFTRecord) RecordKind() RecordKind        { return RecordSFT }
func (CheckpointRecord) RecordKind() RecordKind { return RecordCheckpoint }
func (EvalRecord) RecordKind() RecordKind       { return RecordEval }

func (r RunRecord) RecordKey() string        { return r.Run }
func (r StageRecord) RecordKey() string      { return fmt.Sprint(r.Stage) }
func (r DrawRecord) RecordKey() string       { return WaveKey(r.Stage, r.Step, r.Wave) }
func (r ScoreRecord) RecordKey() string      { return WaveKey(r.Stage, r.Step, r.Wave) }
func (r GroupRecord) RecordKey() string      { return StepKey(r.Stage, r.Step) }
func (r BatchRecord) RecordKey() string      { return StepKey(r.Stage, r.Step) }
func (r StepRecord) RecordKey() string       { return StepKey(r.Stage, r.Step) }
func (r SFTRecord) RecordKey() string        { return StepKey(r.Stage, r.First) }
func (r CheckpointRecord) RecordKey() string { return StepKey(r.Stage, r.Step) }
func (r EvalRecord) RecordKey() string       { return StepKey(r.Stage, r.Step) }

// WaveKey is the key of what exists once a wave: "1/000042/0".
func WaveKey(stage int, step int64, wave int) string {
	return fmt.Sprintf("%s/%d", StepKey(stage, step), wave)
}
