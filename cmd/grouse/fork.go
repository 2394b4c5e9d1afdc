package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
)

type forkCmd struct {
	From  string   `arg:"" name:"name" help:"Name of the run to fork."`
	At    string   `help:"Checkpoint: a step, or a folder's name; the newest unless given." placeholder:"STEP"`
	Name  string   `required:"" help:"Name of the new run." placeholder:"NEW"`
	Set   []string `help:"Change a key: --set trainer.learning_rate=1e-5 --set stages.rl.steps=50." placeholder:"KEY=VALUE" sep:"none"`
	NoRun bool     `name:"no-run" help:"Make the run, but do not start it: grouse resume NEW does."`
	JSON  bool     `name:"json" help:"One JSON object a line on stdout."`
	Roles []string `help:"What this process serves: workflows, rollout, reward, trainer, or none. The rest is left to grouse worker." default:"workflows,rollout,reward,trainer" placeholder:"ROLE"`
	serverFlags
}

// Help is shown by `grouse fork --help`.
func (c *forkCmd) Help() string {
	return `A new run that begins with the weights of another's checkpoint. It goes through the stages from the
checkpoint's on, each at its full length, with new moments and data from the beginning; its reference
policy is the checkpoint. Its recipe says which run, step and chain the weights are from, so its own
chain of hashes begins with that. The model is copied: the other run may be removed.

Examples:
  grouse fork quickstart --name hotter --set rollout.temperature=1.2
  grouse fork quickstart --at 100 --name slower --set trainer.learning_rate=1e-5 --set stages.rl.steps=50
  grouse diff quickstart slower`
}

// Run makes the fork, shows what is different, and runs it.
func (c *forkCmd) Run(a *app) error {
	if _, err := worker.LoadRecipe(a.home, c.From); err != nil {
		return err
	}
	name := c.From
	if c.At != "" {
		name += "@" + c.At
	}
	from, err := worker.Locate(a.home, name)
	if err != nil {
		return err
	}
	for _, skipped := range from.Skipped {
		fmt.Fprintf(a.stderr, "grouse: %v\n", skipped)
	}
	r, err := worker.Fork(a.home, from, c.Name, c.Set)
	if err != nil {
		return err
	}
	changes, err := worker.Changes(from.Run, r)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := a.line(map[string]any{"event": "fork", "run": c.Name, "from": r.Spec.Model.From, "recipe": changes}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.stderr, "fork %s of %s\n", c.Name, from)
		w := tabwriter.NewWriter(a.stderr, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "RECIPE\t%s\t%s\n", c.From, c.Name)
		printChanges(w, changes)
		if err := w.Flush(); err != nil {
			return grouse.Errorf(grouse.Unavailable, "fork: %w", err)
		}
	}
	if c.NoRun {
		fmt.Fprintf(a.stderr, "start it with: grouse resume %s\n", c.Name)
		return nil
	}
	if err := a.planGPU(r, c.Roles); err != nil {
		return err
	}
	return drive(a, r, c.JSON, c.Roles, c.serverFlags, false)
}
