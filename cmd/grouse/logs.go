package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
)

type logsCmd struct {
	Name   string   `arg:"" help:"Name of the run."`
	Follow bool     `short:"f" help:"Go on with what comes, until the run is done."`
	Kind   []string `help:"Only events of these kinds: step, sft, eval, checkpoint, restore, warning." placeholder:"KIND"`
	Tail   int      `short:"n" help:"Begin with the last N; 0 for all." default:"0" placeholder:"N"`
	JSON   bool     `name:"json" help:"One JSON object a line on stdout."`
}

// Help is shown by `grouse logs --help`.
func (c *logsCmd) Help() string {
	return `What happened to a run, from its folder: steps, evaluations, checkpoints, what was restored after a
kill, and warnings. Attempts of the servers and workers are in logs/ of the state folder.

Examples:
  grouse logs quickstart -n 20
  grouse logs quickstart -f --kind warning --kind restore
  grouse logs quickstart --json | jq .step`
}

var eventKinds = []string{"step", "sft", "eval", "checkpoint", "restore", "warning"}

// Run prints a run's events.
func (c *logsCmd) Run(a *app) error {
	for _, k := range c.Kind {
		if !slices.Contains(eventKinds, k) {
			return grouse.Errorf(grouse.Invalid, "unknown kind %q", k).WithFix("kinds: %s", strings.Join(eventKinds, ", "))
		}
	}
	if c.Tail < 0 {
		return grouse.Errorf(grouse.Invalid, "--tail %d", c.Tail).WithFix("0 for all, or a number of events")
	}
	r, err := worker.LoadRecipe(a.home, c.Name)
	if err != nil {
		return err
	}
	dir := worker.RunDir(a.home, c.Name)
	raw, err := os.ReadFile(filepath.Join(dir, worker.EventsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return grouse.Errorf(grouse.Unavailable, "logs: %w", err)
	}
	var lines [][]byte
	have := 0 // whole lines that there are
	for line := range bytes.Lines(raw) {
		if line[len(line)-1] == '\n' {
			have++
			if c.wanted(line) {
				lines = append(lines, line)
			}
		}
	}
	if c.Tail > 0 {
		lines = lines[max(0, len(lines)-c.Tail):]
	}
	for _, line := range lines {
		if err := c.print(a, r.Spec, line); err != nil {
			return err
		}
	}
	if !c.Follow {
		if have == 0 && !c.JSON {
			fmt.Fprintf(a.stderr, "nothing has happened to run %s yet: grouse resume %s\n", c.Name, c.Name)
		}
		return nil
	}
	n := 0
	return follow(a.ctx, dir, worker.EventsFile, func(line []byte) error {
		if n++; n <= have || !c.wanted(line) {
			return nil
		}
		return c.print(a, r.Spec, line)
	})
}

// wanted reports whether a line is an event of the kinds asked for.
func (c *logsCmd) wanted(line []byte) bool {
	var e worker.EventLine
	return json.Unmarshal(line, &e) == nil && e.Kind != "" && (len(c.Kind) == 0 || slices.Contains(c.Kind, e.Kind))
}

// print prints one event.
func (c *logsCmd) print(a *app, spec grouse.RunSpec, line []byte) error {
	if c.JSON {
		_, err := fmt.Fprintf(a.stdout, "%s\n", bytes.TrimSpace(line))
		return err
	}
	var e worker.EventLine
	if err := json.Unmarshal(line, &e); err != nil {
		return grouse.Errorf(grouse.Corrupt, "logs: %w", err)
	}
	when := "-                  "
	if e.At > 0 {
		when = time.UnixMilli(e.At).Format("2006-01-02 15:04:05")
	}
	where := ""
	if e.Stage >= 0 && e.Stage < len(spec.Stages) {
		where = fmt.Sprintf("%s %d", spec.Stages[e.Stage].Name, e.Step)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-10s  %-10s  %s\n", when, e.Kind, where, visible(eventText(spec, &e)))
	return err
}

// eventText is what an event says.
func eventText(spec grouse.RunSpec, e *worker.EventLine) string {
	m := e.Stats
	switch e.Kind {
	case "step":
		return fmt.Sprintf("reward %.3f · entropy %.3f · length %.1f · grad %.2f", m["reward"], m["entropy"], m["completions/mean_length"], m["grad_norm"])
	case "sft":
		return fmt.Sprintf("loss %.4f · grad %.2f", m["loss"], m["grad_norm"])
	case "eval":
		return fmt.Sprintf("held-out %s %s", spec.Eval.Metric, percent(evalValue(spec.Eval.Metric, m)))
	}
	return e.Text
}
