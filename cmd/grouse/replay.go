package main

import (
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/worker"
)

type replayCmd struct {
	Name string `arg:"" help:"Name of the run."`
	To   int64  `help:"Stop after this step of the last rl stage." placeholder:"STEP"`
	JSON bool   `name:"json" help:"One JSON object."`
}

// Help is shown by `grouse replay --help`.
func (c *replayCmd) Help() string {
	return `Makes the run's weights again from the beginning, out of the batches in its ledger: nothing is
generated, nothing is judged, and nothing is written to the run. The chain of hashes is compared at
every step, the weights at every checkpoint. Exit code 5 with the first difference. The scratch
folder, in $TMPDIR, needs the room of a checkpoint.

Examples:
  grouse replay quickstart
  grouse replay quickstart --to 50 --json`
}

// Run replays a run.
func (c *replayCmd) Run(a *app) error {
	r, err := worker.LoadRecipe(a.home, c.Name)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "grouse-replay-")
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "replay: %w", err)
	}
	defer os.RemoveAll(scratch)
	ctx, cancel := signal.NotifyContext(a.ctx, os.Interrupt) // the scratch folder goes, whatever happens
	defer cancel()
	began, told := time.Now(), time.Now()
	var b *bar
	dev, err := worker.OpenDevice(&r.Spec, 0)
	if err != nil {
		return err
	}
	out, err := worker.Replay(ctx, dev, r, worker.ReplayOptions{Home: a.home, Scratch: scratch, To: c.To, Each: func(d activities.Replayed) {
		if b == nil {
			b = newBar(a, c.JSON, "replay", int64(d.Of))
		}
		b.set(int64(d.Done))
		if b.bar == nil && !c.JSON && time.Since(told) > 5*time.Second {
			told = time.Now()
			fmt.Fprintf(a.stderr, "%d of %d records: stage %s, step %d, the same so far\n", d.Done, d.Of, r.Spec.Stages[d.At.Stage].Name, d.At.Version)
		}
	}})
	if b != nil {
		b.close()
	}
	if err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	if c.JSON {
		return a.line(struct {
			Run string `json:"run"`
			*worker.ReplayResult
			Identical bool    `json:"identical"`
			Seconds   float64 `json:"seconds"`
		}{c.Name, out, true, seconds})
	}
	if out.Device != out.Recorded {
		fmt.Fprintf(a.stderr, "the run computed on %s, this is %s\n", out.Recorded, out.Device)
	}
	_, err = fmt.Fprintf(a.stdout, "identical: %d sft updates, %d steps, %d checkpoints in %.1f s\n  chain    %s\n", out.SFT, out.Steps, out.Checkpoints, seconds, out.Chain)
	if err == nil && out.Weights != "" {
		_, err = fmt.Fprintf(a.stdout, "  weights  %s\n", out.Weights)
	}
	return err
}
