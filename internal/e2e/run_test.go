package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// reference is the run that nobody disturbs.
var reference struct {
	once   sync.Once
	home   string
	done   event
	events []event
	takes  time.Duration // from the first line to the end
}

func undisturbed(t *testing.T) event {
	t.Helper()
	reference.once.Do(func() {
		home, err := os.MkdirTemp(filepath.Dir(binary), "undisturbed-")
		if err != nil {
			t.Fatal(err)
		}
		p := launch(t, home, nil, "run", tiny, "--json")
		p.awaitFirst()
		began := time.Now()
		reference.done = p.finish()
		reference.home, reference.events, reference.takes = home, p.seen(), time.Since(began)
		t.Logf("an undisturbed run: %v from the first line to the end", reference.takes.Round(time.Millisecond))
	})
	if reference.done.Event != "done" {
		t.Fatal("the undisturbed run failed")
	}
	return reference.done
}

// TestSame: the same recipe and seed give the same weights, whatever changes no
// result changes none, and another seed gives others.
func TestSame(t *testing.T) {
	want := undisturbed(t)
	for _, c := range []struct {
		name  string
		env   []string
		args  []string
		chain bool // the recipe's digest, with which the chain begins, is the same
		other bool // the weights differ
	}{
		{name: "again", chain: true},
		{name: "one thread", env: []string{"GOMAXPROCS=1"}, chain: true},
		{name: "one shard", args: []string{"--set", "stages.rl.rollout.groups_per_shard=0"}, chain: true},
		{name: "a group a shard, small micro-batches", args: []string{"--set", "stages.rl.rollout.groups_per_shard=1", "--set", "stages.rl.trainer.micro_batch_tokens=128"}},
		{name: "another seed", args: []string{"--set", "seed=2"}, other: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := launch(t, t.TempDir(), c.env, append([]string{"run", tiny, "--json"}, c.args...)...).finish()
			if (got.WeightsSHA256 == want.WeightsSHA256) == c.other {
				t.Errorf("weights %.16s, undisturbed %.16s", got.WeightsSHA256, want.WeightsSHA256)
			}
			if c.other && got.Chain == want.Chain || c.chain && got.Chain != want.Chain {
				t.Errorf("chain %.16s, undisturbed %.16s", got.Chain, want.Chain)
			}
		})
	}
}

// TestReferenceRefresh: every ref_model_sync_steps the reference becomes the
// policy, so that the KL of the step after is exactly 0, and of no other.
func TestReferenceRefresh(t *testing.T) {
	undisturbed(t)
	n := 0
	for _, e := range reference.events {
		kl, ok := e.Metrics["kl"]
		if e.Event != "step" || !ok {
			continue
		}
		n++
		if fresh := e.Step%5 == 1; (kl == 0) != fresh {
			t.Errorf("step %d: kl %v, the reference was refreshed before it: %v", e.Step, kl, fresh)
		}
	}
	if n < 12 {
		t.Errorf("only %d steps have a KL", n)
	}
}

// TestKill kills runs at random moments after the first line, on the way to
// which anything may be half done, and goes on with them.
func TestKill(t *testing.T) {
	want := undisturbed(t)
	random := rand.New(rand.NewPCG(20, 26))
	var waits []time.Duration
	kills := 0
	for run := range 3 {
		home := t.TempDir()
		args := []string{"run", tiny, "--json"}
		for i := range 3 {
			p := launch(t, home, nil, args...)
			p.awaitFirst()
			from := "its first line"
			if i == 1 { // not only before what was under way is missed
				from = "its first new work"
				p.awaitEvent("new work", isWork)
			}
			after := time.Duration(random.Float64() * 0.4 * float64(reference.takes))
			select {
			case <-p.ended:
				t.Logf("run %d: %s was done before it could be killed", run, args[0])
			case <-time.After(after):
				p.kill()
				kills++
				last := event{Event: "nothing"}
				if events := p.seen(); len(events) > 1 {
					last = events[len(events)-1]
				}
				t.Logf("run %d: %s, killed %v after %s, after %s %s %d", run, args[0], after.Round(time.Millisecond), from, last.Event, last.Stage, last.Step)
			}
			if d, ok := p.firstWork(); ok && args[0] == "resume" {
				waits = append(waits, d)
			}
			args = []string{"resume", "tiny", "--json"}
		}
		p := launch(t, home, nil, args...)
		same(t, "killed and resumed", p.finish(), want)
		if d, ok := p.firstWork(); ok {
			waits = append(waits, d)
		}
	}
	if kills < 6 {
		t.Errorf("only %d runs were still there to be killed", kills)
	}
	slices.Sort(waits)
	t.Logf("from resume to new work, the start of the servers included: %v", waits)
	if worst := waits[len(waits)-1]; worst > 15*time.Second { // 10 s on a quiet machine
		t.Errorf("a killed run went on only after %v", worst)
	}
}

