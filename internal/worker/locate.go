package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/hub"
	"github.com/grouse-rl/grouse/trainer/checkpoint"
)

// Located is where a model's files are.
type Located struct {
	Path string // a Hugging Face folder or a .gguf file
	// Run is the run that Path is a checkpoint of, nil for other models; Stage,
	// Step and Chain say which of its weights.
	Run   *config.Resolved
	Stage int
	Step  int64
	Chain string
	// Skipped says of each newer checkpoint why it could not be used.
	Skipped []error
}

// Locate finds a model by what people write:
//
//	NAME             a run's newest whole checkpoint
//	NAME@20          its checkpoint of step 20 (or NAME@FOLDER: sft-step-000180)
//	DIR, FILE.gguf   a Hugging Face folder, a GGUF file
//	ORG/NAME[@REV]   a model of the hub that was pulled
//
// A path that exists comes before a hub name, a run before a folder of its name.
// The error is NotFound and says how to get the model.
func Locate(home, name string) (*Located, error) {
	run, version, _ := strings.Cut(name, "@")
	if config.CheckName(run) == nil {
		if _, err := os.Stat(RunDir(home, run)); err == nil {
			return locateRun(home, run, version)
		}
	}
	if _, err := os.Stat(name); err == nil {
		return &Located{Path: name}, nil
	}
	if strings.HasSuffix(name, ".gguf") {
		return nil, grouse.Errorf(grouse.NotFound, "no file %s", name)
	}
	if _, _, err := hub.ParseRepo(name); err == nil {
		path, err := PulledModel(home, name)
		return &Located{Path: path}, err
	}
	return nil, grouse.Errorf(grouse.NotFound, "no run, folder or file %q", name).
		WithFix("`grouse ls` shows the runs; a model is a run, a folder with config.json, a .gguf file or ORG/NAME")
}

func locateRun(home, run, version string) (*Located, error) {
	r, err := LoadRecipe(home, run)
	if err != nil {
		return nil, err
	}
	at := &Located{Run: r}
	root := filepath.Join(RunDir(home, run), "checkpoints")
	var d *checkpoint.Dir
	if version == "" {
		if d, at.Skipped, err = checkpoint.Latest(root); grouse.KindOf(err) == grouse.NotFound {
			return nil, grouse.Errorf(grouse.NotFound, "run %s has no checkpoint yet", run).WithFix("they are written every %d steps and at the end of a stage", r.Spec.Checkpoint.Every)
		}
	} else {
		folder := version
		if n, numErr := strconv.ParseUint(version, 10, 31); numErr == nil {
			folder = checkpoint.Name(int64(n))
		}
		if strings.ContainsAny(folder, `/\`) || strings.HasPrefix(folder, ".") {
			return nil, grouse.Errorf(grouse.Invalid, "checkpoint %q of run %s", version, run).WithFix("write %s@STEP", run)
		}
		if d, err = checkpoint.Open(filepath.Join(root, folder)); grouse.KindOf(err) == grouse.NotFound {
			return nil, grouse.Errorf(grouse.NotFound, "run %s has no checkpoint %s", run, version).WithFix("it has %s", checkpointNames(root))
		}
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	at.Path, at.Stage, at.Step, at.Chain = d.Path, d.State.Stage, d.State.Step, d.State.Chain
	return at, nil
}

func checkpointNames(root string) string {
	list, err := checkpoint.List(root)
	if err != nil || len(list) == 0 {
		return "none yet"
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	return strings.Join(names, ", ")
}

// HubDir is where `grouse pull` puts a repository: models/ORG/NAME or
// datasets/ORG/NAME below home, with @REVISION if one is named.
func HubDir(home string, kind hub.Kind, name string) (string, error) {
	repo, revision, err := hub.ParseRepo(name)
	if err != nil {
		return "", err
	}
	if strings.Contains(name, "@") {
		repo += "@" + strings.ReplaceAll(revision, "/", "--")
	}
	return filepath.Join(home, string(kind), filepath.FromSlash(repo)), nil
}

// PulledModel returns the folder of a pulled model, or its one GGUF file.
// NotFound, with the command that pulls it, if it is not there.
func PulledModel(home, name string) (string, error) {
	dir, err := HubDir(home, hub.Model, name)
	if err != nil {
		return "", err
	}
	s, err := hub.Pulled(dir)
	if grouse.KindOf(err) == grouse.NotFound {
		return "", grouse.Errorf(grouse.NotFound, "model %s is not on this machine", name).WithFix("grouse pull %s", name)
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil && s.Files["config.json"] != "" {
		return dir, nil
	}
	var files []string
	for f := range s.Files {
		if strings.HasSuffix(f, ".gguf") {
			files = append(files, filepath.Join(dir, filepath.FromSlash(f)))
		}
	}
	switch len(files) {
	case 1:
		return files[0], nil
	case 0:
		return "", grouse.Errorf(grouse.Invalid, "model %s has neither config.json nor a .gguf file", name)
	}
	return "", grouse.Errorf(grouse.Invalid, "model %s has %d GGUF files", name, len(files)).WithFix("name one of those in %s", dir)
}

// pulledTables returns the reader of hub data sets that data.Load needs.
func pulledTables(home string) func(name, config, split string) ([]string, error) {
	return func(name, config, split string) ([]string, error) {
		dir, err := HubDir(home, hub.Dataset, name)
		if err != nil {
			return nil, err
		}
		s, err := hub.Pulled(dir)
		if grouse.KindOf(err) == grouse.NotFound {
			return nil, grouse.Errorf(grouse.NotFound, "data set %s is not on this machine", name).WithFix("grouse pull %s --dataset", name)
		}
		if err != nil {
			return nil, err
		}
		return s.Split(config, split)
	}
}

// String names the weights: the path, or run and step.
func (l *Located) String() string {
	if l.Run == nil {
		return l.Path
	}
	return fmt.Sprintf("%s, %s, step %d", l.Run.Spec.Name, l.Run.Spec.Stages[l.Stage].Name, l.Step)
}
