package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/grouse-rl/grouse/internal/worker"
)

type diffCmd struct {
	A    string `arg:"" help:"Name of a run."`
	B    string `arg:"" help:"Name of another."`
	JSON bool   `name:"json" help:"One JSON object."`
}

// Help is shown by `grouse diff --help`.
func (c *diffCmd) Help() string {
	return `Two runs side by side: the keys in which their recipes differ, and their metrics at the last step,
and at the last evaluation, that both have. Steps go by the name of their stage.

Examples:
  grouse diff quickstart second
  grouse diff quickstart second --json | jq '.metrics[] | select(.metric == "reward")'`
}

// Run compares two runs.
func (c *diffCmd) Run(a *app) error {
	d, err := worker.Compare(a.home, c.A, c.B)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.line(d)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if len(d.Recipe) == 0 {
		fmt.Fprintln(w, "the recipes are the same")
	} else {
		fmt.Fprintf(w, "RECIPE\t%s\t%s\n", d.A, d.B)
		printChanges(w, d.Recipe)
	}
	printPairs := func(what string, at *worker.SharedStep, pairs []worker.MetricPair) {
		if at == nil {
			fmt.Fprintf(w, "\nno %s is in both\n", what)
			return
		}
		fmt.Fprintf(w, "\n%s %s %d\t%s\t%s\tB - A\n", what, at.Stage, at.Step, d.A, d.B)
		for _, p := range pairs {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Metric, metricText(p.A, "%.6g"), metricText(p.B, "%.6g"), difference(p))
		}
	}
	printPairs("step", d.At, d.Metrics)
	printPairs("evaluation", d.Eval, d.Evals)
	return w.Flush()
}

// printChanges prints a line a key.
func printChanges(w *tabwriter.Writer, list []worker.KeyChange) {
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\n", k.Key, visible(valueText(k.A)), visible(valueText(k.B)))
	}
}

// valueText is a recipe's value, - where there is none.
func valueText(raw []byte) string {
	if string(raw) == "null" {
		return "-"
	}
	const limit = 60
	if runes := []rune(string(raw)); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return string(raw)
}

func metricText(v *float64, format string) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, *v)
}

func difference(p worker.MetricPair) string {
	if p.A == nil || p.B == nil {
		return ""
	}
	d := *p.B - *p.A
	return metricText(&d, "%+.3g")
}
