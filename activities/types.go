package activities

import (
	"fmt"
	"time"

	"github.com/grouse-rl/grouse"
)

// Span is when an activity worked, Unix nanoseconds by its worker's clock.
// Times are told, never decided by.
type Span struct {
	What  string `json:"what"` // sample, score, train, checkpoint
	Start int64  `json:"start"`
	End   int64  `json:"end"`
}

func now() int64 { return time.Now().UnixNano() }

// Settings are what `set` changed of the recipe: nil and absent mean unchanged.
type Settings struct {
	LearningRate *float64           `json:"learning_rate,omitempty"`
	Beta         map[string]float64 `json:"beta,omitempty"`  // by domain
	Steps        *int               `json:"steps,omitempty"` // of the stage, which schedules depend on
}

// Apply returns the stage with the settings in force. The given one is not changed.
func (s Settings) Apply(stage grouse.Stage) grouse.Stage {
	if s.LearningRate != nil {
		stage.Trainer.LearningRate = *s.LearningRate
	}
	if s.Steps != nil {
		stage.Steps = *s.Steps
	}
	if len(s.Beta) > 0 {
		domains := make([]grouse.Domain, len(stage.Domains))
		copy(domains, stage.Domains)
		for i := range domains {
			if beta, ok := s.Beta[domains[i].Name]; ok {
				domains[i].Beta = &beta
			}
		}
		stage.Domains = domains
	}
	return stage
}

// Wave is one round of a step: what was sampled and scored.
type Wave struct {
	First  uint32            `json:"first"` // candidate
	Count  int               `json:"count"`
	Groups []grouse.BatchRef `json:"groups"`
	Scores []grouse.BatchRef `json:"scores"`
}

// stepToken names a step in keys: "1-000042".
func stepToken(stage int, step int64) string { return fmt.Sprintf("%d-%06d", stage, step) }

// purposeToken is stepToken for what is not a training rollout: "1-000042-eval".
func purposeToken(purpose string, stage int, step int64) string {
	if purpose == PurposeRollout || purpose == "" {
		return stepToken(stage, step)
	}
	return stepToken(stage, step) + "-" + purpose
}

// key joins a bus key: run/kind/step/shard.
func key(run, kind, step, shard string) string { return run + "/" + kind + "/" + step + "/" + shard }

// Kinds of payload on the bus.
const (
	kindPrompts  = "prompts" // JSON of []Candidate
	kindRollouts = "rollouts"
	kindScores   = "scores"
)
