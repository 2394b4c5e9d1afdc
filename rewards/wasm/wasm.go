// Package wasm is a reward in a WebAssembly module (WASI preview 1): a program that
// reads one JSON line from standard input and writes one to standard output (package
// jsonapi says which). It sees no file, no network, no environment, no clock and no
// randomness but fixed ones, so its verdict depends on what it is given alone.
//
// Each group runs in a fresh instance with a bound on memory and a budget of
// instructions (package fuel): how far a module gets does not depend on the machine's
// speed. When the deadline passes the instance is stopped between two instructions.
package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
	"github.com/grouse-rl/grouse/rewards/wasm/fuel"
)

// Options are the parameters of wasm.
type Options struct {
	File     string `json:"file"`      // the .wasm file
	MemoryMB int    `json:"memory_mb"` // of an instance; 256
	Fuel     int64  `json:"fuel"`      // instructions for one group; 10,000,000,000
}

// Bounds of an exchange and of what a module may ask for.
const (
	pageBytes   = 64 << 10
	maxMemoryMB = 4096
	maxModule   = 64 << 20
	defaultFuel = 10_000_000_000
	maxFuel     = 1_000_000_000_000_000
	maxAnswer   = 4 << 20
	maxWords    = 2000
)

// Module is a reward in a compiled module.
type Module struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	fuel     int64
}

// New compiles the module.
func New(o Options) (*Module, error) {
	if o.MemoryMB < 1 || o.MemoryMB > maxMemoryMB {
		return nil, grouse.Errorf(grouse.Invalid, "memory_mb is %d", o.MemoryMB).WithFix("set memory_mb to 1 to %d", maxMemoryMB)
	}
	if o.Fuel < 1 || o.Fuel > maxFuel {
		return nil, grouse.Errorf(grouse.Invalid, "fuel is %d", o.Fuel).WithFix("set fuel, the instructions for one group, to 1 to %d", int64(maxFuel))
	}
	code, err := read(o.File)
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "module: %w", err).WithFix("set file to a .wasm file for WASI (%s)", build)
	}
	metered, err := fuel.Meter(code, o.Fuel)
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "module %s: %w", o.File, err).WithFix("build it as a WASI preview 1 command of WebAssembly 2.0 (%s)", build)
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true).WithMemoryLimitPages(uint32(o.MemoryMB<<20/pageBytes)).WithDebugInfoEnabled(false)) // its offsets are those before metering
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, errors.Join(fmt.Errorf("module %s: %w", o.File, err), r.Close(ctx))
	}
	compiled, err := r.CompileModule(ctx, metered)
	if err != nil {
		return nil, errors.Join(grouse.Errorf(grouse.Invalid, "module %s: %w", o.File, err).WithFix("build it as a WASI preview 1 command (%s)", build), r.Close(ctx))
	}
	if start := compiled.ExportedFunctions()[entry]; start == nil || len(start.ParamTypes())+len(start.ResultTypes()) > 0 {
		return nil, errors.Join(grouse.Errorf(grouse.Invalid, "module %s exports no function %s", o.File, entry).WithFix("build it as a WASI preview 1 command, not as a library (%s)", build), r.Close(ctx))
	}
	return &Module{r, compiled, o.Fuel}, nil
}

// entry is what a WASI command exports.
const entry = "_start"

// build says how a module is made.
const build = "GOOS=wasip1 GOARCH=wasm go build, or cargo build --target wasm32-wasip1"

// read returns a file of at most maxModule bytes.
func read(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxModule {
		return nil, fmt.Errorf("%s has %d bytes: at most %d", file, info.Size(), maxModule)
	}
	return os.ReadFile(file)
}

// Judge runs the module's _start on the group.
func (m *Module) Judge(ctx context.Context, g *rewards.Group) ([]rewards.Result, error) {
	if err := ctx.Err(); err != nil || len(g.Samples) == 0 {
		return nil, err
	}
	line, err := jsonapi.Encode(g)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	out, words := &capped{most: maxAnswer, full: stop}, &capped{most: maxWords}
	used, err := m.execute(running, wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithStdin(bytes.NewReader(append(line, '\n'))).WithStdout(out).WithStderr(words))
	said := ""
	if s := strings.TrimSpace(words.String()); s != "" {
		said = "; it said: " + s
	}
	var exit *sys.ExitError
	switch {
	case out.over:
		return nil, rewards.Failf(grouse.BadOutput, "the answer is longer than %d bytes", maxAnswer)
	case used > m.fuel: // before the deadline: it would have come to this on any machine
		return nil, rewards.Failf(grouse.OutOfFuel, "out of fuel: the group takes more than %d instructions%s", m.fuel, said)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &exit) && exit.ExitCode() == 0, err == nil:
	case errors.As(err, &exit):
		return nil, rewards.Failf(outcome(said), "the module ended with status %d%s", exit.ExitCode(), said)
	default:
		return nil, rewards.Failf(outcome(err.Error()+said), "the module failed: %w%s", err, said)
	}
	answer, _, _ := strings.Cut(strings.TrimLeft(out.String(), " \r\n"), "\n")
	if answer == "" {
		return nil, rewards.Failf(grouse.BadOutput, "the module ended without an answer%s", said)
	}
	results, err := jsonapi.Decode([]byte(answer), len(g.Samples))
	if err != nil {
		return nil, err
	}
	for i := range results {
		if results[i].Numbers == nil {
			results[i].Numbers = map[string]float64{}
		}
		results[i].Numbers["fuel"] = float64(used)
	}
	return results, nil
}

// execute runs the module in an instance of its own and returns the instructions that
// it took: more than its fuel if it ran out.
func (m *Module) execute(ctx context.Context, config wazero.ModuleConfig) (used int64, err error) {
	instance, err := m.runtime.InstantiateModule(ctx, m.compiled, config) // runs nothing: package fuel saw to it
	if err != nil {
		return 0, err
	}
	defer instance.Close(context.Background())
	left := instance.ExportedGlobal(fuel.Global)
	for _, name := range []string{fuel.Start, entry} {
		if f := instance.ExportedFunction(name); f != nil && err == nil {
			_, err = f.Call(ctx)
		}
	}
	return m.fuel - int64(left.Get()), err
}

// outcome tells want of memory from other failures, by what was said.
func outcome(words string) grouse.Outcome {
	for _, w := range []string{"out of memory", "memory allocation", "OutOfMemory"} {
		if strings.Contains(words, w) {
			return grouse.OOM
		}
	}
	return grouse.Errored
}

// capped keeps the first bytes that are written to it, drops the rest, and calls full
// when there is more.
type capped struct {
	bytes.Buffer
	most int
	over bool
	full func() // may be nil
}

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > c.most {
		c.over = true
		if c.full != nil {
			c.full()
		}
		return len(p), nil
	}
	return c.Buffer.Write(p)
}

// Close frees the module.
func (m *Module) Close() error { return m.runtime.Close(context.Background()) }

var _ rewards.Reward = (*Module)(nil)

// NewReward makes the reward wasm from a recipe's parameters.
func NewReward(params map[string]any) (rewards.Reward, error) {
	o := Options{MemoryMB: 256, Fuel: defaultFuel}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	return New(o)
}
