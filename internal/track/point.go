package track

import (
	"encoding/json"
	"time"

	"github.com/grouse-rl/grouse"
)

// Run is what trackers are told of a run as a whole.
type Run struct {
	Name   string
	ID     string // on servers: Start sets it
	Recipe string // the resolved recipe, YAML
	Spec   grouse.RunSpec
	Dir    string // folder of the run: what a tracker writes is below it unless the recipe says where
	Base   string // folder that relative paths of the recipe start from
}

// Point is one line of metrics.jsonl: what a step, some supervised updates or an
// evaluation came to.
type Point struct {
	Row       int64     // number of the line, from 0
	Kind      string    // step, sft, eval
	Stage     int       //
	StageName string    //
	Step      int64     // of the stage
	Global    int64     // Step, counted on through the stages
	At        time.Time // when it was first told
	Metrics   grouse.Metrics
	Times     grouse.Metrics
}

// each tells the metrics, then the times, in order of their names.
func (p *Point) each(do func(name string, value float64)) {
	for _, m := range []grouse.Metrics{p.Metrics, p.Times} {
		for _, name := range m.Names() {
			do(name, m[name])
		}
	}
}

// Sample is a completion of a step.
type Sample struct {
	RowID       string
	Prompt      string
	Completion  string
	Reward      *float64 // nil: no opinion
	Explanation string
}

// Source is where points come from. One tracker reads it.
type Source interface {
	// Points returns at most limit of the points from row on, in order; none if
	// there are no more yet.
	Points(row int64, limit int) ([]Point, error)
	// Samples returns completions that a step was trained on, at most limit.
	Samples(stage int, step int64, limit int) []Sample
	Close() error
}

// config returns the recipe as plain JSON values, without its trackers.
func (r *Run) config() (map[string]any, error) {
	spec := r.Spec
	spec.Trackers = nil
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(raw, &out)
}
