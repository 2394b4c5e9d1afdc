package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
)

type lsCmd struct {
	JSON bool `name:"json" help:"One JSON object a run."`
}

// Run lists the runs.
func (c *lsCmd) Run(a *app) error {
	entries, err := os.ReadDir(filepath.Join(a.home, "runs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return grouse.Errorf(grouse.Unavailable, "list runs: %w", err)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if !c.JSON && len(entries) > 0 {
		fmt.Fprintln(w, "NAME\tSTATE\tSTAGE\tSTEP\tREWARD\tRECIPE")
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		info, err := worker.Inspect(a.home, e.Name())
		if err != nil {
			fmt.Fprintf(a.stderr, "grouse: %s: %v\n", e.Name(), err)
			continue
		}
		if c.JSON {
			raw, err := json.Marshal(info)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s\n", raw)
			continue
		}
		reward := "-"
		if info.Reward != nil {
			reward = fmt.Sprintf("%.3f", *info.Reward)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d/%d\t%s\t%s\n", info.Run, info.State, info.Stage, info.Step, info.Steps, reward, info.Recipe)
	}
	if len(entries) == 0 && !c.JSON {
		fmt.Fprintf(a.stderr, "no runs in %s yet: grouse run quickstart\n", a.home)
	}
	return w.Flush()
}

type showCmd struct {
	Name string `arg:"" help:"Name of the run."`
	JSON bool   `name:"json" help:"One JSON object."`
}

// Run shows one run.
func (c *showCmd) Run(a *app) error {
	info, err := worker.Inspect(a.home, c.Name)
	if err != nil {
		return err
	}
	if c.JSON {
		raw, err := json.Marshal(info)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s\n", raw)
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "run\t%s (%s)\nrecipe\t%s\nat\t%s, step %d of %d\ndevice\t%s\ncheckpoint\t%s\nchain\t%s\nfolder\t%s\n",
		info.Run, info.State, info.Recipe, info.Stage, info.Step, info.Steps, info.Device, info.Checkpoint, info.Chain, info.Folder)
	var evals []string
	for k := range info.Eval {
		evals = append(evals, k)
	}
	sort.Strings(evals)
	for _, k := range evals {
		raw, err := json.Marshal(info.Eval[k])
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "held-out\t%s: %s\n", k, strings.Trim(string(raw), "{}"))
	}
	for _, k := range info.Metrics.Names() {
		fmt.Fprintf(w, "  %s\t%.6g\n", k, info.Metrics[k])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if info.State != "done" {
		fmt.Fprintf(a.stderr, "go on with: grouse resume %s\n", c.Name)
	}
	return nil
}
