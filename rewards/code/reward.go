package code

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/sandbox"
)

// Scores of Options.Score.
const (
	ScoreAll   = "all"   // 1 if every test passes, else 0
	ScoreShare = "share" // the share of the tests that pass
)

// Options are the parameters of code.
type Options struct {
	Tests      string `json:"tests"`       // column of the tests; "tests"
	EntryPoint string `json:"entry_point"` // column of the function's name, if a row has one; "entry_point"
	Setup      string `json:"setup"`       // column of Python text that runs before the tests, on their side; "setup"
	Prefix     string `json:"prefix"`      // column of text that completions continue, such as "prompt"; "": completions are whole programs
	Score      string `json:"score"`       // all | share; "all"

	Python   string   `json:"python"`        // the interpreter; "python3"
	Packages bool     `json:"site_packages"` // programs may import its installed packages
	Command  []string `json:"command"`       // of another language: runs File, reads stdin, prints; pairs only
	File     string   `json:"file"`          // the program's name in its working directory /tmp
	Language string   `json:"language"`      // of the fenced block, and for a service; "python"
	ReadOnly []string `json:"read_only"`     // more paths that programs see

	Sandbox string `json:"sandbox"` // native | bwrap | nsjail | gvisor | http; "native"
	URL     string `json:"url"`     // of a SandboxFusion service

	TimeLimit float64 `json:"time_limit"` // seconds for a program, for each pair; 5
	MemoryMB  int     `json:"memory_mb"`  // 512
	Processes int     `json:"processes"`  // 64
	DiskMB    int     `json:"disk_mb"`    // 64
	OutputMB  int     `json:"output_mb"`  // 10
	Parallel  int     `json:"parallel"`   // programs at the same time; 0: the number of processors
}

// Defaults returns the options of a recipe that names none.
func Defaults() Options {
	return Options{Tests: "tests", EntryPoint: "entry_point", Setup: "setup", Score: ScoreAll, Python: "python3", Language: "python", Sandbox: sandbox.KindNative,
		TimeLimit: 5, MemoryMB: 512, Processes: 64, DiskMB: 64, OutputMB: 10}
}

// Reward judges programs by tests.
type Reward struct {
	o         Options
	languages []string
	stdio     runner
	function  *function // nil: pairs only
	slots     chan struct{}
	closers   []io.Closer
}

