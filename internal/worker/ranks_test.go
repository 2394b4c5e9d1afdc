package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

const ranksRecipe = `name: r
model:
  tiny: {architectures: [LlamaForCausalLM], hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 64,
    tokenizer: {characters: "0123456789+="}}
steps: 3
trainer: {ranks: 3, learning_rate: 1.0e-3}
algorithm: {kl_estimator: k3_is, beta: 0.01}
domains: {d: {data: {task: arithmetic}, rewards: [exact]}}
rollout: {num_generations: 4, prompts_per_step: 4, max_completion_length: 8}
`

// ranksRun makes a run's folder and loads its recipe.
func ranksRun(t *testing.T, change ...string) (home string, r *config.Resolved) {
	t.Helper()
	text := ranksRecipe
	for i := 0; i < len(change); i += 2 {
		text = strings.Replace(text, change[i], change[i+1], 1)
	}
	r, err := config.Parse([]byte(text), "r.yaml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	home = t.TempDir()
	if err := SaveRecipe(home, r); err != nil {
		t.Fatal(err)
	}
	return home, r
}

// rank0 is a leader of the run.
func rank0(t *testing.T, home string, r *config.Resolved) *leader {
	t.Helper()
	l, err := newLearner(cpu.New(1), r.Spec, RunDir(home, r.Spec.Name), r.Base, home, &store{})
	if err != nil {
		t.Fatal(err)
	}
	if ranksOf(&r.Spec) == 1 {
		return &leader{learner: l}
	}
	ld, stop, err := lead(l, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return ld
}

// follow starts a rank; kill ends it and returns its error.
func follow(t *testing.T, home string, r *config.Resolved, rank int) (kill func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, r, FollowOptions{Home: home, Rank: rank, Threads: 1, Retry: 5 * time.Millisecond, Say: func(text string) { t.Logf("rank %d: %s", rank, text) }})
	}()
	kill = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { kill() })
	return kill
}

// batch is made-up groups of a step.
func batch(step int) []grouse.ScoredGroup {
	var out []grouse.ScoredGroup
	for c := range 5 {
		g := grouse.Group{Candidate: uint32(c), Prompt: grouse.Prompt{RowID: fmt.Sprint(c), Domain: "d", TokenIDs: []int32{1, int32(3 + c), 4}},
			Sampling: grouse.Sampling{Temperature: 1, TopP: 1}}
		s := grouse.ScoredGroup{}
		for i := range 4 {
			n := 2 + (c+i+step)%5
			ro := grouse.Rollout{Sample: uint16(i), Finish: grouse.FinishStop}
			for k := range n {
				ro.ResponseIDs = append(ro.ResponseIDs, int32(3+(c*7+i*5+k*3+step)%10))
				ro.Logprobs = append(ro.Logprobs, -2.6)
				ro.Entropy = append(ro.Entropy, 2)
				ro.PolicyVersion = append(ro.PolicyVersion, int64(step-1))
			}
			g.Rollouts = append(g.Rollouts, ro)
			reward := float64((i + c) % 2) // zeros too
			s.Scores = append(s.Scores, grouse.Score{Sample: uint16(i), Reward: &reward, Outcome: grouse.Scored})
		}
		s.Group = g
		out = append(out, s)
	}
	return out
}

func request(step int) activities.StepRequest {
	return activities.StepRequest{Stage: 0, Step: int64(step), Groups: batch(step)}
}

