package wasm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
	"github.com/grouse-rl/grouse/rewards/wasm"
)

// module returns the reward of a module that testdata/modules.wat.py wrote.
func module(t *testing.T, name string, memory int) rewards.Reward {
	t.Helper()
	r, err := wasm.NewReward(map[string]any{"file": "testdata/" + name + ".wasm", "memory_mb": memory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.(*wasm.Module).Close() })
	return r
}

func group(text string) *rewards.Group { return rewards.NewTextGroup(grouse.Prompt{}, text) }

func TestSuite(t *testing.T) {
	rewardtest.Run(t, module(t, "half", 16), rewardtest.Case{Name: "always half", Completion: "x", Want: 0.5})
}

// The module reads the request: its answer follows the request's length.
func TestReadsTheRequest(t *testing.T) {
	r := module(t, "reads", 16)
	short, err := rewards.Call(context.Background(), r, group(""), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rewards.Call(context.Background(), r, group(strings.Repeat("a", 600)), 10*time.Second)
	// 300 more, and 300 more: the text stands in the request twice (text and answer)
	if err != nil || long[0].Value == short[0].Value {
		t.Errorf("short %+v, long %+v, %v", short, long, err)
	}
}

func TestWhatGoesWrongIsNamed(t *testing.T) {
	for _, c := range []struct {
		module  string
		outcome grouse.Outcome
		says    string
	}{
		{"hang", grouse.TimedOut, "no answer within"}, {"flood", grouse.BadOutput, "longer than"}, {"status", grouse.Errored, "no judge here"}, {"trap", grouse.Errored, "unreachable"}, {"silent", grouse.BadOutput, "without an answer"},
		{"text", grouse.BadOutput, "great answer"}, {"memory", grouse.OOM, "out of memory"},
	} {
		deadline := 20 * time.Second
		if c.outcome == grouse.TimedOut {
			deadline = 300 * time.Millisecond
		}
		start := time.Now()
		_, err := rewards.Call(context.Background(), module(t, c.module, 16), group("a"), deadline)
		if rewards.OutcomeOf(err) != c.outcome || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v (%s), want %s with %q", c.module, err, rewards.OutcomeOf(err), c.outcome, c.says)
		}
		if took := time.Since(start); c.outcome == grouse.TimedOut && took > 3*time.Second {
			t.Errorf("%s: took %v", c.module, took)
		}
	}
}

// What the budget ends is told from everything else, on any machine the same; what it
// does not end reports what it took.
func TestFuel(t *testing.T) {
	limited := func(name string, fuel int64) rewards.Reward {
		r, err := wasm.NewReward(map[string]any{"file": "testdata/" + name + ".wasm", "memory_mb": 16, "fuel": fuel})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.(*wasm.Module).Close() })
		return r
	}
	for _, name := range []string{"hang", "flood"} {
		_, err := rewards.Call(context.Background(), limited(name, 10_000), group("a"), 20*time.Second)
		if rewards.OutcomeOf(err) != grouse.OutOfFuel || rewards.Retryable(err) || !strings.Contains(err.Error(), "out of fuel: the group takes more than 10000 instructions") {
			t.Errorf("%s: error %v (%s)", name, err, rewards.OutcomeOf(err))
		}
	}
	// _start and its two constants and call; say and its two stores with their two
	// operands each, four operands and a call. Its drop is free.
	const half = 1 + 3 + 1 + 3 + 3 + 5
	got, err := rewards.Call(context.Background(), limited("half", half), group("a"), 20*time.Second)
	if err != nil || got[0].Value != 0.5 || got[0].Numbers["fuel"] != half {
		t.Errorf("%+v, %v; want 0.5 with fuel %d", got, err, half)
	}
	if _, err := rewards.Call(context.Background(), limited("half", half-1), group("a"), 20*time.Second); rewards.OutcomeOf(err) != grouse.OutOfFuel {
		t.Errorf("with one less: %v", err)
	}
}

// A hanging module is really stopped: the goroutine returns, not only the caller.
func TestHangIsStopped(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := module(t, "hang", 16).Judge(ctx, group("a"))
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(10 * time.Second):
		t.Error("the module runs on after its deadline")
	}
}

func TestSeesNoFile(t *testing.T) {
	got, err := rewards.Call(context.Background(), module(t, "opens", 16), group("a"), 10*time.Second)
	if err != nil || got[0].Value != 0 {
		t.Errorf("%+v, %v: the module could open a file", got, err)
	}
}

func TestBadParameters(t *testing.T) {
	for _, p := range []map[string]any{nil, {"file": "testdata/none.wasm"}, {"file": "testdata/modules.wat.py"}, {"file": "testdata/half.wasm", "memory_mb": 0}, {"file": "testdata/half.wasm", "memory": 3},
		{"file": "testdata/half.wasm", "fuel": 0}, {"file": "testdata/library.wasm"}} {
		if _, err := wasm.NewReward(p); err == nil || grouse.FixOf(err) == "" {
			t.Errorf("%v: error %v (fix %q)", p, err, grouse.FixOf(err))
		}
	}
}
