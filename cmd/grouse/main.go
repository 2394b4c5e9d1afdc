// Command grouse trains language models by reinforcement learning from
// verifiable and rubric rewards. `grouse run quickstart` needs nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/grouse-rl/grouse"
)

// Exit codes.
const (
	exitOK          = 0
	exitUsage       = 2   // the command line
	exitInvalid     = 3   // recipe, data or model
	exitEnvironment = 4   // something that is needed is not there, or not now
	exitFailed      = 5   // the run failed, or stored bytes are damaged
	exitPaused      = 6   // left while the run was paused: it waits for a person
	exitInterrupted = 130 //
)

type cli struct {
	Home   string `help:"Folder of all state." env:"GROUSE_HOME" default:"~/.grouse" type:"path" placeholder:"DIR"`
	Device string `help:"What computes where no recipe says it: cpu or cuda." enum:"cpu,cuda" env:"GROUSE_DEVICE" default:"cpu"`

	Run    runCmd    `cmd:"" help:"Train: a built-in recipe by name, or a recipe file."`
	Resume resumeCmd `cmd:"" help:"Go on with a run that was stopped, paused or killed."`
	Ls     lsCmd     `cmd:"" help:"List the runs."`
	Show   showCmd   `cmd:"" help:"Show a run: state, last steps, results."`
	Watch  watchCmd  `cmd:"" help:"Watch a run, from any terminal."`
	Logs   logsCmd   `cmd:"" help:"Print what happened to a run: events and warnings."`
	Pause  pauseCmd  `cmd:"" help:"Hold a run after its current step."`
	Stop   stopCmd   `cmd:"" help:"End a run after its current step; it can be resumed."`
	Set    setCmd    `cmd:"" help:"Change a setting of a live run."`
	Fork   forkCmd   `cmd:"" help:"Begin a new run with the weights of another's checkpoint."`
	Diff   diffCmd   `cmd:"" help:"Two runs side by side: recipes, and metrics at the last step of both."`

	Chat      chatCmd      `cmd:"" help:"Talk to a model or to a run's newest checkpoint."`
	Eval      evalCmd      `cmd:"" help:"Judge a model on held-out data: avg@n and pass@k with intervals."`
	Generate  generateCmd  `cmd:"" help:"Complete the prompts of a file."`
	Logprobs  logprobsCmd  `cmd:"" help:"Log-probabilities of the tokens of a file's texts."`
	Export    exportCmd    `cmd:"" help:"Write a model as a Hugging Face folder or a GGUF file."`
	Pull      pullCmd      `cmd:"" help:"Fetch a model or data set from the hub."`
	Audit     auditCmd     `cmd:"" help:"Prove that a run lost nothing and trained on nothing twice."`
	Replay    replayCmd    `cmd:"" help:"Make a run's weights again from its ledger and compare."`
	Bench     benchCmd     `cmd:"" help:"Measure generation, training and the matrix product."`
	Recipe    recipeCmd    `cmd:"" help:"List, show and check recipes; their JSON Schema."`
	Reward    rewardCmd    `cmd:"" help:"List, test and begin rewards."`
	Rescore   rescoreCmd   `cmd:"" help:"Judge a run's stored completions with other rewards, beside the old scores."`
	Judge     judgeCmd     `cmd:"" help:"Answer the questions that a run asks people."`
	Serve     serveCmd     `cmd:"" help:"Keep Temporal, its Web UI and NATS running on this machine."`
	Worker    workerCmd    `cmd:"" help:"Serve task queues: rollout, reward, or the trainer of a run."`
	Dashboard dashboardCmd `cmd:"" help:"Show runs in the browser: curves, and completions token by token."`
	Doctor    doctorCmd    `cmd:"" help:"Check this machine."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
	Complete  completeCmd  `cmd:"" name:"completion" help:"Print a completion script for bash, zsh or fish."`
}

// app is what commands need of the outside.
type app struct {
	ctx     context.Context
	home    string
	backend string // --device
	stdout  io.Writer
	stderr  io.Writer
}

func main() {
	// Nearly all memory is buffers that live long and hold no pointers: to let garbage
	// grow by a tenth of them costs little memory and little time. The gibibyte counts as
	// memory in use but is never touched, so never there: a small model's garbage may
	// grow by a tenth of it too, instead of being collected every few megabytes.
	var ballast []byte
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(10)
		ballast = make([]byte, 1<<30)
	}
	code := run(os.Args[1:], os.Stdout, os.Stderr)
	runtime.KeepAlive(ballast)
	os.Exit(code)
}

// run is main without the process.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("grouse"), kong.Description(description), kong.UsageOnError(),
		kong.Vars{"modelHelp": modelHelp}, kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		panic(err) // the commands' tags are wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if exit >= 0 { // help was printed
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "grouse: %v\n", err)
		fmt.Fprintln(stderr, "`grouse --help` lists the commands, `grouse COMMAND --help` shows one.")
		return exitUsage
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	a := &app{ctx: ctx, home: c.Home, backend: c.Device, stdout: stdout, stderr: stderr}
	if err := k.Run(a); err != nil {
		return a.fail(err)
	}
	return exitOK
}

const description = `Reinforcement learning of language models from verifiable and rubric rewards.

  grouse run quickstart              a tiny model learns to add, in minutes
  grouse run my.yaml --set seed=2    your own recipe
  grouse ls                          what there is
  grouse resume NAME                 go on, wherever it was killed

Exit codes: 0 done, 2 usage, 3 invalid recipe, data or model, 4 environment,
5 run failed, 6 left while it was paused, 130 interrupted.`

// exitError ends the program with a code; its message was printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// fail prints an error with its way out and returns the exit code.
func (a *app) fail(err error) int {
	var code exitError
	if errors.As(err, &code) {
		return int(code)
	}
	fmt.Fprintf(a.stderr, "grouse: %v\n", err)
	if fix := grouse.FixOf(err); fix != "" {
		fmt.Fprintf(a.stderr, "  → %s\n", fix)
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	switch grouse.KindOf(err) {
	case grouse.Invalid:
		return exitInvalid
	case grouse.NotFound, grouse.Unavailable:
		return exitEnvironment
	}
	return exitFailed
}
