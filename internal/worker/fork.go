package worker

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/durable"
)

// InitialDir is, in the folder of a fork, the model that it begins with.
const InitialDir = "initial"

// Fork makes a run that begins with the weights of a checkpoint of another and
// goes through that one's stages from the checkpoint's on, with some keys of the
// recipe changed (config.Resolved.Override). The model is copied: the other run
// may go on, prune its checkpoints, or be removed. Moments, steps and the place in
// the data are not taken over. Nothing is written if the recipe makes no sense.
func Fork(home string, from *Located, name string, sets []string) (*config.Resolved, error) {
	if from.Run == nil {
		return nil, grouse.Errorf(grouse.Invalid, "%s is not a run", from.Path).WithFix("name it as the model of a recipe: model: %s", from.Path)
	}
	if err := config.CheckName(name); err != nil {
		return nil, err
	}
	dir := RunDir(home, name)
	if _, err := os.Stat(filepath.Join(dir, RecipeFile)); err == nil {
		return nil, grouse.Errorf(grouse.Invalid, "there is a run %s already", name).WithFix("give the fork another --name, or go on with that one: grouse resume %s", name)
	}
	initial, err := filepath.Abs(filepath.Join(dir, InitialDir))
	if err != nil {
		return nil, err
	}
	spec := from.Run.Spec
	spec.Name = name
	spec.Stages = append([]grouse.Stage(nil), spec.Stages[from.Stage:]...)
	spec.Stages[0].Model = "" // it begins with the checkpoint, whatever it began with before
	spec.Model = grouse.ModelSpec{Path: initial, ChatTemplate: spec.Model.ChatTemplate,
		From: &grouse.ForkSpec{Run: from.Run.Spec.Name, Stage: spec.Stages[0].Name, Step: from.Step, Chain: from.Chain}}
	r, err := (&config.Resolved{Spec: spec, Base: from.Run.Base}).Override(sets)
	if err != nil {
		return nil, err
	}
	if err := Supported(&r.Spec); err != nil {
		return nil, err
	}
	if _, err := forkedGPU(r, home, from); err != nil {
		return nil, err
	}
	if err := copyModel(from.Path, initial); err != nil {
		return nil, err
	}
	return r, SaveRecipe(home, r)
}

// copyModel copies a checkpoint's model, without what the trainer keeps beside it.
// Weights that can be are linked: checkpoints never change.
func copyModel(from, to string) error {
	err := os.RemoveAll(to) // of a fork that was interrupted
	if err == nil {
		err = os.MkdirAll(to, 0o755)
	}
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "fork: %w", err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "fork: %w", err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "optimizer.safetensors", "state.json", "MANIFEST.json":
			continue
		}
		if e.IsDir() {
			continue
		}
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if strings.HasSuffix(e.Name(), ".safetensors") && os.Link(source, target) == nil {
			continue
		}
		if err := durable.Write(target, func(w io.Writer) error {
			f, err := os.Open(source)
			if err != nil {
				return err
			}
			_, err = io.Copy(w, f)
			return errors.Join(err, f.Close())
		}); err != nil {
			return err
		}
	}
	return durable.SyncDir(to)
}
