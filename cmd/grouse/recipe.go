package main

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
	"github.com/grouse-rl/grouse/internal/worker"
)

type recipeCmd struct {
	List   recipeListCmd   `cmd:"" help:"List the built-in recipes and presets."`
	Show   recipeShowCmd   `cmd:"" help:"Print a recipe, or where each of its values comes from."`
	Check  recipeCheckCmd  `cmd:"" help:"Check recipes without running them."`
	Schema recipeSchemaCmd `cmd:"" help:"Print the JSON Schema of recipes, for editors."`
}

type recipeListCmd struct{}

// Run lists recipes and presets.
func (*recipeListCmd) Run(a *app) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, name := range config.List() {
		r, err := config.Load(name, config.Options{})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\n", name, r.Spec.Description)
	}
	fmt.Fprintln(w, "\npresets (preset: NAME in a recipe)")
	for _, name := range config.Presets() {
		fmt.Fprintf(w, "%s\t%s\n", name, config.PresetAbout(name))
	}
	return w.Flush()
}

type recipeShowCmd struct {
	Recipe  string   `arg:"" help:"Built-in recipe or file."`
	Explain bool     `help:"Print each value with where it came from."`
	Set     []string `help:"Override a key." placeholder:"KEY=VALUE" sep:"none"`
}

// Run prints a recipe.
func (c *recipeShowCmd) Run(a *app) error {
	if !c.Explain {
		raw, _, _, err := config.Read(c.Recipe)
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(raw)
		return err
	}
	r, err := config.Load(c.Recipe, config.Options{Set: c.Set})
	if err != nil {
		return err
	}
	lines, err := r.Explain()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tVALUE\tUNIT\tFROM\tSOURCE\tMEANING")
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Path, l.Value, l.Unit, l.Origin, l.Source, l.About)
	}
	return w.Flush()
}

type recipeSchemaCmd struct{}

// Help is shown by `grouse recipe schema --help`.
func (*recipeSchemaCmd) Help() string {
	return `Example:
  grouse recipe schema > grouse.schema.json
and at the top of a recipe, for editors with a YAML language server:
  # yaml-language-server: $schema=grouse.schema.json`
}

// Run prints the schema.
func (*recipeSchemaCmd) Run(a *app) error {
	raw, err := config.Schema()
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(raw)
	return err
}

type recipeCheckCmd struct {
	Recipes []string `arg:"" help:"Built-in recipes or files."`
	Set     []string `help:"Override a key." placeholder:"KEY=VALUE" sep:"none"`
}

// Help is shown by `grouse recipe check --help`.
func (*recipeCheckCmd) Help() string {
	return `Examples:
  grouse recipe check my.yaml
  grouse --device cuda recipe check my.yaml     and what it would need of a GPU's memory`
}

// sayGPU prints what a recipe that is for a GPU, or with --device cuda, needs of one;
// none need be here.
func (a *app) sayGPU(r *config.Resolved) error {
	onGPU := func(s grouse.Stage) bool { return s.Trainer.Backend == devices.CUDA }
	if a.backend != devices.CUDA && !slices.ContainsFunc(r.Spec.Stages, onGPU) {
		return nil
	}
	m, err := worker.PlanGPU(r, a.home, append([]string{worker.RoleTrainer}, worker.Roles...))
	switch {
	case err != nil:
		return err
	case m == nil:
		fmt.Fprintln(a.stdout, "  on a GPU: not known, the model's config.json is not here")
	default:
		fmt.Fprintf(a.stdout, "  on a GPU: %v\n", m)
	}
	return nil
}

// Run checks recipes; the first that is not right decides the exit code.
func (c *recipeCheckCmd) Run(a *app) error {
	var first error
	for _, name := range c.Recipes {
		r, err := config.Load(name, config.Options{Set: c.Set})
		if err != nil {
			if first == nil {
				first = err
			} else {
				a.fail(err)
			}
			continue
		}
		fmt.Fprintf(a.stdout, "%s: ok\n", name)
		if err := a.sayGPU(r); err != nil {
			return err
		}
	}
	return first
}
