package code

import (
	"context"
	"errors"
	"os/exec"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

// open makes the reward. It fails, and does not skip, where no sandbox is possible;
// without an interpreter there is nothing to test.
func open(t testing.TB, change func(*Options)) *Reward {
	t.Helper()
	o := Defaults()
	if change != nil {
		change(&o)
	}
	if _, err := exec.LookPath(o.Python); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: the reward code needs %s: %v", o.Python, err)
	}
	r, err := New(o)
	if err != nil {
		t.Fatalf("%v\n→ %s", err, grouse.FixOf(err))
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// score judges one program.
func score(t testing.TB, r *Reward, completion string, columns map[string]any) rewards.Result {
	t.Helper()
	results, err := r.Judge(context.Background(), rewards.NewTextGroup(grouse.Prompt{RowID: "test/0", Columns: columns}, completion))
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

const addTests = "assert add(1, 2) == 3\nassert add(-1, 1) == 0"

func TestReward(t *testing.T) {
	add := map[string]any{"tests": addTests}
	check := map[string]any{"entry_point": "add", "tests": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate('a', 'b') == 'ab'\n"}
	pairs := map[string]any{"tests": []any{map[string]any{"input": "1 2\n", "output": "3\n"}, map[string]any{"input": "5 5\n", "output": "10"}}}
	rewardtest.Run(t, open(t, nil),
		rewardtest.Case{Name: "right", Columns: add, Completion: "def add(a, b):\n    return a + b\n", Want: 1},
		rewardtest.Case{Name: "fenced", Columns: add, Completion: "<think>```python\nno\n```</think>Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.", Want: 1},
		rewardtest.Case{Name: "wrong", Columns: add, Completion: "def add(a, b):\n    return a - b\n"},
		rewardtest.Case{Name: "syntax error", Columns: add, Completion: "def add(a, b) return a + b"},
		rewardtest.Case{Name: "missing", Columns: add, Completion: "def plus(a, b):\n    return a + b\n"},
		rewardtest.Case{Name: "raises", Columns: add, Completion: "def add(a, b):\n    raise ValueError('no')\n"},
		rewardtest.Case{Name: "no program", Columns: add, Completion: "```json\n{}\n```"},
		rewardtest.Case{Name: "still thinking", Columns: add, Completion: "<think>def add(a, b): return a + b"},
		rewardtest.Case{Name: "check", Columns: check, Completion: "def add(a, b):\n    return a + b\n", Want: 1},
		rewardtest.Case{Name: "check wrong", Columns: check, Completion: "def add(a, b):\n    return 3\n"},
		rewardtest.Case{Name: "pairs", Columns: pairs, Completion: "a, b = map(int, input().split())\nprint(a + b)", Want: 1},
		rewardtest.Case{Name: "pairs wrong", Columns: pairs, Completion: "print(3)"},
		rewardtest.Case{Name: "pairs exit status", Columns: pairs, Completion: "a, b = map(int, input().split())\nprint(a + b)\nexit(1)"},
		rewardtest.Case{Name: "no tests", Columns: map[string]any{"x": 1}, Completion: "x", Error: `no column "tests"`},
		rewardtest.Case{Name: "broken tests", Columns: map[string]any{"tests": "assert ("}, Completion: "x = 1", Error: "the tests cannot be run: SyntaxError"},
		rewardtest.Case{Name: "tests of another name", Columns: map[string]any{"entry_point": "f", "tests": "assert f(g(1)) == 1"}, Completion: "def f(x): return 1\ng = f", Error: "the tests use g"},
	)
}

func TestShare(t *testing.T) {
	r := open(t, func(o *Options) { o.Score = ScoreShare })
	got := score(t, r, "def f(x):\n    return abs(x)\n", map[string]any{"tests": []any{"assert f(1) == 1", "assert f(-1) == -1", "assert f(2) == 2", "assert f(0) == 0"}})
	if got.Value != 0.75 || *got.Correct {
		t.Errorf("%+v", got)
	}
}

func TestCancelled(t *testing.T) {
	r := open(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	_, err := r.Judge(ctx, rewards.NewTextGroup(grouse.Prompt{Columns: map[string]any{"tests": "assert f()"}}, "while True: pass", "import time; time.sleep(100)"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func BenchmarkFunction(b *testing.B) {
	bench(b, "def add(a, b):\n    return a + b\n", map[string]any{"tests": addTests})
}

func BenchmarkPair(b *testing.B) {
	bench(b, "a, b = map(int, input().split())\nprint(a + b)", map[string]any{"tests": []any{map[string]any{"input": "1 2\n", "output": "3\n"}}})
}

func bench(b *testing.B, program string, columns map[string]any) {
	r := open(b, nil)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if got := score(b, r, program, columns); got.Value != 1 {
				b.Errorf("%+v", got)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "programs/s")
}
