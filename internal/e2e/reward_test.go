package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/ledger"
)

const rewardRecipe = "testdata/rewards/run.yaml"

// python returns an interpreter. With temporalio it is the one of scripts/testvenv.sh;
// without it the test is left out, loudly, unless CI says that it may not be.
func python(t *testing.T, temporalio bool) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err == nil && temporalio {
		if path, err = filepath.Abs("../../.venv-test/bin/python"); err == nil {
			_, err = os.Stat(path)
		}
	}
	if err == nil {
		return path
	}
	what := "NOT TESTED: a reward in Python; install python3"
	if temporalio {
		what = "NOT TESTED: a Temporal worker in Python as the reward; prepare it with: scripts/testvenv.sh"
	}
	if os.Getenv("GROUSE_TEST_ALL") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
	return ""
}

// start starts a program that serves until the test is over, and waits for its first
// line, which it returns.
func start(t *testing.T, program string, args ...string) (said string, stop func()) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	r := bufio.NewReader(out)
	said, err = r.ReadString('\n')
	if err != nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return strings.TrimSpace(strings.TrimPrefix(said, "serving")), stop
}

// service starts testdata/rewards/judge.py.
func service(t *testing.T, interpreter string, args ...string) (said string, stop func()) {
	t.Helper()
	return start(t, interpreter, append([]string{"testdata/rewards/judge.py"}, args...)...)
}

// rewarded is the recipe with a reward.
func rewarded(t *testing.T, home, reward string, more ...string) *process {
	t.Helper()
	args := []string{"run", rewardRecipe, "--json", "--name", "rewarded", "--set", "stages.rl.domains.addition.rewards=[" + reward + "]"}
	return launch(t, home, nil, append(args, more...)...)
}

// TestRewardForms: ten steps by the same reward as a function of TRL's signature, a
// command, an HTTP endpoint and a Temporal activity give the same weights.
func TestRewardForms(t *testing.T) {
	interpreter := python(t, false)
	var want event
	check := func(t *testing.T, p *process) {
		t.Helper()
		got := p.finish()
		steps, spread := 0, 0.0
		for _, e := range p.seen() {
			if e.Event == "step" {
				steps++
				spread += e.Metrics["reward_std"]
				if e.Times["time/reward/mine_s"] <= 0 {
					t.Errorf("step %d: no time of the reward in %v", e.Step, e.Times)
				}
			}
		}
		if steps != 10 || spread == 0 {
			t.Errorf("%d steps with a reward_std of %v in all", steps, spread)
		}
		if want.WeightsSHA256 == "" {
			want = got
		} else if got.WeightsSHA256 != want.WeightsSHA256 {
			t.Errorf("weights %.16s, by TRL's signature %.16s", got.WeightsSHA256, want.WeightsSHA256)
		}
	}
	t.Run("trl", func(t *testing.T) {
		check(t, rewarded(t, t.TempDir(), fmt.Sprintf("{use: python, name: mine, file: judge.py, function: right, python: %s}", interpreter)))
	})
	t.Run("exec", func(t *testing.T) {
		check(t, rewarded(t, t.TempDir(), fmt.Sprintf("{use: exec, name: mine, command: [%s, judge.py, exec]}", interpreter)))
	})
	t.Run("http", func(t *testing.T) {
		port, _ := service(t, interpreter, "http", "0")
		check(t, rewarded(t, t.TempDir(), fmt.Sprintf("{use: http, name: mine, url: 'http://127.0.0.1:%s/'}", port)))
	})
	t.Run("activity", func(t *testing.T) {
		interpreter := python(t, true)
		p := rewarded(t, t.TempDir(), "{use: activity, name: mine, worker: mine, deadline_s: 60}")
		address := temporalOf(t, p)
		_, stop := service(t, interpreter, "activity", address, "grouse-reward-mine")
		p.awaitEvent("step 3", func(e event) bool { return e.Event == "step" && e.Step == 3 })
		stop() // as kill -9 does; the run waits for the next one
		time.Sleep(time.Second)
		service(t, interpreter, "activity", address, "grouse-reward-mine")
		check(t, p)
	})
}

// temporalOf returns where a run's own Temporal listens, as its first line says.
func temporalOf(t *testing.T, p *process) string {
	t.Helper()
	p.awaitFirst()
	var first struct {
		Temporal string `json:"temporal"`
	}
	p.mu.Lock()
	line := p.lines[0]
	p.mu.Unlock()
	if err := json.Unmarshal([]byte(line), &first); err != nil || first.Temporal == "" {
		t.Fatalf("the first line names no Temporal: %s", line)
	}
	return first.Temporal
}