// New makes the sandboxes and proves that they isolate: where that is not possible
// the error says what is missing, and there is no reward.
func New(o Options) (*Reward, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Parallel == 0 {
		o.Parallel = runtime.NumCPU()
	}
	r := &Reward{o: o, languages: fences(o.Language), slots: make(chan struct{}, o.Parallel)}
	if err := r.open(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (o *Options) validate() error {
	bad := func(fix, format string, args ...any) error {
		return grouse.Errorf(grouse.Invalid, format, args...).WithFix("%s", fix)
	}
	switch {
	case o.Tests == "":
		return bad("set tests to the column of the tests", "no column of tests")
	case o.Score != ScoreAll && o.Score != ScoreShare:
		return bad("set score to all or share", "unknown score %q", o.Score)
	case o.TimeLimit <= 0 || o.TimeLimit > 3600 || o.MemoryMB < 16 || o.Processes < 1 || o.DiskMB < 1 || o.OutputMB < 1 || o.Parallel < 0:
		return bad("time_limit is in seconds, up to 3600; memory_mb at least 16; processes, disk_mb and output_mb at least 1; parallel at least 0",
			"time_limit %v, memory_mb %d, processes %d, disk_mb %d, output_mb %d, parallel %d", o.TimeLimit, o.MemoryMB, o.Processes, o.DiskMB, o.OutputMB, o.Parallel)
	case (len(o.Command) == 0) != (o.File == ""):
		return bad("write command: [node, main.js], file: main.js, language: javascript", "command %q and file %q go together", o.Command, o.File)
	case len(o.Command) > 0 && o.Language == "python":
		return bad("set language to what the fenced block is marked with, such as javascript", "a command needs its language")
	case (o.Sandbox == sandbox.KindHTTP) != (o.URL != ""):
		return bad("write sandbox: http, url: http://HOST:8080", "sandbox %q and url %q go together", o.Sandbox, o.URL)
	case o.Sandbox == sandbox.KindHTTP && len(o.Command) > 0:
		return bad("remove command and file: a service runs its languages itself", "a command for a service")
	}
	return nil
}

// open makes what the options name.
func (r *Reward) open() error {
	o := r.o
	limits := sandbox.Limits{
		Time: time.Duration(o.TimeLimit * float64(time.Second)), Memory: int64(o.MemoryMB) << 20, Processes: o.Processes, Disk: int64(o.DiskMB) << 20, Output: o.OutputMB << 20,
	}
	if o.Sandbox == sandbox.KindHTTP {
		service, err := newService(o.URL, o.Language, limits)
		if err != nil {
			return err
		}
		r.stdio = service
		r.closers = append(r.closers, service)
		return nil
	}
	if len(o.Command) > 0 {
		path, err := exec.LookPath(o.Command[0])
		if err != nil {
			return grouse.Errorf(grouse.NotFound, "command %q: %w", o.Command[0], err).WithFix("install it, or give its whole path")
		}
		if path, err = filepath.Abs(path); err != nil {
			return fmt.Errorf("command %q: %w", o.Command[0], err)
		}
		limits.AddressSpace = -1 // other runtimes reserve far more than they use
		s, err := r.sandbox(sandbox.Spec{
			Args: append([]string{path}, o.Command[1:]...), File: o.File, Limits: limits, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8"},
			ReadOnly: append(present("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives"), o.ReadOnly...),
		})
		if err != nil {
			return err
		}
		r.stdio = filed{s}
		return nil
	}
	python, err := findPython(o.Python, o.Packages)
	if err != nil {
		return err
	}
	shown := append(append(append(present(libraries...), python.Paths...), python.Site...), o.ReadOnly...)
	pairs, err := python.compiled("stdio.py", stdio)
	if err != nil {
		return err
	}
	functions, err := python.compiled("harness.py", harness)
	if err != nil {
		return err
	}
	start := func(limits sandbox.Limits, code string, args ...string) (sandbox.Sandbox, error) {
		argv, env := python.command(code, args...)
		return r.sandbox(sandbox.Spec{Args: argv, Env: env, ReadOnly: shown, Limits: limits})
	}
	s, err := start(limits, pairs)
	if err != nil {
		return err
	}
	r.stdio = scripted{s}
	f := &function{}
	if f.program, err = start(limits, functions, "program"); err != nil {
		return err
	}
	f.patient = limits.Time + time.Second
	forever := limits
	forever.Time = 10 * 365 * 24 * time.Hour // a job's time is f.patient
	t, err := start(forever, functions, "tests")
	if err != nil {
		return err
	}
	f.tests = newTesters(t)
	r.closers = append([]io.Closer{f.tests}, r.closers...) // before its sandbox
	r.function = f
	return r.try()
}

// try judges two programs that are right: an interpreter that does not start in the
// sandbox must not look like programs that are wrong.
func (r *Reward) try() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v, err := judgePairs(ctx, r.stdio, "print(input())", []Pair{{"ok\n", "ok\n"}}, false)
	if err == nil && v.OK() {
		v, err = r.function.judge(ctx, "def f(x): return x", "", []string{"assert f(1) == 1"}, "", false)
	}
	if err == nil && !v.OK() {
		err = grouse.Errorf(grouse.Unavailable, "%s does not work inside the sandbox: %s", r.o.Python, v.Why).
			WithFix("show it what it lacks with read_only: [PATH], give it more time or memory, or set python to another interpreter")
	}
	return err
}

func (r *Reward) sandbox(spec sandbox.Spec) (sandbox.Sandbox, error) {
	s, err := sandbox.New(r.o.Sandbox, spec)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, s)
	return s, nil
}

