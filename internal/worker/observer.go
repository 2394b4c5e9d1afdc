package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/wire"
)

// observer writes what happened to a run's files: metrics.jsonl, one line a
// step, events.jsonl, and rollouts/*.parquet. They are derived from the ledger:
// a step that is told again replaces nothing and is left out.
type observer struct {
	dir    string
	listen func(activities.Event) // nil: nobody

	mu   sync.Mutex
	seen map[string]bool
}

func newObserver(dir string, listen func(activities.Event)) *observer {
	o := &observer{dir: dir, listen: listen, seen: map[string]bool{}}
	raw, err := os.ReadFile(filepath.Join(dir, MetricsFile))
	if err == nil {
		for _, line := range splitLines(raw) {
			var m MetricLine
			if json.Unmarshal(line, &m) == nil {
				o.seen[m.key()] = true
			}
		}
	}
	return o
}

// What the observer writes in a run's folder.
const (
	MetricsFile = "metrics.jsonl" // MetricLine by line
	EventsFile  = "events.jsonl"  // activities.Event by line
	RolloutsDir = "rollouts"      // a Parquet file a step: RolloutsFile
)

// RolloutsFile names the file of a step's rollouts.
func RolloutsFile(stage int, step int64) string {
	return fmt.Sprintf("stage-%d-step-%06d.parquet", stage, step)
}

// ParseRolloutsFile is the inverse of RolloutsFile.
func ParseRolloutsFile(name string) (stage int, step int64, ok bool) {
	_, err := fmt.Sscanf(name, "stage-%d-step-%d.parquet", &stage, &step)
	return stage, step, err == nil && RolloutsFile(stage, step) == name
}

// MetricLine is a line of metrics.jsonl.
type MetricLine struct {
	Event   string         `json:"event"` // step, sft, eval
	Stage   int            `json:"stage"`
	Step    int64          `json:"step"`
	Metrics grouse.Metrics `json:"metrics"` // deterministic ones
	Times   grouse.Metrics `json:"times,omitempty"`
}

func (m *MetricLine) key() string { return fmt.Sprintf("%s/%d/%d", m.Event, m.Stage, m.Step) }

// Observe notes an event. A file that cannot be written does not stop the run:
// the ledger has everything; the listener is told all the same.
func (o *observer) Observe(_ context.Context, e activities.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listen != nil {
		o.listen(e)
	}
	switch e.Kind {
	case "step", "sft", "eval":
		line := MetricLine{Event: e.Kind, Stage: e.Stage, Step: e.Step, Metrics: e.Stats, Times: e.Times}
		if o.seen[line.key()] {
			return
		}
		o.seen[line.key()] = true
		o.append(MetricsFile, line)
		if e.Kind == "step" && len(e.Groups) > 0 {
			o.archive(e)
		}
	}
	o.append(EventsFile, e)
}

func (o *observer) append(file string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		return
	}
	f, err := os.OpenFile(filepath.Join(o.dir, file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.Write(append(raw, '\n'))
}

// archive writes a step's groups where DuckDB and pandas read them.
func (o *observer) archive(e activities.Event) {
	dir := filepath.Join(o.dir, RolloutsDir)
	if os.MkdirAll(dir, 0o755) != nil {
		return
	}
	f, err := os.Create(filepath.Join(dir, RolloutsFile(e.Stage, e.Step)))
	if err != nil {
		return
	}
	defer f.Close()
	groups := make([]grouse.Group, len(e.Groups))
	scores := make([]wire.GroupScores, len(e.Groups))
	for i, g := range e.Groups {
		groups[i], scores[i] = g.Group, wire.GroupScores{Candidate: g.Group.Candidate, Scores: g.Scores}
	}
	_ = wire.ArchiveRollouts(f, wire.ArchivedStep{Stage: e.Stage, Step: e.Step, Groups: groups, Scores: scores, Traces: e.Traces})
}

func splitLines(raw []byte) [][]byte {
	var out [][]byte
	start := 0
	for i, b := range raw {
		if b == '\n' {
			out = append(out, raw[start:i])
			start = i + 1
		}
	}
	return out
}
