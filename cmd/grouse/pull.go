package main

import (
	"fmt"
	"os"

	"github.com/grouse-rl/grouse/internal/hub"
	"github.com/grouse-rl/grouse/internal/worker"
)

type pullCmd struct {
	Repo    string `arg:"" name:"ORG/NAME" help:"ORG/NAME or ORG/NAME@REVISION on the hub."`
	Dataset bool   `help:"It is a data set."`
	JSON    bool   `name:"json" help:"One JSON object when it is there."`
}

// Help is shown by `grouse pull --help`.
func (c *pullCmd) Help() string {
	return `Fetches a model or data set into $GROUSE_HOME. Run again after an interruption it goes on where it
was; every file is checked against the hub's hash. HF_TOKEN gives access to private and gated ones,
HF_ENDPOINT names another hub.

Examples:
  grouse pull HuggingFaceTB/SmolLM2-135M-Instruct && grouse chat HuggingFaceTB/SmolLM2-135M-Instruct
  grouse pull openai/gsm8k --dataset          then in a recipe: data: {hub: openai/gsm8k, config: main}`
}

// Run fetches a repository.
func (c *pullCmd) Run(a *app) error {
	kind := hub.Model
	if c.Dataset {
		kind = hub.Dataset
	}
	dir, err := worker.HubDir(a.home, kind, c.Repo)
	if err != nil {
		return err
	}
	var b *bar
	file := ""
	end := func() {
		if b != nil {
			b.close()
		}
	}
	snap, err := hub.New(hub.OptionsFromEnv(os.Getenv)).Pull(a.ctx, hub.Request{Kind: kind, Repo: c.Repo, Dir: dir, Progress: func(p hub.Progress) {
		if p.File != file {
			end()
			file = p.File
			b = newBar(a, c.JSON, fmt.Sprintf("%d/%d %s (%s)", p.Files+1, p.Of, visible(p.File), size(p.Size)), p.Size)
			if b.progress == nil && !c.JSON {
				fmt.Fprintf(a.stderr, "%d/%d %s (%s)\n", p.Files+1, p.Of, visible(p.File), size(p.Size))
			}
		}
		b.set(p.Done)
	}})
	end()
	if err != nil {
		return err
	}
	if c.JSON {
		return a.line(map[string]any{"repo": snap.Repo, "revision": snap.Revision, "dir": dir, "files": snap.Files})
	}
	_, err = fmt.Fprintln(a.stdout, dir)
	return err
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