// present leaves out the paths that this machine does not have.
func present(paths ...string) []string {
	var out []string
	for _, p := range paths {
		if _, err := filepath.EvalSymlinks(p); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// fences are the marks of a language's fenced blocks.
func fences(language string) []string {
	switch language = strings.ToLower(language); language {
	case "python":
		return []string{"python", "python3", "py", "py3"}
	case "javascript", "nodejs", "js":
		return []string{"javascript", "js", "node", "nodejs"}
	case "cpp", "c++":
		return []string{"cpp", "c++", "cc", "cxx"}
	case "bash", "sh":
		return []string{"bash", "sh", "shell"}
	case "go":
		return []string{"go", "golang"}
	}
	return []string{language}
}

// Judge judges the completions in parallel; each is a program of its own.
func (r *Reward) Judge(ctx context.Context, g *rewards.Group) ([]rewards.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]rewards.Result, len(g.Samples))
	errs := make([]error, len(g.Samples))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	for i := range g.Samples {
		group.Go(func() {
			select {
			case r.slots <- struct{}{}:
				defer func() { <-r.slots }()
			case <-ctx.Done():
				errs[i] = ctx.Err()
				return
			}
			if out[i], errs[i] = r.judge(ctx, &g.Samples[i]); errs[i] != nil {
				cancel() // the group has no score
			}
		})
	}
	group.Wait()
	var first error
	for i, err := range errs { // an error of ours before those that it caused
		if err != nil && (first == nil || errors.Is(first, context.Canceled) && !errors.Is(err, context.Canceled)) {
			first = rewards.AtSample(i, failure(err))
		}
	}
	if first != nil {
		return nil, first
	}
	return out, nil
}

// failure says whether trying again helps.
func failure(err error) error {
	var e *rewards.Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if grouse.KindOf(err) == grouse.Unavailable {
		return rewards.TryAgain(err)
	}
	return rewards.Fail(err)
}

// judge judges one completion.
func (r *Reward) judge(ctx context.Context, s *rewards.Sample) (rewards.Result, error) {
	tests, err := readTests(s, r.o.Tests)
	if err != nil {
		return rewards.Result{}, err
	}
	entry, err := optional(s, r.o.EntryPoint)
	if err != nil {
		return rewards.Result{}, err
	}
	setup, err := optional(s, r.o.Setup)
	if err != nil {
		return rewards.Result{}, err
	}
	if len(tests.texts) > 0 && r.function == nil {
		return rewards.Result{}, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: asserts are for Python in a sandbox of this machine; a command and a service judge pairs of input and output only", s.Prompt.RowID).
			WithFix("give the tests as [{input, output}], or remove command, or set sandbox: native"))
	}
	total := float64(len(tests.texts) + len(tests.pairs))
	program, ok := Program(s.Answer, r.languages...)
	if ok && len(program) > sandbox.MaxFile {
		ok = false
	}
	if !ok {
		out := r.result(Verdict{Total: int(total), Why: "there is no program"})
		return out, ctx.Err()
	}
	if program, err = r.whole(s, program, entry); err != nil {
		return rewards.Result{}, err
	}
	var v Verdict
	every := r.o.Score == ScoreShare
	if len(tests.pairs) > 0 {
		v, err = judgePairs(ctx, r.stdio, program, tests.pairs, every)
	} else {
		v, err = r.function.judge(ctx, program, setup, tests.texts, entry, every)
	}
	if err != nil {
		return rewards.Result{}, err
	}
	return r.result(v), nil
}

// whole puts the prefix before a program that continues it: one that does not define
// the entry point itself.
func (r *Reward) whole(s *rewards.Sample, program, entry string) (string, error) {
	prefix, err := optional(s, r.o.Prefix)
	if err != nil || prefix == "" {
		return program, err
	}
	for line := range strings.Lines(program) {
		if entry != "" && (strings.HasPrefix(line, "def "+entry+"(") || strings.HasPrefix(line, "async def "+entry+"(") || strings.HasPrefix(line, entry+" =")) {
			return program, nil
		}
	}
	return prefix + program, nil
}

func (r *Reward) result(v Verdict) rewards.Result {
	out := rewards.Verdict(v.OK(), v.Why)
	out.Numbers = map[string]float64{"tests": float64(v.Total), "passed": float64(v.Passed)}
	if r.o.Score == ScoreShare {
		out.Value = float64(v.Passed) / float64(max(v.Total, 1))
	}
	return out
}

// Close frees the sandboxes.
func (r *Reward) Close() error {
	var errs []error
	for _, c := range r.closers {
		errs = append(errs, c.Close())
	}
	r.closers = nil
	return errors.Join(errs...)
}

var _ rewards.Reward = (*Reward)(nil)

// NewReward makes the reward code from a recipe's parameters.
func NewReward(params map[string]any) (rewards.Reward, error) {
	o := Defaults()
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	return New(o)
}
