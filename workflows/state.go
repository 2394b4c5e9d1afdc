package workflows

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
)

// RunState is a run between two steps. It is Run's input and result, and what
// continue-as-new carries.
type RunState struct {
	Spec grouse.RunSpec `json:"spec"`
	// SearchAttributes says that the namespace has grouse's search attributes.
	// Setting one that it lacks would stop the workflow, so false sets none.
	SearchAttributes bool `json:"search_attributes"`

	Prepared bool `json:"prepared"` // the ledger was asked where the run is
	Stage    int  `json:"stage"`    // index of the current stage
	Begun    bool `json:"begun"`    // the stage's BeginStage is done
	// Policy is the newest trained weights. Invariant: Policy.Stage == Stage
	// once Begun.
	Policy grouse.PolicyRef `json:"policy"`
	// Recent holds the newest max_staleness+1 policies of the stage, oldest first.
	Recent []grouse.PolicyRef `json:"recent,omitempty"`

	Vocab          int                            `json:"vocab"`
	Routing        grouse.RoutingShape            `json:"routing"`
	Device         string                         `json:"device"`
	Routes         []activities.ScoreRoute        `json:"routes,omitempty"`
	EvalRoutes     []activities.ScoreRoute        `json:"eval_routes,omitempty"`
	GroupsPerShard int                            `json:"groups_per_shard"` // 0: one shard
	Draws          []activities.DrawPromptsOutput `json:"draws,omitempty"`  // of steps to come

	Settings        activities.Settings `json:"settings"`
	CheckpointEvery *int                `json:"checkpoint_every,omitempty"` // changed by set
	EvalEvery       *int                `json:"eval_every,omitempty"`

	Saved *grouse.PolicyRef       `json:"saved,omitempty"` // the last checkpoint
	Rows  []StepRow               `json:"rows,omitempty"`  // the last ten
	Evals []activities.EvalResult `json:"evals,omitempty"`

	Paused      bool   `json:"paused"`
	PauseReason string `json:"pause_reason,omitempty"`
	Stop        bool   `json:"stop"` // asked for
	Save        bool   `json:"save"` // a checkpoint was asked for
	PrevEnd     int64  `json:"prev_end"`

	State      string `json:"state"`      // running, paused, stopped, done
	Executions int    `json:"executions"` // continue-as-new so far
}

// Resumed returns the state with which a new Run goes on after this one ended:
// what was set stays, where the run is will be asked of its ledger.
func (s RunState) Resumed() RunState {
	return RunState{Spec: s.Spec, SearchAttributes: s.SearchAttributes, Stage: s.Stage, Settings: s.Settings,
		CheckpointEvery: s.CheckpointEvery, EvalEvery: s.EvalEvery, Rows: s.Rows}
}

// States of a run, as GrouseState has them.
const (
	StateRunning = "running"
	StatePaused  = "paused"
	StateStopped = "stopped"
	StateDone    = "done"
	StateFailed  = "failed"
)

// StepRow is a finished step as the tables show it.
type StepRow struct {
	Stage int            `json:"stage"`
	Step  int64          `json:"step"`
	Of    int            `json:"of"`
	Stats grouse.Metrics `json:"stats"`
	Times grouse.Metrics `json:"times"`
}

const keptRows = 10

// Status answers the query of that name.
type Status struct {
	Run        string                  `json:"run"`
	Recipe     string                  `json:"recipe"`
	State      string                  `json:"state"`
	Reason     string                  `json:"reason,omitempty"`  // of a pause
	Waiting    string                  `json:"waiting,omitempty"` // for what, when nothing can go on
	Stage      int                     `json:"stage"`
	StageName  string                  `json:"stage_name"`
	StageKind  grouse.StageKind        `json:"stage_kind"`
	Stages     int                     `json:"stages"`
	Step       int64                   `json:"step"`
	Steps      int                     `json:"steps"`
	Doing      string                  `json:"doing"`
	Policy     grouse.PolicyRef        `json:"policy"`
	Checkpoint *grouse.PolicyRef       `json:"checkpoint,omitempty"`
	Evals      []activities.EvalResult `json:"evals,omitempty"`
	Device     string                  `json:"device,omitempty"`
	Settings   activities.Settings     `json:"settings"`
}
