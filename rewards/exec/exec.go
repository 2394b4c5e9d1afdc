// Package exec is a reward in any language: a command that reads one JSON line and
// writes one (package jsonapi says which). It may live on and read the next group's
// line, or exit after its answer and be started again.
package exec

import (
	"context"

	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
	"github.com/grouse-rl/grouse/rewards/process"
)

// Options are the parameters of exec.
type Options struct {
	Command   []string          `json:"command"`    // program and arguments; no shell in between
	Dir       string            `json:"dir"`        // working directory
	Env       map[string]string `json:"env"`        // added to the environment
	MemoryMB  int               `json:"memory_mb"`  // address space of the process; 0: no limit
	MaxOutput int               `json:"max_output"` // bytes of an answer; 0: 4 MiB
	Workers   int               `json:"workers"`    // processes at the same time; 1
}

// Command is a reward behind a command.
type Command struct{ pool *process.Pool }

// New starts nothing yet: processes come with the first group.
func New(o Options) (*Command, error) {
	spec := process.Spec{Args: o.Command, Dir: o.Dir, MemoryMB: o.MemoryMB, MaxOutput: o.MaxOutput, Workers: o.Workers}
	for k, v := range o.Env {
		spec.Env = append(spec.Env, k+"="+v)
	}
	pool, err := process.NewPool(spec)
	if err != nil {
		return nil, err
	}
	return &Command{pool}, nil
}

// Judge sends the group to the command. When ctx ends the command is killed with all
// its children.
func (c *Command) Judge(ctx context.Context, g *rewards.Group) ([]rewards.Result, error) {
	if err := ctx.Err(); err != nil || len(g.Samples) == 0 {
		return nil, err
	}
	line, err := jsonapi.Encode(g)
	if err != nil {
		return nil, err
	}
	answer, err := c.pool.Call(ctx, line)
	if err != nil {
		return nil, err
	}
	return jsonapi.Decode(answer, len(g.Samples))
}

// Slots are the processes'.
func (c *Command) Slots() chan struct{} { return c.pool.Slots() }

// Close ends the processes.
func (c *Command) Close() error { return c.pool.Close() }

var _ rewards.Queued = (*Command)(nil)

// NewReward makes the reward exec from a recipe's parameters.
func NewReward(params map[string]any) (rewards.Reward, error) {
	o := Options{Workers: 1}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	return New(o)
}
