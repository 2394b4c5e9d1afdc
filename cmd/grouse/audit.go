package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/grouse-rl/grouse/internal/worker"
)

type auditCmd struct {
	Name string `arg:"" help:"Name of the run."`
	JSON bool   `name:"json" help:"One JSON object."`
}

// Help is shown by `grouse audit --help`.
func (c *auditCmd) Help() string {
	return `Proves, from the ledger and the checkpoints, that every prompt that was drawn has exactly one final
state, that no group was trained on twice, that the weights' chain of hashes is unbroken from H_0 to
the end, and that every checkpoint is the one that was recorded. Exit code 5 with the first
discrepancy otherwise. It reads only; the run may be at work.

Example:
  grouse audit quickstart --json`
}

// Run audits a run.
func (c *auditCmd) Run(a *app) error {
	if _, err := worker.LoadRecipe(a.home, c.Name); err != nil {
		return err
	}
	r, err := worker.Audit(worker.RunDir(a.home, c.Name))
	if err != nil {
		return err
	}
	if c.JSON {
		return a.line(r)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "ledger\t%d records, hash chain unbroken\n", r.Records)
	fmt.Fprintf(w, "weights\t%d stages, %d sft updates, %d steps, chain unbroken from H_0\n", r.Stages, r.SFTUpdates, r.Steps)
	fmt.Fprintf(w, "prompts\t%d drawn, each with one final state\n", r.Drawn)
	fmt.Fprintf(w, "\t%d trained (%d completions, none twice), %d filtered, %d failed\n", r.Trained, r.Completions, r.Filtered, r.Failed)
	var reasons []string
	for name := range r.Reasons {
		reasons = append(reasons, name)
	}
	slices.Sort(reasons)
	for _, name := range reasons {
		fmt.Fprintf(w, "\t  %s %d\n", name, r.Reasons[name])
	}
	fmt.Fprintf(w, "checkpoints\t%d recorded: %d are whole and fit the ledger, %d pruned\n", r.Checkpoints, r.Whole, r.Pruned)
	if len(r.Unrecorded) > 0 {
		fmt.Fprintf(w, "\tsaved but not recorded (a crash in between, or a run at work): %s\n", strings.Join(r.Unrecorded, ", "))
	}
	if r.Pending {
		fmt.Fprintf(w, "pending\tone committed batch that will be trained on next\n")
	}
	fmt.Fprintf(w, "chain\t%s\n", r.Chain)
	return w.Flush()
}