// TestRewardFails: a reward that cannot judge pauses the run and shows what it could
// not judge; mended, the run goes on.
func TestRewardFails(t *testing.T) {
	interpreter := python(t, false)
	dir := t.TempDir()
	file := filepath.Join(dir, "broken.py")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("def right(completions, **columns):\n    raise ValueError('the key is not set')\n")
	home := t.TempDir()
	p := rewarded(t, home, fmt.Sprintf("{use: python, name: mine, file: %s, function: right, python: %s}", file, interpreter))
	said := ""
	for begin := time.Now(); !strings.Contains(said, "paused") && time.Since(begin) < deadline; time.Sleep(50 * time.Millisecond) {
		said = p.stderr.String()
	}
	for _, part := range []string{"ValueError: the key is not set", "row ", "sample 0", "100%"} {
		if !strings.Contains(said, part) {
			t.Errorf("the pause does not tell of %q:\n%s", part, said)
		}
	}
	p.kill()
	write("def right(completions, **columns):\n    return [float(len(c) % 5) for c in completions]\n")
	launch(t, home, nil, "resume", "rewarded", "--json").finish()
}

// TestExampleWorkers: the workers in examples/ judge a run, in Go and in Python.
func TestExampleWorkers(t *testing.T) {
	interpreter := python(t, true)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "ownworker")
	if out, err := exec.Command("go", "build", "-o", own, "../../examples/ownworker").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	test := exec.Command(interpreter, "-B", "-m", "unittest", "-q", "test_worker")
	test.Dir = filepath.Join(root, "examples", "pythonworker")
	if out, err := test.CombinedOutput(); err != nil {
		t.Errorf("test_worker.py: %v\n%s", err, out)
	}
	p := rewarded(t, t.TempDir(), "numeric, {use: activity, name: short, worker: words, weight: 0.1, deadline_s: 60}, {use: activity, worker: brevity, weight: 0.1, deadline_s: 60}",
		"--set", "stages.rl.steps=1")
	address := temporalOf(t, p)
	start(t, own, "-temporal", address, "-words", "2")
	start(t, interpreter, filepath.Join(root, "examples", "pythonworker", "worker.py"), "--temporal", address)
	p.finish()
	for _, e := range p.seen() {
		if e.Event == "step" && (e.Metrics["rewards/short/mean"] <= 0 || e.Metrics["rewards/activity/mean"] <= 0) {
			t.Errorf("step %d: no mean of both workers' rewards in %v", e.Step, e.Metrics)
		}
	}
}

// TestHostileReward: a reward that hangs, crashes, forks, fills memory, prints 10 MB,
// returns NaN, text, a wrong length is killed and recorded as what it was, and the run
// goes on to its end.
func TestHostileReward(t *testing.T) {
	interpreter := python(t, false)
	home := t.TempDir()
	p := rewarded(t, home, fmt.Sprintf("{use: python, name: mine, file: hostile.py, function: hostile, python: %s, memory_mb: 500, workers: 4, deadline_s: 8}", interpreter),
		"--set", "reward_error_rate=0.95", "--set", "stages.rl.steps=3", "--set", "stages.rl.rollout.prompts_per_step=24", "--set", "stages.rl.algorithm.max_waves=1")
	p.finish()
	if out, err := exec.Command("pgrep", "-f", "hostile.py").Output(); err == nil {
		t.Errorf("processes are left: %s", out)
	}
	reasons := map[string]int{}
	entries, err := ledgerReasons(filepath.Join(home, "runs", "rewarded"))
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range entries {
		for _, kind := range []string{"timeout: mine: no answer within", "error: mine: the process ended without an answer: signal: aborted", "oom: mine", "bad_output: mine: a score is nan", "bad_output: mine: a score is '1.0'",
			"bad_output: mine: the function returned 5 scores for 4", "bad_output: mine: the function returned dict", "error: mine: ValueError: cannot judge this", "error: mine: the process ended without an answer (exit status 0)"} {
			if strings.Contains(reason, kind) {
				reasons[kind]++
			}
		}
	}
	t.Logf("%d failed groups: %v", len(entries), reasons)
	if len(reasons) < 9 {
		t.Errorf("only %d kinds of failure were recorded: %v", len(reasons), reasons)
	}
	rates := map[string]bool{}
	for _, e := range p.seen() {
		for name, v := range e.Times {
			if strings.HasPrefix(name, "rewards/mine/errors/") && v > 0 {
				rates[strings.TrimPrefix(name, "rewards/mine/errors/")] = true
			}
		}
	}
	for _, kind := range []string{"error", "timeout", "oom", "bad_output"} {
		if !rates[kind] {
			t.Errorf("no rate of %s in the metrics", kind)
		}
	}
}

// ledgerReasons returns why groups of a run failed.
func ledgerReasons(dir string) ([]string, error) {
	var out []string
	for e, err := range ledger.Read(dir) {
		if err != nil {
			return nil, err
		}
		rec, err := e.Record()
		if err != nil {
			return nil, err
		}
		if g, ok := rec.(grouse.GroupRecord); ok {
			for _, f := range g.Groups {
				if f.State == grouse.GroupFailed {
					out = append(out, f.Reason)
				}
			}
		}
	}
	return out, nil
}
