package exec_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/exec"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func command(t *testing.T, script string, more map[string]any) rewards.Reward {
	t.Helper()
	params := map[string]any{"command": []any{"sh", "-c", script}}
	for k, v := range more {
		params[k] = v
	}
	r, err := exec.NewReward(params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.(*exec.Command).Close() })
	return r
}

// A shell loop that says 1 where the request holds the word right.
const judge = `while read -r line; do case "$line" in *'"text":"right"'*) echo '{"scores":[1]}';; *) echo '{"scores":[0]}';; esac; done`

func TestSuite(t *testing.T) {
	rewardtest.Run(t, command(t, judge, nil), rewardtest.Case{Name: "right", Completion: "right", Want: 1}, rewardtest.Case{Name: "wrong", Completion: "wrong", Want: 0})
}

// A command that exits after its answer is started again for each group.
func TestOneShot(t *testing.T) {
	r := command(t, `read -r line; echo '{"scores":[0.5]}'`, nil)
	for range 20 {
		got, err := rewards.Call(context.Background(), r, rewards.NewTextGroup(grouse.Prompt{}, "a"), 10*time.Second)
		if err != nil || got[0].Value != 0.5 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}

// A group that hangs is alone in passing its deadline: who waits for the process does
// so before the time begins to count.
func TestWaitingCostsNoTime(t *testing.T) {
	r := command(t, `while read -r line; do case "$line" in *'"text":"hang"'*) sleep 60;; *) sleep 0.1; echo '{"scores":[1]}';; esac; done`, nil)
	texts := []string{"hang", "a", "b", "hang", "c"}
	errs := make([]error, len(texts))
	var wg sync.WaitGroup
	for i, text := range texts {
		wg.Go(func() {
			_, errs[i] = rewards.Call(context.Background(), r, rewards.NewTextGroup(grouse.Prompt{}, text), time.Second)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if want := map[bool]grouse.Outcome{true: grouse.TimedOut, false: grouse.Scored}[texts[i] == "hang"]; rewards.OutcomeOf(err) != want {
			t.Errorf("%s: %v (%s), want %s", texts[i], err, rewards.OutcomeOf(err), want)
		}
	}
}

func TestEnvironmentAndDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "answer"), []byte(`{"scores":[2]}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := command(t, `read -r line; test "$MODE" = test && cat answer`, map[string]any{"dir": dir, "env": map[string]any{"MODE": "test"}})
	got, err := rewards.Call(context.Background(), r, rewards.NewTextGroup(grouse.Prompt{}, "a"), 10*time.Second)
	if err != nil || got[0].Value != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestWhatGoesWrongIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		script  string
		more    map[string]any
		outcome grouse.Outcome
		says    string
	}{
		"hang":               {"sleep 60", nil, grouse.TimedOut, "no answer within"},
		"exit":               {"echo sorry >&2; exit 3", nil, grouse.Errored, "sorry"},
		"exit 0":             {"exit 0", nil, grouse.Errored, "without an answer"},
		"no JSON":            {"read -r l; echo 1", nil, grouse.BadOutput, "scores"},
		"too much":           {"yes aaaaaaaaaaaaaaaaaaaaa | tr -d '\\n'", map[string]any{"max_output": 1000}, grouse.BadOutput, "too long"},
		"ten megabytes":      {"head -c 10000000 /dev/zero | tr '\\0' a", nil, grouse.BadOutput, "too long"},
		"many lines":         {`read -r l; i=0; while [ $i -lt 3000 ]; do echo; i=$((i+1)); done; exit 4`, nil, grouse.Errored, "exit status 4"},
		"NaN":                {`read -r l; echo '{"scores":[NaN]}'`, nil, grouse.BadOutput, "NaN"},
		"infinity":           {`read -r l; echo '{"scores":[1e999]}'`, nil, grouse.BadOutput, "1e999"},
		"a string":           {`read -r l; echo '{"scores":["1.0"]}'`, nil, grouse.BadOutput, "a number, null or an object"},
		"too many":           {`read -r l; echo '{"scores":[1,1]}'`, nil, grouse.BadOutput, "2 scores for 1"},
		"no list":            {`read -r l; echo '{"scores":1}'`, nil, grouse.BadOutput, "scores"},
		"two answers":        {`read -r l; echo '{"scores":[1]} {"scores":[1]}'`, nil, grouse.BadOutput, "after the JSON"},
		"fills memory":       {`read -r l; x=aaaaaaaa; while :; do x="$x$x$x$x"; done`, map[string]any{"memory_mb": 200}, grouse.OOM, "memory"},
		"forks":              {`i=0; while [ $i -lt 50 ]; do setsid sleep 60 & i=$((i+1)); done; sleep 60`, nil, grouse.TimedOut, "no answer within"},
		"closes output":      {"exec 1>&-; sleep 60", nil, grouse.TimedOut, "no answer within"},
		"error":              {`read -r l; echo '{"error":"judge is down","kind":"timeout"}'`, nil, grouse.TimedOut, "judge is down"},
		"does not read":      {"sleep 60 <&-", nil, grouse.TimedOut, "no answer within"},
		"killed by a signal": {"kill -SEGV $$", nil, grouse.Errored, "signal"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := rewards.Call(context.Background(), command(t, c.script, c.more), rewards.NewTextGroup(grouse.Prompt{}, strings.Repeat("a", 200_000)), 1500*time.Millisecond)
			if rewards.OutcomeOf(err) != c.outcome || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v (%s), want %s with %q", err, rewards.OutcomeOf(err), c.outcome, c.says)
			}
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestWorkersRunAtTheSameTime(t *testing.T) {
	r := command(t, `while read -r l; do sleep 0.4; echo '{"scores":[1]}'; done`, map[string]any{"workers": 4})
	start, done := time.Now(), make(chan error, 4)
	for range 4 {
		go func() {
			_, err := r.Judge(context.Background(), rewards.NewTextGroup(grouse.Prompt{}, "a"))
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(start); took > 1300*time.Millisecond {
		t.Errorf("four calls of 0.4 s with four workers took %v", took)
	}
}

func TestBadParameters(t *testing.T) {
	for _, p := range []map[string]any{nil, {"command": []any{"no-such-program-here"}}, {"command": "sh -c true"}, {"command": []any{"sh"}, "workers": -1}} {
		if _, err := exec.NewReward(p); err == nil || grouse.FixOf(err) == "" {
			t.Errorf("%v: error %v (fix %q)", p, err, grouse.FixOf(err))
		}
	}
}
