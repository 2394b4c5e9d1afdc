package main

import (
	"fmt"
	"path/filepath"

	"github.com/grouse-rl/grouse/internal/starters"
)

type rewardNewCmd struct {
	Name string `arg:"" help:"Its name: small letters, digits and _."`
	Kind string `help:"python (TRL's signature), verl (verl's), exec, http, activity (a Temporal worker), go, wasm." default:"python" placeholder:"KIND"`
	Dir  string `help:"Folder for the files; the name unless given." placeholder:"DIR"`
}

// Run writes the files.
func (c *rewardNewCmd) Run(a *app) error {
	dir := c.Dir
	if dir == "" {
		dir = c.Name
	}
	files, err := starters.Write(dir, c.Kind, c.Name)
	if err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintln(a.stdout, filepath.Join(dir, f))
	}
	fmt.Fprintln(a.stderr, "the comment at the top says how to run the test, try it, and write it in a recipe")
	return nil
}
