package main

import (
	"fmt"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/workflows"
)

type pauseCmd struct {
	Name   string `arg:"" help:"Name of the run."`
	Reason string `help:"Why, for whoever looks at it." placeholder:"TEXT"`
	serverFlags
}

// Run pauses a live run.
func (c *pauseCmd) Run(a *app) error {
	return control(a, c.serverFlags, c.Name, workflows.UpdatePause, workflows.PauseInput{Reason: c.Reason})
}

type stopCmd struct {
	Name string `arg:"" help:"Name of the run."`
	serverFlags
}

// Run stops a live run.
func (c *stopCmd) Run(a *app) error {
	return control(a, c.serverFlags, c.Name, workflows.UpdateStop, workflows.StopInput{})
}

type setCmd struct {
	Name            string             `arg:"" help:"Name of the run."`
	LearningRate    *float64           `help:"Learning rate." placeholder:"X"`
	Beta            map[string]float64 `help:"KL strength of a domain: --beta math=0.001." placeholder:"DOMAIN=X"`
	Steps           *int               `help:"Steps of the current stage." placeholder:"N"`
	CheckpointEvery *int               `help:"Steps between checkpoints." placeholder:"N"`
	EvalEvery       *int               `help:"Steps between evaluations." placeholder:"N"`
	serverFlags
}

// Run changes settings of a live run; they take effect at its next step.
func (c *setCmd) Run(a *app) error {
	return control(a, c.serverFlags, c.Name, workflows.UpdateSet, workflows.SetInput{LearningRate: c.LearningRate, Beta: c.Beta, Steps: c.Steps,
		CheckpointEvery: c.CheckpointEvery, EvalEvery: c.EvalEvery})
}

// control sends an update to a run that somebody drives.
func control(a *app, f serverFlags, name, what string, arg any) error {
	s, err := f.connect(a, false)
	if err != nil {
		return err
	}
	defer s.close()
	var status workflows.Status
	if err := update(a.ctx, s.temporal, name, what, arg, &status); err != nil {
		return grouse.Errorf(grouse.Invalid, "%s %s: %w", what, name, err)
	}
	fmt.Fprintf(a.stdout, "%s: %s, stage %s, step %d of %d\n", name, status.State, status.StageName, status.Step, status.Steps)
	return nil
}
