package worker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

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
	wake   func()                 // is called after a line of metrics.jsonl; nil: nobody
	text   func([]int32) string   // of a prompt's tokens, which are all that a batch carries; nil: none

	mu   sync.Mutex
	seen map[string]bool
}

func newObserver(dir string, listen func(activities.Event)) *observer {
	o := &observer{dir: dir, listen: listen, seen: map[string]bool{}}
	for _, file := range []string{MetricsFile, EventsFile} {
		cutTorn(filepath.Join(dir, file))
	}
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

// cutTorn cuts off the line that a kill left without its end.
func cutTorn(path string) {
	raw, err := os.ReadFile(path)
	if err != nil || len(raw) == 0 || raw[len(raw)-1] == '\n' {
		return
	}
	_ = os.Truncate(path, int64(bytes.LastIndexByte(raw, '\n')+1))
}

// catchUp writes the lines of what the ledger has but a kill kept from
// metrics.jsonl, without times: nobody may ask for those steps again.
func (o *observer) catchUp(l activities.Ledger) error {
	var lines []MetricLine
	for _, kind := range []grouse.RecordKind{grouse.RecordSFT, grouse.RecordStep, grouse.RecordEval} {
		recs, err := l.List(kind)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			switch r := rec.(type) {
			case grouse.SFTRecord:
				lines = append(lines, MetricLine{Event: "sft", Stage: r.Stage, Step: r.Last, Metrics: r.Stats})
			case grouse.StepRecord:
				lines = append(lines, MetricLine{Event: "step", Stage: r.Stage, Step: r.Step, Metrics: r.Stats})
			case grouse.EvalRecord:
				lines = append(lines, MetricLine{Event: "eval", Stage: r.Stage, Step: r.Step, Metrics: r.Stats})
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b MetricLine) int { // an evaluation comes after its step
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Step, b.Step))
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range lines {
		o.note(line)
	}
	return nil
}

// note appends a line that is not there yet, and reports whether it was new.
func (o *observer) note(line MetricLine) bool {
	if o.seen[line.key()] {
		return false
	}
	o.seen[line.key()] = true
	line.At = time.Now().UnixMilli()
	o.append(MetricsFile, line)
	if o.wake != nil {
		o.wake()
	}
	return true
}

// What the observer writes in a run's folder.
const (
	MetricsFile = "metrics.jsonl" // MetricLine by line
	EventsFile  = "events.jsonl"  // EventLine by line
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
	At      int64          `json:"at,omitempty"` // when it was written, Unix ms
}

// EventLine is a line of events.jsonl.
type EventLine struct {
	At int64 `json:"at,omitempty"` // when it was told, Unix ms
	activities.Event
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
		if e.Kind == "step" && len(e.Groups) > 0 && !o.seen[line.key()] {
			o.archive(e) // before the line that makes others look for it
		}
		if !o.note(line) {
			return
		}
	}
	o.append(EventsFile, EventLine{At: time.Now().UnixMilli(), Event: e})
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
		if o.text != nil {
			groups[i].Prompt.Text = o.text(g.Group.Prompt.TokenIDs)
		}
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
