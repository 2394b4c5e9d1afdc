package python_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/python"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func reward(t *testing.T, params map[string]any) rewards.Reward {
	t.Helper()
	r, err := python.NewReward(params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.(*python.Function).Close() })
	return r
}

func good(t *testing.T, function string) rewards.Reward {
	return reward(t, map[string]any{"file": "testdata/good.py", "function": function})
}

func group(columns map[string]any, texts ...string) *rewards.Group {
	return rewards.NewTextGroup(grouse.Prompt{RowID: "d/0", Domain: "d", Text: "2+2=", Columns: columns}, texts...)
}

func values(t *testing.T, r rewards.Reward, g *rewards.Group) []rewards.Result {
	t.Helper()
	got, err := rewards.Call(context.Background(), r, g, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTRLSignature(t *testing.T) {
	g := group(map[string]any{"answer": "4"}, "4", "5", "what?")
	for _, c := range []struct {
		function string
		want     []float64
	}{{"accuracy", []float64{1, 0, 0}}, {"narrow", []float64{1, 1, 5}}, {"slow", []float64{1, 1, 1}}, {"noisy", []float64{1, 1, 1}}, {"lengths", []float64{0, 0, 0}}} {
		for i, r := range values(t, good(t, c.function), g) {
			if r.Value != c.want[i] || r.NoOpinion {
				t.Errorf("%s: completion %d: %+v, want %v", c.function, i, r, c.want[i])
			}
		}
	}
	opinions := values(t, good(t, "some_opinion"), g)
	if opinions[0].NoOpinion || !opinions[2].NoOpinion {
		t.Errorf("None must be no opinion: %+v", opinions)
	}
	chat := rewards.NewTextGroup(grouse.Prompt{Messages: []grouse.Message{{Role: "system", Content: "s"}, {Role: "user", Content: "u"}}}, "hi")
	if got := values(t, good(t, "chat"), chat); got[0].Value != 3 {
		t.Errorf("conversational prompts and completions: %+v, want 2 messages and an assistant's", got)
	}
}

func TestVerlSignature(t *testing.T) {
	for _, columns := range []map[string]any{{"ground_truth": "4"}, {"answer": "4"}, {"reward_model": map[string]any{"ground_truth": "4"}}} {
		got := values(t, good(t, "compute_score"), group(columns, "4", "55"))
		if got[0].Value != 1 || got[1].Value != 0 || got[1].Numbers["length"] != 2 {
			t.Errorf("%v: %+v", columns, got)
		}
	}
	if got := values(t, good(t, "plain_verl"), group(map[string]any{"answer": "4"}, "4")); got[0].Value != 1 {
		t.Errorf("a bool: %+v", got)
	}
}

func TestProcessIsReused(t *testing.T) {
	r := good(t, "counting")
	for want := 1.0; want <= 3; want++ {
		if got := values(t, r, group(nil, "a")); got[0].Value != want {
			t.Errorf("call %v: %+v", want, got)
		}
	}
}

func TestWhatGoesWrongIsNamed(t *testing.T) {
	for _, c := range []struct {
		function string
		outcome  grouse.Outcome
		says     string
	}{
		{"hang", grouse.TimedOut, "no answer within"}, {"fork_bomb", grouse.TimedOut, "no answer within"}, {"crash", grouse.Errored, "abort"}, {"leave", grouse.Errored, "exit status 0"},
		{"leave_politely", grouse.Errored, "SystemExit"}, {"memory", grouse.OOM, "memory"}, {"not_a_number", grouse.BadOutput, "nan"}, {"a_string", grouse.BadOutput, "str"}, {"strings", grouse.BadOutput, "'1.0'"},
		{"too_many", grouse.BadOutput, "3 scores for 2"}, {"nothing", grouse.BadOutput, "NoneType"}, {"raises", grouse.Errored, "column is empty"}, {"needs_more", grouse.Errored, "gold"}, {"no_such_function", grouse.Errored, "no function"},
	} {
		t.Run(c.function, func(t *testing.T) {
			r := reward(t, map[string]any{"file": "testdata/bad.py", "function": c.function, "memory_mb": 400})
			deadline := 20 * time.Second
			if c.outcome == grouse.TimedOut {
				deadline = time.Second
			}
			start := time.Now()
			got, err := rewards.Call(context.Background(), r, group(map[string]any{}, "a", "b"), deadline)
			if rewards.OutcomeOf(err) != c.outcome || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, error %v (%s); want %s with %q", got, err, rewards.OutcomeOf(err), c.outcome, c.says)
			}
			if took := time.Since(start); took > deadline+5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	r := reward(t, map[string]any{"file": "testdata/bad.py", "function": "writes_to_the_protocol"})
	if got := values(t, r, group(nil, "a", "b")); got[0].Value != 0 {
		t.Errorf("a reward wrote its own answer to the protocol: %+v", got)
	}
	broken := reward(t, map[string]any{"file": "testdata/broken.py", "function": "f"})
	if _, err := rewards.Call(context.Background(), broken, group(nil, "a"), 20*time.Second); err == nil || !strings.Contains(err.Error(), "no_such_module") {
		t.Errorf("a file that cannot be loaded: %v", err)
	}
}

// After a deadline no descendant is left, wherever it fled.
func TestChildrenAreKilled(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "alive")
	r := reward(t, map[string]any{"file": "testdata/bad.py", "function": "children"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := r.Judge(ctx, group(map[string]any{"marker": marker}, "a"))
		done <- err
	}()
	for _, n := range []string{"1", "2", "3"} {
		for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(marker + n); err == nil {
				break
			}
			if time.Since(start) > 20*time.Second {
				t.Fatalf("child %s did not start", n)
			}
		}
	}
	if left := holding(marker); left == 0 {
		t.Fatal("the test cannot see the children")
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("no error from a call that was cancelled")
	}
	if left := holding(marker); left != 0 {
		t.Errorf("%d descendants are alive after the call", left)
	}
}

// holding counts the living processes whose command line or memory names marker: the
// two Python children by their command line, the forked ones by the runner's.
func holding(marker string) int {
	n := 0
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		cmd, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if bytes.Contains(cmd, []byte(marker)) || bytes.Contains(cmd, []byte("children\x00")) {
			n++
		}
	}
	return n
}

func TestTheNextCallWorksAfterAKill(t *testing.T) {
	r := good(t, "accuracy")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Judge(ctx, group(map[string]any{"answer": "4"}, "4")); err == nil {
		t.Error("a cancelled call succeeded")
	}
	if got := values(t, r, group(map[string]any{"answer": "4"}, "4")); got[0].Value != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSuite(t *testing.T) {
	rewardtest.Run(t, good(t, "accuracy"), rewardtest.Case{Name: "gold", Columns: map[string]any{"answer": "4"}, Completion: "4", Want: 1}, rewardtest.Case{Name: "wrong", Columns: map[string]any{"answer": "4"}, Completion: "5", Want: 0})
}

func TestBadParameters(t *testing.T) {
	for _, p := range []map[string]any{nil, {"file": "testdata/good.py"}, {"file": "testdata/none.py", "function": "f"}, {"file": "testdata/good.py", "function": "f", "style": "java"},
		{"file": "testdata/good.py", "function": "f", "python": "no-such-python"}, {"file": "testdata/good.py", "function": "f", "memory_mb": -1}} {
		if _, err := python.NewReward(p); err == nil || grouse.FixOf(err) == "" {
			t.Errorf("%v: error %v (fix %q)", p, err, grouse.FixOf(err))
		}
	}
}
