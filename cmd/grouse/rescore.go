package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
)

type rescoreCmd struct {
	Name   string   `arg:"" help:"Name of the run."`
	Reward []string `required:"" help:"The new reward: a name, a file (.py, .wasm, a program), or JSON as in a recipe. Several are summed." placeholder:"REWARD" sep:"none"`
	Domain string   `help:"Only this domain." placeholder:"NAME"`
	Steps  string   `help:"Only these steps: 20, 20-40, 20-." placeholder:"A-B"`
	Show   int      `help:"How many of the completions with the largest difference are shown." default:"5"`
	JSON   bool     `name:"json" help:"One JSON object a completion."`
}

// Help is shown by `grouse rescore --help`.
func (c *rescoreCmd) Help() string {
	return `Judges the completions that the run was trained on, which its ledger keeps, with another reward. Nothing
is generated and nothing is written to the run.

Examples:
  grouse rescore mine --reward my_rewards.py
  grouse rescore mine --reward '{"use":"math","weight":1}' --reward '{"use":"format","weight":0.1}' --steps 100-
  grouse rescore mine --reward judge.py --json > both.jsonl`
}

// rescoreLine is one completion.
type rescoreLine struct {
	Stage      int                `json:"stage"`
	Step       int64              `json:"step"`
	Row        string             `json:"row"`
	Sample     int                `json:"sample"`
	Before     *float64           `json:"before"`
	After      *float64           `json:"after"`
	Error      string             `json:"error,omitempty"`
	Parts      map[string]float64 `json:"parts,omitempty"` // of the new ones
	Completion string             `json:"completion"`
}

// Run rescores a run.
func (c *rescoreCmd) Run(a *app) error {
	r, err := worker.LoadRecipe(a.home, c.Name)
	if err != nil {
		return err
	}
	o := worker.RescoreOptions{Home: a.home, Domain: c.Domain}
	if o.First, o.Last, err = stepRange(c.Steps); err != nil {
		return err
	}
	for _, text := range c.Reward {
		spec, err := rewardOf(text)
		if err != nil {
			return err
		}
		o.Rewards = append(o.Rewards, spec)
	}
	var table comparison
	dev, err := worker.OpenDevice(&r.Spec, 0)
	if err != nil {
		return err
	}
	err = worker.Rescore(a.ctx, dev, r, worker.Rewards(a.home, nil), o, func(g worker.Rescored) error {
		for i, rollout := range g.Group.Rollouts {
			line := rescoreLine{Stage: g.Stage, Step: g.Step, Row: g.Group.Prompt.RowID, Sample: i, Before: g.Before[i].Reward, After: g.After[i].Reward,
				Error: g.After[i].Failure, Parts: g.After[i].Parts, Completion: rollout.Text}
			table.add(line)
			if c.JSON {
				if err := a.line(line); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || c.JSON {
		return err
	}
	return table.print(a, c.Show)
}

// rewardOf reads a reward's name, JSON or file.
func rewardOf(text string) (grouse.RewardSpec, error) {
	if info, err := os.Stat(text); err == nil && !info.IsDir() {
		name, params, err := (&rewardTestCmd{Name: text}).reward()
		return grouse.RewardSpec{Use: name, Name: name, Weight: 1, Params: params}, err
	}
	return rewardSpec(text)
}

// stepRange reads 20, 20-40 and 20-.
func stepRange(s string) (first, last int64, err error) {
	if s == "" {
		return 0, 0, nil
	}
	a, b, isRange := strings.Cut(s, "-")
	if first, err = strconv.ParseInt(a, 10, 64); err == nil {
		switch {
		case !isRange:
			last = first
		case b != "":
			last, err = strconv.ParseInt(b, 10, 64)
		}
	}
	if err != nil || first < 1 || (last != 0 && last < first) {
		return 0, 0, grouse.Errorf(grouse.Invalid, "--steps %s", s).WithFix("write --steps 20, 20-40 or 20-")
	}
	return first, last, nil
}

// comparison is old and new side by side.
type comparison struct {
	lines []rescoreLine
}

func (t *comparison) add(l rescoreLine) { t.lines = append(t.lines, l) }

func (t *comparison) print(a *app, show int) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "stage\tstep\tcompletions\tbefore\tafter\tchanged\terrors")
	row := func(name string, lines []rescoreLine) {
		var before, after float64
		n, changed, errors := 0, 0, 0
		for _, l := range lines {
			switch {
			case l.After == nil:
				errors++
			case l.Before != nil:
				n++
				before, after = before+*l.Before, after+*l.After
				if *l.Before != *l.After {
					changed++
				}
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%.4f\t%.4f\t%d\t%d\n", name, len(lines), before/float64(max(n, 1)), after/float64(max(n, 1)), changed, errors)
	}
	for i := 0; i < len(t.lines); {
		end := i
		for end < len(t.lines) && t.lines[end].Stage == t.lines[i].Stage && t.lines[end].Step == t.lines[i].Step {
			end++
		}
		row(fmt.Sprintf("%d\t%d", t.lines[i].Stage, t.lines[i].Step), t.lines[i:end])
		i = end
	}
	row("all\t", t.lines)
	if err := w.Flush(); err != nil {
		return err
	}
	difference := func(l rescoreLine) float64 {
		if l.Before == nil || l.After == nil {
			return 0
		}
		return math.Abs(*l.After - *l.Before)
	}
	sorted := slices.Clone(t.lines)
	slices.SortStableFunc(sorted, func(x, y rescoreLine) int {
		switch dx, dy := difference(x), difference(y); {
		case dx > dy:
			return -1
		case dx < dy:
			return 1
		}
		return 0
	})
	for _, l := range sorted[:min(show, len(sorted))] {
		if difference(l) > 0 {
			fmt.Fprintf(a.stdout, "── step %d, %s, sample %d: %.4g, now %.4g\n%s\n", l.Step, l.Row, l.Sample, *l.Before, *l.After, printable(l.Completion))
		}
	}
	for _, l := range t.lines {
		if l.Error != "" {
			fmt.Fprintf(a.stdout, "── step %d, %s: %s\n", l.Step, l.Row, printable(l.Error))
			break
		}
	}
	return nil
}
