package main

import (
	"encoding/json"
	"os"
	"path/filepath"

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
	err = follow(a.ctx, dir, worker.MetricsFile, func(line []byte) error {
		var m worker.MetricLine
		if json.Unmarshal(line, &m) == nil {
			v.event(activities.Event{Kind: m.Event, Stage: m.Stage, Step: m.Step, Stats: m.Metrics, Times: m.Times})
		}
		return nil
	})
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(dir, worker.DoneFile))
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "watch: %w", err)
	}
	var d done
	if err := json.Unmarshal(raw, &d); err != nil {
		return grouse.Errorf(grouse.Corrupt, "%s: %w", worker.DoneFile, err)
	}
	v.finish(d)
	return nil
}
