package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/durable"
	"github.com/grouse-rl/grouse/internal/gguf"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/worker"
	"github.com/grouse-rl/grouse/trainer/checkpoint"
)

type exportCmd struct {
	Model  string `arg:"" help:"${modelHelp}"`
	Format string `help:"hf: a folder that transformers loads; gguf: a file for llama.cpp." enum:"hf,gguf" default:"hf"`
	Out    string `required:"" help:"Where to: a folder (hf) or a file (gguf) that does not exist." type:"path" placeholder:"PATH"`
	Type   string `help:"gguf: the matrices' type." enum:"f32,f16,bf16,q8_0" default:"f32"`
}

// Help is shown by `grouse export --help`.
func (c *exportCmd) Help() string {
	return `Examples:
  grouse export quickstart --format hf --out ./adder
  grouse export my-run@200 --format gguf --type q8_0 --out my-run.gguf`
}

// Run writes a model for other programs.
func (c *exportCmd) Run(a *app) error {
	at, err := locate(a, c.Model)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.Out); err == nil {
		return grouse.Errorf(grouse.Invalid, "%s exists", c.Out).WithFix("remove it, or name another --out")
	}
	if err := os.MkdirAll(filepath.Dir(c.Out), 0o755); err != nil {
		return grouse.Errorf(grouse.Unavailable, "export: %w", err)
	}
	isFile := strings.HasSuffix(at.Path, ".gguf")
	switch {
	case c.Format == "hf" && !isFile:
		err = exportFolder(c.Out, func(dir string) error { return copyModel(dir, at.Path) })
	default:
		var p *worker.Policy
		if p, err = worker.OpenWeights(cpu.New(0), at.Path, ""); err != nil {
			return err
		}
		if c.Format == "hf" {
			err = exportFolder(c.Out, func(dir string) error { return writeModel(dir, p) })
		} else {
			err = c.gguf(p, at)
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s → %s\n", at, c.Out)
	return nil
}

func (c *exportCmd) gguf(p *worker.Policy, at *worker.Located) error {
	kind := map[string]gguf.Type{"f32": gguf.F32, "f16": gguf.F16, "bf16": gguf.BF16, "q8_0": gguf.Q8_0}[c.Type]
	if p.Tokenizer == nil {
		return grouse.Errorf(grouse.Invalid, "export gguf: %s has no tokenizer", at.Path).WithFix("--format hf writes any model")
	}
	name := strings.TrimSuffix(filepath.Base(c.Out), ".gguf")
	var refused error
	err := durable.Write(c.Out, func(w io.Writer) error {
		refused = gguf.Export(w, gguf.ExportInput{Name: name, Config: p.Files["config.json"], Tokenizer: p.Files, Weights: weightsOf(p.Model), Type: kind})
		return refused
	})
	if grouse.KindOf(refused) == grouse.Invalid { // nothing is wrong with the disk
		return refused
	}
	return err
}

// weights gives a model's tensors by name.
type weights struct {
	m     *model.Model
	names []string
	place map[string]int // in m.Params
}

func weightsOf(m *model.Model) *weights {
	w := &weights{m: m, place: map[string]int{}}
	for i, p := range m.Params() {
		w.names = append(w.names, p.Name)
		w.place[p.Name] = i
	}
	slices.Sort(w.names)
	return w
}

func (w *weights) Names() []string { return w.names }

func (w *weights) Shape(name string) []int {
	i, ok := w.place[name]
	if !ok {
		return nil
	}
	return w.m.Params()[i].Shape()
}

func (w *weights) Float32(name string, dst []float32) error {
	i, ok := w.place[name]
	if !ok {
		return grouse.Errorf(grouse.NotFound, "no tensor %q", name)
	}
	copy(dst, w.m.Params()[i].Read(w.m.Device()))
	return nil
}

// exportFolder makes a folder so that it is whole or absent.
func exportFolder(out string, fill func(dir string) error) error {
	tmp, err := os.MkdirTemp(filepath.Dir(out), ".tmp-export-")
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "export: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, out); err != nil {
		return grouse.Errorf(grouse.Unavailable, "export: %w", err)
	}
	return durable.SyncDir(filepath.Dir(out))
}

// copyModel copies the files of a model folder or checkpoint, without what only
// training needs.
func copyModel(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return grouse.Errorf(grouse.NotFound, "export: %w", err)
	}
	if _, err := os.Stat(filepath.Join(from, "config.json")); err != nil {
		return grouse.Errorf(grouse.NotFound, "export: %s has no config.json", from)
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, ".") || slices.Contains([]string{checkpoint.OptimizerName, checkpoint.StateName, checkpoint.ManifestName}, name) {
			continue
		}
		in, err := os.Open(filepath.Join(from, name))
		if err != nil {
			return grouse.Errorf(grouse.Unavailable, "export: %w", err)
		}
		err = durable.Write(filepath.Join(to, name), func(w io.Writer) error {
			_, err := io.Copy(w, in)
			return err
		})
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// writeModel writes a model in memory as a Hugging Face folder.
func writeModel(dir string, p *worker.Policy) error {
	for name, raw := range p.Files {
		if err := durable.WriteFile(filepath.Join(dir, name), raw); err != nil {
			return err
		}
	}
	return durable.Write(filepath.Join(dir, "model.safetensors"), func(w io.Writer) error {
		return safetensors.Write(w, p.Model.Tensors(), map[string]string{"format": "pt"})
	})
}