// TestFailedStart: a run that cannot begin says why and leaves no folder behind,
// so that it can be mended and started under the same name.
func TestFailedStart(t *testing.T) {
	raw, err := os.ReadFile(tiny)
	if err != nil {
		t.Fatal(err)
	}
	dir, home := t.TempDir(), t.TempDir()
	recipe, rows := filepath.Join(dir, "mine.yaml"), filepath.Join(dir, "rows.jsonl")
	mine := strings.Replace(string(raw), "data: {task: addition, split: rl}", "data: {path: rows.jsonl}", 1)
	mine = strings.Replace(mine, "steps: 16", "steps: 2", 1)
	for path, text := range map[string]string{recipe: mine, rows: `{"prompt":"1+1=","answer":"02"}` + "\n" + `{"prompt":` + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, home, nil, "run", recipe, "--json")
	if code := p.wait(); code != 3 || !strings.Contains(p.stderr.String(), "rows.jsonl:2") {
		t.Fatalf("exit %d, want 3 and the line of the bad row: %s", code, p.stderr.String())
	}
	// The cold start was done before the rows were read: it is kept.
	if err := os.WriteFile(rows, []byte(`{"prompt":"1+1=","answer":"02"}`+"\n"+`{"prompt":"12+34=","answer":"46"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	launch(t, home, nil, "run", recipe, "--json").finish()

	absent := filepath.Join(dir, "absent.yaml")
	text := strings.Replace(mine, "data: {task: addition, split: sft, limit: 100}", "data: {path: nowhere.jsonl}", 1)
	if err := os.WriteFile(absent, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p = launch(t, home, nil, "run", absent, "--json")
	if code := p.wait(); code == 0 || !strings.Contains(p.stderr.String(), "nowhere.jsonl") {
		t.Fatalf("exit %d: %s", code, p.stderr.String())
	}
	if _, err := os.Stat(filepath.Join(home, "runs", "absent")); !os.IsNotExist(err) {
		t.Errorf("a run that never began left its folder: %v", err)
	}
}

// TestPipeline: cold start, specialists, rejection sampling, distillation and a
// mixed stage are one run; killed in the middle of it, it ends the same.
func TestPipeline(t *testing.T) {
	const pipeline = "testdata/pipeline.yaml"
	want := launch(t, t.TempDir(), nil, "run", pipeline, "--json").finish()
	home := t.TempDir()
	for _, stage := range []string{"answers", "distill"} {
		p := launch(t, home, nil, "run", pipeline, "--json")
		p.awaitEvent("work of stage "+stage, func(e event) bool { return e.Stage == stage })
		p.kill()
	}
	p := launch(t, home, nil, "resume", "pipeline", "--json")
	same(t, "killed twice", p.finish(), want)
}

// TestLost kills a run and removes files that a run survives.
func TestLost(t *testing.T) {
	want := undisturbed(t)
	for _, c := range []struct {
		name string
		lose []string
	}{
		{"JetStream", []string{"nats"}},
		{"Temporal", []string{"temporal.db", "temporal.db-wal", "temporal.db-shm"}},
		{"both", []string{"nats", "temporal.db", "temporal.db-wal", "temporal.db-shm"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			p := launch(t, home, nil, "run", tiny, "--json")
			p.awaitEvent("rl step 3", func(e event) bool { return e.Event == "step" && e.Step == 3 })
			p.kill()
			if _, err := os.Stat(filepath.Join(home, c.lose[0])); err != nil {
				t.Fatal(err)
			}
			for _, f := range c.lose {
				if err := os.RemoveAll(filepath.Join(home, f)); err != nil {
					t.Fatal(err)
				}
			}
			same(t, "without "+c.name, launch(t, home, nil, "resume", "tiny", "--json").finish(), want)
		})
	}
}

// TestInterrupt: Ctrl-C finishes the step, saves, and says how to go on.
func TestInterrupt(t *testing.T) {
	want := undisturbed(t)
	home := t.TempDir()
	p := launch(t, home, nil, "run", tiny, "--json")
	p.awaitEvent("rl step 2", func(e event) bool { return e.Event == "step" && e.Step == 2 })
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(); code != 130 {
		t.Fatalf("exit code %d, want 130:\n%s", code, p.stderr.String())
	}
	if !strings.Contains(p.stderr.String(), "grouse resume tiny") {
		t.Errorf("no word of how to go on:\n%s", p.stderr.String())
	}
	events := p.seen()
	var stepped, saved int64
	for _, e := range events {
		if e.Stage == "rl" && e.Event == "step" {
			stepped = e.Step
		}
		if e.Stage == "rl" && e.Event == "checkpoint" {
			saved = e.Step
		}
	}
	if stepped == 16 || saved != stepped {
		t.Errorf("stopped after step %d, saved step %d", stepped, saved)
	}
	resumed := launch(t, home, nil, "resume", "tiny", "--json")
	same(t, "interrupted and resumed", resumed.finish(), want)
	for _, e := range resumed.seen() {
		if e.Event == "step" && e.Step <= stepped {
			t.Errorf("step %d was done again after the resume", e.Step)
		}
	}
}

// TestFinished: a finished run says again what it came to; another recipe under
// its name is refused, with the difference.
func TestFinished(t *testing.T) {
	want := undisturbed(t)
	began := time.Now()
	p := launch(t, reference.home, nil, "run", tiny, "--json")
	if got := p.finish(); got.raw != want.raw || len(p.lines) != 1 {
		t.Errorf("said %q, want %q alone", p.lines, want.raw)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	p = launch(t, reference.home, nil, "run", tiny, "--json", "--set", "seed=2")
	if code := p.wait(); code != 3 {
		t.Errorf("another recipe: exit code %d, want 3", code)
	}
	for _, part := range []string{"seed: 1", "seed: 2", "--name"} {
		if !strings.Contains(p.stderr.String(), part) {
			t.Errorf("another recipe: no %q in\n%s", part, p.stderr.String())
		}
	}
}

// TestStale: with groups that older weights made, the same holds.
func TestStale(t *testing.T) {
	args := []string{"run", tiny, "--json", "--set", "stages.rl.rollout.max_staleness=1"}
	want := launch(t, t.TempDir(), nil, args...).finish()
	if want.WeightsSHA256 == undisturbed(t).WeightsSHA256 {
		t.Error("max_staleness changed nothing")
	}
	home := t.TempDir()
	for _, step := range []int64{1, 4, 9} {
		p := launch(t, home, nil, args...)
		p.awaitEvent("a step", func(e event) bool { return e.Event == "step" && e.Step >= step })
		p.kill()
		args = []string{"resume", "tiny", "--json"}
	}
	same(t, "one step behind", launch(t, home, nil, args...).finish(), want)
}

// TestOrchestration: what is neither generating, scoring nor training takes
// little of a step.
func TestOrchestration(t *testing.T) {
	undisturbed(t)
	var took []float64
	for _, e := range reference.events {
		if s, ok := e.Times["time/orchestration_s"]; ok && e.Event == "step" {
			took = append(took, s)
		}
	}
	slices.Sort(took)
	if len(took) < 6 {
		t.Fatalf("orchestration times of %d steps only", len(took))
	}
	median := took[len(took)/2]
	t.Logf("orchestration: median %.0f ms a step, most %.0f ms", 1000*median, 1000*took[len(took)-1])
	if median > 0.25 { // 0.1 on a quiet machine; CI's are not
		t.Errorf("orchestration takes %.0f ms a step", 1000*median)
	}
}
