package process_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/process"
)

func pool(t *testing.T, spec process.Spec) *process.Pool {
	t.Helper()
	p, err := process.NewPool(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// What a child's end means: its limit of memory is no excuse for what it is not
// responsible for.
func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		script  string
		outcome grouse.Outcome
	}{
		"aborted": {"kill -ABRT $$", grouse.Errored}, "segmentation fault": {"kill -SEGV $$", grouse.Errored}, "killed": {"kill -KILL $$", grouse.OOM},
		"says so": {"echo MemoryError >&2; exit 1", grouse.OOM}, "status": {"exit 7", grouse.Errored},
	} {
		_, err := pool(t, process.Spec{Args: []string{"sh", "-c", c.script}, MemoryMB: 100}).Call(context.Background(), []byte("{}"))
		if rewards.OutcomeOf(err) != c.outcome {
			t.Errorf("%s: %v (%s), want %s", name, err, rewards.OutcomeOf(err), c.outcome)
		}
	}
}

// What a child said while it judged an earlier group is no evidence: an abort after a
// group that was out of memory is an abort.
func TestWordsAreOfTheirGroup(t *testing.T) {
	p := pool(t, process.Spec{Args: []string{"sh", "-c", "read -r l; echo 'MemoryError: earlier' >&2; echo ok; read -r l; echo now >&2; kill -ABRT $$"}, MemoryMB: 100})
	if _, err := p.Call(context.Background(), []byte("1")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the words are read beside the answer
	_, err := p.Call(context.Background(), []byte("2"))
	if rewards.OutcomeOf(err) != grouse.Errored || strings.Contains(err.Error(), "earlier") || !strings.Contains(err.Error(), "aborted; it said: now") {
		t.Errorf("%v (%s), want an abort with the words of the second group", err, rewards.OutcomeOf(err))
	}
}

// Descendants that left for sessions of their own die with the call.
func TestForksAreKilled(t *testing.T) {
	const mark = "31.41592" // seconds: finds them
	p := pool(t, process.Spec{Args: []string{"sh", "-c", "i=0; while [ $i -lt 20 ]; do setsid sleep " + mark + " & i=$((i+1)); done; sleep 60"}})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := p.Call(ctx, []byte("{}")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
	if out, err := exec.Command("pgrep", "-f", "sleep "+mark).Output(); err == nil && strings.TrimSpace(string(out)) != "" {
		t.Errorf("left alive: %s", out)
	}
}

func TestClosedPool(t *testing.T) {
	p := pool(t, process.Spec{Args: []string{"sh", "-c", "while read -r l; do echo ok; done"}})
	if out, err := p.Call(context.Background(), []byte("x")); err != nil || string(out) != "ok" {
		t.Fatalf("%s, %v", out, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Call(context.Background(), []byte("x")); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed pool answers: %v", err)
	}
}
