package worker

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/track"
	"github.com/grouse-rl/grouse/internal/wire"
)

// startTrackers starts the trackers of a run's recipe.
func startTrackers(r *config.Resolved, dir string, warn func(string)) (*track.Set, error) {
	recipe, err := os.ReadFile(filepath.Join(dir, RecipeFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, grouse.Errorf(grouse.Unavailable, "trackers: %w", err)
	}
	return track.Start(r.Spec.Trackers, track.Run{Name: r.Spec.Name, Recipe: string(recipe), Spec: r.Spec, Dir: dir, Base: r.Base},
		track.Options{Source: func() track.Source { return &metricsFile{dir: dir, stages: r.Spec.Stages} }, Warn: warn})
}

// metricsFile reads a run's metrics.jsonl for a tracker, while it is written.
type metricsFile struct {
	dir    string
	stages []grouse.Stage

	file   *os.File
	buffer *bufio.Reader
	part   []byte // of a line that has no end yet
	next   int64  // row of the next line
	stage  int    // of the last line
	before int64  // steps of the stages before it
	last   int64  // its global step
}

var _ track.Source = (*metricsFile)(nil)

// Points returns points from row on.
func (m *metricsFile) Points(row int64, limit int) ([]track.Point, error) {
	if m.file == nil || row < m.next {
		if err := m.rewind(); err != nil || m.file == nil {
			return nil, err
		}
	}
	var out []track.Point
	for len(out) < limit {
		line, err := m.buffer.ReadBytes('\n')
		m.part = append(m.part, line...)
		if err != nil {
			break // the rest is not written yet
		}
		var l MetricLine
		ok := json.Unmarshal(m.part, &l) == nil && l.Event != ""
		m.part = m.part[:0]
		if !ok {
			continue
		}
		if p := m.point(&l); p.Row >= row {
			out = append(out, p)
		}
	}
	return out, nil
}

// point places a line behind those before it.
func (m *metricsFile) point(l *MetricLine) track.Point {
	if l.Stage != m.stage {
		m.stage, m.before = l.Stage, m.last
	}
	m.last = max(m.last, m.before+l.Step)
	p := track.Point{Row: m.next, Kind: l.Event, Stage: l.Stage, Step: l.Step, Global: m.before + l.Step, At: time.UnixMilli(l.At), Metrics: l.Metrics, Times: l.Times}
	if l.Stage >= 0 && l.Stage < len(m.stages) {
		p.StageName = m.stages[l.Stage].Name
	}
	m.next++
	return p
}

// rewind begins at the first line again; without a file there is none.
func (m *metricsFile) rewind() error {
	if m.file != nil {
		m.file.Close()
	}
	f, err := os.Open(filepath.Join(m.dir, MetricsFile))
	if errors.Is(err, fs.ErrNotExist) {
		*m = metricsFile{dir: m.dir, stages: m.stages}
		return nil
	}
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "trackers: %w", err)
	}
	*m = metricsFile{dir: m.dir, stages: m.stages, file: f, buffer: bufio.NewReader(f), stage: -1}
	return nil
}

// Samples returns the first completion of each of a step's groups, then the second
// of each. A step whose rollouts cannot be read has none.
func (m *metricsFile) Samples(stage int, step int64, limit int) []track.Sample {
	rows, err := wire.ReadParquetRows(filepath.Join(m.dir, RolloutsDir, RolloutsFile(stage, step)))
	if err != nil {
		return nil
	}
	var out []track.Sample
	for sample := 0.0; len(out) < limit; sample++ {
		before := len(out)
		for _, r := range rows {
			if r["sample"] != sample || len(out) == limit {
				continue
			}
			s := track.Sample{}
			s.RowID, _ = r["row_id"].(string)
			s.Prompt, _ = r["prompt"].(string)
			s.Completion, _ = r["text"].(string)
			s.Explanation, _ = r["explanation"].(string)
			if v, ok := r["reward"].(float64); ok {
				s.Reward = &v
			}
			out = append(out, s)
		}
		if len(out) == before {
			break
		}
	}
	return out
}

// Close closes the file.
func (m *metricsFile) Close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}
