package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/worker"
)

type watchCmd struct {
	Name string `arg:"" help:"Name of the run."`
	JSON bool   `name:"json" help:"One JSON object a line on stdout."`
}

// Run follows a run's metrics from its folder until it is done; whoever drives
// the run does not notice.
func (c *watchCmd) Run(a *app) error {
	r, err := worker.LoadRecipe(a.home, c.Name)
	if err != nil {
		return err
	}
	v := newView(a, r.Spec, c.JSON)
	defer v.close()
	dir := worker.RunDir(a.home, c.Name)
	f, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	for errors.Is(err, os.ErrNotExist) {
		select {
		case <-a.ctx.Done():
			return a.ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		f, err = os.Open(filepath.Join(dir, "metrics.jsonl"))
	}
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "watch: %w", err)
	}
	defer f.Close()
	br := bufio.NewReader(f)
	var partial []byte
	for {
		line, err := br.ReadBytes('\n')
		partial = append(partial, line...)
		if err == nil {
			var m worker.MetricLine
			if err := json.Unmarshal(partial, &m); err == nil {
				v.event(activities.Event{Kind: m.Event, Stage: m.Stage, Step: m.Step, Stats: m.Metrics, Times: m.Times})
			}
			partial = partial[:0]
			continue
		}
		if !errors.Is(err, io.EOF) {
			return grouse.Errorf(grouse.Unavailable, "watch: %w", err)
		}
		if raw, err := os.ReadFile(filepath.Join(dir, worker.DoneFile)); err == nil {
			var d done
			if err := json.Unmarshal(raw, &d); err != nil {
				return grouse.Errorf(grouse.Corrupt, "%s: %w", worker.DoneFile, err)
			}
			v.finish(d)
			return nil
		}
		select {
		case <-a.ctx.Done():
			return a.ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