// begin loads the first weights and begins the stage.
func begin(t *testing.T, l memory) {
	t.Helper()
	if _, err := l.LoadInitial(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Begin(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

func digestOf(t *testing.T, l *leader) string {
	t.Helper()
	d, err := weightsDigest(l.policy.Model)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func policyRef(step int) activities.SaveRequest {
	return activities.SaveRequest{Policy: grouse.PolicyRef{Stage: 0, Version: int64(step), Chain: strings.Repeat("a", 64)}}
}

// Three processes' worth of ranks over loopback train; one is killed within the run: the
// step fails naming it, the trainer loads the checkpoint with the rank that was started
// again, and the end has the bits of the undisturbed run. A rank apart, one process would
// come elsewhere only by rounding.
func TestARankIsKilled(t *testing.T) {
	run := func(disturbed bool) (string, grouse.Metrics) {
		home, r := ranksRun(t)
		l := rank0(t, home, r)
		follow(t, home, r, 1)
		kill := follow(t, home, r, 2)
		begin(t, l)
		var out activities.StepResult
		step := func(n int) error {
			var err error
			out, err = l.Step(t.Context(), request(n), func(int) {})
			return err
		}
		if err := step(1); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Step(t.Context(), activities.StepRequest{Stage: 0, Step: 2}, func(int) {}); err != nil {
			t.Fatalf("a step without groups: %v", err)
		}
		rec, err := l.Save(t.Context(), policyRef(2))
		if err != nil {
			t.Fatal(err)
		}
		if disturbed {
			if err := kill(); err != nil {
				t.Fatalf("rank 2: %v", err)
			}
			if err := step(3); grouse.KindOf(err) != grouse.Unavailable || !strings.HasPrefix(err.Error(), "rank 2") { // it was interrupted, or its connection ended
				t.Fatalf("a step without rank 2: %v", err)
			}
			if l.Intact() {
				t.Error("a team without rank 2 is intact")
			}
			if err := l.Begin(t.Context(), 0); err == nil {
				t.Error("a team without rank 2 goes on")
			}
			follow(t, home, r, 2)
			if err := l.Load(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		for n := 3; n <= 4; n++ {
			if err := step(n); err != nil {
				t.Fatal(err)
			}
		}
		if out.Traces == nil || out.Stats["grad_norm"] == 0 {
			t.Errorf("the last step: %v", out)
		}
		return digestOf(t, l), out.Stats
	}
	want, stats := run(false)
	got, again := run(true)
	if got != want || string(again.AppendBits(nil)) != string(stats.AppendBits(nil)) {
		t.Errorf("weights %s, undisturbed %s", got, want)
	}
}

// A checkpoint of three ranks goes on with one and with two, and the other way round.
func TestACheckpointMovesBetweenNumbersOfRanks(t *testing.T) {
	team := func(n int) (*leader, string) {
		home, r := ranksRun(t, "ranks: 3", fmt.Sprintf("ranks: %d", n))
		l := rank0(t, home, r)
		for rank := 1; rank < n; rank++ {
			follow(t, home, r, rank)
		}
		return l, RunDir(home, "r")
	}
	start := func(l *leader) memory {
		if ranksOf(&l.spec) == 1 {
			return l.learner
		}
		return l
	}
	for _, from := range []int{1, 3} {
		l, dir := team(from)
		m := start(l)
		begin(t, m)
		if _, err := m.Step(t.Context(), request(1), func(int) {}); err != nil {
			t.Fatal(err)
		}
		rec, err := m.Save(t.Context(), policyRef(1))
		if err != nil {
			t.Fatal(err)
		}
		saved, err := os.ReadFile(filepath.Join(dir, rec.Dir, "optimizer.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []int{1, 2, 3} {
			other, otherDir := team(to)
			for _, part := range []string{"checkpoints", "reference"} {
				if err := os.CopyFS(filepath.Join(otherDir, part), os.DirFS(filepath.Join(dir, part))); err != nil {
					t.Fatal(err)
				}
			}
			n := start(other)
			if err := n.Load(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			if a, b := digestOf(t, other), digestOf(t, l); a != b {
				t.Errorf("%d to %d ranks: weights %s, want %s", from, to, a, b)
			}
			if _, err := n.Save(t.Context(), policyRef(1)); err != nil {
				t.Fatal(err)
			}
			again, err := os.ReadFile(filepath.Join(otherDir, rec.Dir, "optimizer.safetensors"))
			if err != nil || string(again) != string(saved) {
				t.Errorf("%d to %d ranks: the moments came back changed (%v)", from, to, err)
			}
			if _, err := n.Step(t.Context(), request(2), func(int) {}); err != nil {
				t.Errorf("%d to %d ranks: %v", from, to, err)
			}
		}
	}
}

// Ranks that do not fit say so, and end; rank 0 says who is missing.
func TestRanksThatDoNotFitTheRun(t *testing.T) {
	home, r := ranksRun(t)
	l := rank0(t, home, r)
	_, other := ranksRun(t, "1.0e-3", "2.0e-3")
	_, one := ranksRun(t, "ranks: 3", "ranks: 1")
	for _, c := range []struct {
		r    *config.Resolved
		rank int
		want string
	}{
		{other, 1, "rank 1 does not fit: it has recipe"},
		{r, 3, "run r has trainer.ranks: 3, so there is no rank 3 to follow"},
		{one, 1, "run r has trainer.ranks: 1, so there is no rank 1 to follow"},
	} {
		err := Follow(t.Context(), c.r, FollowOptions{Home: home, Rank: c.rank, Threads: 1, Say: func(string) {}})
		if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), c.want) || grouse.FixOf(err) == "" {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.LoadInitial(ctx); grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "missing: 1, 2; sent away: rank 1 does not fit") {
		t.Errorf("%v", err)
	}
	if i, err := os.Stat(filepath.Join(RunDir(home, "r"), ranksFile)); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i, err)
	}
}

// A rank whose files are others is found out before anything is trained.
func TestARankWithOtherWeights(t *testing.T) {
	home, r := ranksRun(t, "ranks: 3", "ranks: 2")
	l := rank0(t, home, r)
	follow(t, home, r, 1)
	begin(t, l)
	p := l.policy.Model.Params()[0]
	w := p.Read(l.dev)
	w[0]++
	p.Write(l.dev, w)
	rec, err := l.Save(t.Context(), policyRef(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Load(t.Context(), rec); err != nil {
		t.Errorf("the same checkpoint: %v", err)
	}
	stage := l.together(t.Context(), &order{Do: doLoad, Checkpoint: rec}, func() (string, error) { return "other weights", nil })
	if grouse.KindOf(stage) != grouse.Invalid || !strings.Contains(stage.Error(), "to load a checkpoint, rank 1 came to another result than rank 0") {
		t.Errorf("%v", stage)
	}
	if l.Intact() {
		t.Error("the ranks go on")
	}
}

// asked counts what rank 0 orders.
type asked struct {
	collective.Group
	orders int
}

func (a *asked) Broadcast(ctx context.Context, b []byte) ([]byte, error) {
	a.orders++
	return a.Group.Broadcast(ctx, b)
}

// For a checkpoint the ranks hand over their moments once; which there are rank 0 knows.
func TestASaveGathersOnce(t *testing.T) {
	home, r := ranksRun(t)
	l := rank0(t, home, r)
	follow(t, home, r, 1)
	follow(t, home, r, 2)
	begin(t, l)
	if _, err := l.Step(t.Context(), request(1), func(int) {}); err != nil {
		t.Fatal(err)
	}
	count := &asked{Group: l.group}
	l.group = count
	if _, err := l.Save(t.Context(), policyRef(1)); err != nil {
		t.Fatal(err)
	}
	if count.orders != 1 {
		t.Errorf("%d orders for a checkpoint", count.orders)
	}
	var shapes, moments []string
	if err := l.tr.MomentShapes(func(name string, shape []int) error { shapes = append(shapes, fmt.Sprint(name, shape)); return nil }); err != nil {
		t.Fatal(err)
	}
	err := l.moments(t.Context(), func(name string, shape []int, _ []float32) error {
		moments = append(moments, fmt.Sprint(name, shape))
		return nil
	})
	if err != nil || len(moments) == 0 || !slices.Equal(shapes, moments) {
		t.Errorf("%v are said to be there, %v are (%v)", shapes, moments, err)
	}
}

// A rank that cannot do what it is told fails the step of all, who may meet again; the same
// for the third time in a row it ends, and rank 0 says which and why.
func TestARankThatFailsEnds(t *testing.T) {
	home, r := ranksRun(t, "ranks: 3", "ranks: 2")
	l := rank0(t, home, r)
	away := t.TempDir() // a home folder without the run's checkpoints
	if err := SaveRecipe(away, r); err != nil {
		t.Fatal(err)
	}
	at := func(home string) string { return filepath.Join(RunDir(home, "r"), ranksFile) }
	raw, err := os.ReadFile(at(home))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at(away), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- Follow(t.Context(), r, FollowOptions{Home: away, Rank: 1, Threads: 1, Retry: time.Millisecond, Say: func(string) {}})
	}()
	begin(t, l)
	rec, err := l.Save(t.Context(), policyRef(0))
	if err != nil {
		t.Fatal(err)
	}
	fails := func(times int, want string) {
		t.Helper()
		for range times {
			if err := l.Load(t.Context(), rec); grouse.KindOf(err) != grouse.Unavailable || !strings.HasPrefix(err.Error(), want) {
				t.Fatalf("%v, want %s", err, want)
			}
		}
	}
	fails(2, "rank 1: failed to load a checkpoint, checkpoints/step-000000: ")
	if _, err := l.LoadInitial(t.Context()); err != nil { // it goes on meanwhile
		t.Fatal(err)
	}
	mine := errors.New("mine")
	if err := l.together(t.Context(), &order{Do: doInitial}, func() (string, error) { return "", mine }); !errors.Is(err, mine) { // no fault of rank 1's
		t.Fatal(err)
	}
	fails(1, "rank 1: failed to load a checkpoint, checkpoints/step-000000, 3 times in a row, and ends: ")
	select {
	case err := <-ended:
		if !strings.HasPrefix(err.Error(), "failed to load a checkpoint, checkpoints/step-000000, 3 times in a row, and ends: ") || grouse.KindOf(err) == grouse.Unavailable {
			t.Errorf("rank 1 ended with %v (%s)", err, grouse.KindOf(err))
		}
	case <-time.After(10 * time.Second):
		t.Fatal("rank 1 goes on")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = l.Load(ctx, rec)
	if grouse.KindOf(err) != grouse.Unavailable || !strings.HasPrefix(err.Error(), "1 of 2 ranks are there, missing: 1; their last meeting ended: rank 1: failed to load a checkpoint") || !strings.Contains(grouse.FixOf(err), "grouse worker --train r") {
		t.Errorf("%v; %s", err, grouse.FixOf(err))
	}
}

// A disk that is full leaves the ranks together.
func TestASaveThatFailsLeavesTheRanks(t *testing.T) {
	home, r := ranksRun(t, "ranks: 3", "ranks: 2")
	l := rank0(t, home, r)
	follow(t, home, r, 1)
	begin(t, l)
	full := errors.New("full")
	err := l.moments(t.Context(), func(string, []int, []float32) error { return full })
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
	if !l.Intact() {
		t.Error("the ranks are gone")
	}
	if _, err := l.Step(t.Context(), request(1), func(int) {}); err != nil {
		t.Error(err)
	}
}

// A replay has the ranks within one process, and their bits.
func TestReplayOfRanks(t *testing.T) {
	home, r := ranksRun(t)
	l := rank0(t, home, r)
	follow(t, home, r, 1)
	follow(t, home, r, 2)
	within := func(dev *cpu.Device) *leader {
		make := func() (*learner, error) {
			return newLearner(cpu.New(1), r.Spec, t.TempDir(), r.Base, home, &store{})
		}
		one, err := make()
		if err != nil {
			t.Fatal(err)
		}
		ld, stop, err := crowd(dev, one, func(d tensor.Device) (*learner, error) { return make() })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		return ld
	}
	again := within(cpu.New(1))
	for _, m := range []*leader{l, again} {
		begin(t, m)
		for n := 1; n <= 2; n++ {
			if _, err := m.Step(t.Context(), request(n), func(int) {}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := m.Save(t.Context(), policyRef(2)); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := digestOf(t, again), digestOf(t, l); a != b {
		t.Errorf("within one process %s, in three %s", a, b)
	}
	gpus := l.spec
	gpus.Stages = append([]grouse.Stage(nil), gpus.Stages...)
	gpus.Stages[0].Trainer.Backend = devices.CUDA
	if _, _, err := crowd(cpu.New(1), &learner{spec: gpus}, nil); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "had 3 GPUs") {
		t.Errorf("%v", err)
	}
}
