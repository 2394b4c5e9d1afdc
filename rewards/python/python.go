// Package python is a reward written in Python, unchanged: a file with a function of
// TRL's signature
//
//	def f(prompts, completions, **columns) -> list[float | None]     (async too)
//
// or of verl's
//
//	def compute_score(data_source, solution_str, ground_truth, extra_info=None) -> float | dict
//
// It runs in a supervised process of its own (package process), so that what hangs,
// crashes, forks or fills memory is killed and named, and the run goes on. What it
// prints appears in errors only.
package python

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
	"github.com/grouse-rl/grouse/rewards/process"
)

//go:embed runner.py
var runner string

// Styles of Options.Style.
const (
	Auto = "auto" // verl if the function has a parameter solution_str, else trl
	TRL  = "trl"
	Verl = "verl"
)

// Options are the parameters of python.
type Options struct {
	File     string `json:"file"`      // the .py file
	Function string `json:"function"`  // its name
	Style    string `json:"style"`     // auto | trl | verl
	Python   string `json:"python"`    // the interpreter; "python3"
	MemoryMB int    `json:"memory_mb"` // address space of the process; 4096, 0: no limit
	Workers  int    `json:"workers"`   // processes at the same time; 1
}

// Function is a reward behind a Python function.
type Function struct{ pool *process.Pool }

// New checks that the file and the interpreter exist. Whether the file loads is known
// with the first group.
func New(o Options) (*Function, error) {
	switch {
	case o.File == "" || o.Function == "":
		return nil, grouse.Errorf(grouse.Invalid, "python needs a file and a function").WithFix("write {use: python, file: my_rewards.py, function: accuracy}")
	case o.Style != Auto && o.Style != TRL && o.Style != Verl:
		return nil, grouse.Errorf(grouse.Invalid, "unknown style %q", o.Style).WithFix("set style to auto, trl or verl")
	}
	path, err := filepath.Abs(o.File)
	if err != nil {
		return nil, fmt.Errorf("file %q: %w", o.File, err)
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return nil, grouse.Errorf(grouse.NotFound, "no Python file %s", o.File).WithFix("give the path of the file with the function, relative to where grouse runs")
	}
	pool, err := process.NewPool(process.Spec{
		Args: []string{o.Python, "-u", "-c", runner, path, o.Function, o.Style}, Env: []string{"PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1"},
		MemoryMB: o.MemoryMB, Workers: o.Workers,
	})
	if err != nil {
		return nil, err
	}
	return &Function{pool}, nil
}

// Judge calls the function with the group.
func (f *Function) Judge(ctx context.Context, g *rewards.Group) ([]rewards.Result, error) {
	if err := ctx.Err(); err != nil || len(g.Samples) == 0 {
		return nil, err
	}
	line, err := jsonapi.Encode(g)
	if err != nil {
		return nil, err
	}
	answer, err := f.pool.Call(ctx, line)
	if err != nil {
		return nil, err
	}
	return jsonapi.Decode(answer, len(g.Samples))
}

// Slots are the processes'.
func (f *Function) Slots() chan struct{} { return f.pool.Slots() }

// Close ends the processes.
func (f *Function) Close() error { return f.pool.Close() }

var _ rewards.Queued = (*Function)(nil)

// NewReward makes the reward python from a recipe's parameters.
func NewReward(params map[string]any) (rewards.Reward, error) {
	o := Options{Style: Auto, Python: "python3", MemoryMB: 4096, Workers: 1}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	return New(o)
}
