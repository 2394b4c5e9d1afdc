package code

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

//go:embed testdata/hostile.txt
var hostileText string

// hostileProgram is one of the corpus.
type hostileProgram struct{ kind, name, attempts, text string }

func hostileCorpus(t testing.TB) []hostileProgram {
	var out []hostileProgram
	for _, part := range strings.Split(hostileText, "\n## ")[1:] {
		head, text, _ := strings.Cut(part, "\n")
		head, attempts, ok := strings.Cut(head, ": ")
		kind, name, ok2 := strings.Cut(head, " ")
		if !ok || !ok2 || attempts == "" {
			t.Fatalf("hostile program %q has no kind, name and attempt", head)
		}
		out = append(out, hostileProgram{kind, name, attempts, text})
	}
	if len(out) < 60 {
		t.Fatalf("%d hostile programs, want at least 60", len(out))
	}
	return out
}

// canaries are what no program may reach.
type canaries struct {
	secret, file string
	port         int
	abstract     string
	visits       atomic.Int64
}

// newCanaries sets them out.
func newCanaries(t *testing.T) *canaries {
	c := &canaries{secret: "canary-7f3a91", file: filepath.Join(t.TempDir(), "canary"), abstract: fmt.Sprintf("grouse-canary-%d", os.Getpid())}
	for dir := filepath.Dir(c.file); dir != "/"; dir = filepath.Dir(dir) { // only the sandbox is in the way
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o005 == 0 {
			os.Chmod(dir, info.Mode().Perm()|0o055)
		}
	}
	if err := os.WriteFile(c.file, []byte(c.secret), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GROUSE_CANARY", c.secret)
	serve := func(l net.Listener) {
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				c.visits.Add(1)
				conn.Write([]byte(c.secret))
				conn.Close()
			}
		}()
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(tcp)
	c.port = tcp.Addr().(*net.TCPAddr).Port
	unix, err := net.Listen("unix", "@"+c.abstract)
	if err != nil {
		t.Fatal(err)
	}
	serve(unix)
	return c
}

func (c *canaries) columns(kind string) map[string]any {
	pairs := []any{map[string]any{"input": "1 2\n", "output": "3\n"}, map[string]any{"input": "5 5\n", "output": "10\n"}}
	switch kind {
	case "check":
		return map[string]any{"entry_point": "add", "tests": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n"}
	case "root":
		return map[string]any{"tests": "assert abs(root(2) - 1.4142) < 0.001\nassert root(9) == 3"}
	case "loop":
		return map[string]any{"tests": "assert all(map(lambda x: root(x * x) == x, [1, 2, 3]))"}
	case "pair":
		return map[string]any{"tests": pairs}
	case "steal":
		return map[string]any{"tests": "assert steal() == " + strconv.Quote(c.secret)}
	}
	return map[string]any{"tests": addTests}
}

func (c *canaries) fill(text string) string {
	return strings.NewReplacer("FILE", c.file, "PORT", strconv.Itoa(c.port), "SOCKET", c.abstract).Replace(text)
}

// TestCanaries proves that the canaries would sing: outside of the sandbox what the
// corpus attempts succeeds.
func TestCanaries(t *testing.T) {
	c := newCanaries(t)
	if data, err := os.ReadFile(c.file); err != nil || string(data) != c.secret || os.Getenv("GROUSE_CANARY") != c.secret {
		t.Error("the file or the variable is not there")
	}
	for _, a := range [][2]string{{"tcp", "127.0.0.1:" + strconv.Itoa(c.port)}, {"unix", "@" + c.abstract}} {
		conn, err := net.Dial(a[0], a[1])
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if n, _ := conn.Read(b); string(b[:n]) != c.secret {
			t.Errorf("%s says %q", a[0], b[:n])
		}
		conn.Close()
	}
	// And a program that is given the secret is rewarded: the tests can pass.
	r := open(t, nil)
	if got := score(t, r, "def steal(): return "+strconv.Quote(c.secret), c.columns("steal")); got.Value != 1 {
		t.Errorf("%+v", got)
	}
}

// honest solves every kind but steal.
const honest = `
def add(a, b): return a + b
def root(x): return x ** 0.5
`

func TestHostile(t *testing.T) {
	c := newCanaries(t)
	r := open(t, func(o *Options) { o.TimeLimit, o.MemoryMB, o.DiskMB = 1, 256, 16 })
	for _, kind := range []string{"add", "check", "root", "loop"} {
		if got := score(t, r, honest, c.columns(kind)); got.Value != 1 {
			t.Fatalf("the honest program fails %s: %s", kind, got.Explanation)
		}
	}
	descriptors, processes := openDescriptors(t), descendants(t)
	var slowest time.Duration
	for _, p := range hostileCorpus(t) {
		t.Run(p.kind+"/"+p.name, func(t *testing.T) {
			start := time.Now()
			results, err := r.Judge(context.Background(), rewards.NewTextGroup(grouse.Prompt{RowID: p.name, Columns: c.columns(p.kind)}, c.fill(p.text)))
			took := time.Since(start)
			slowest = max(slowest, took)
			if err != nil {
				t.Fatalf("it %s: %v", p.attempts, err)
			}
			t.Logf("%v: %s", took.Round(time.Millisecond), results[0].Explanation)
			if got := results[0]; got.Value != 0 || *got.Correct {
				t.Errorf("it %s, and is rewarded with %v", p.attempts, got.Value)
			}
			if strings.Contains(results[0].Explanation, c.secret) && p.kind != "steal" {
				t.Errorf("it %s, and knows the secret: %s", p.attempts, results[0].Explanation)
			}
			if took > 8*time.Second {
				t.Errorf("it %s, and was stopped after %v only", p.attempts, took)
			}
			if n := c.visits.Load(); n != 0 {
				t.Errorf("it %s, and reached a listener %d times", p.attempts, n)
				c.visits.Store(0)
			}
			if data, err := os.ReadFile(c.file); err != nil || string(data) != c.secret {
				t.Errorf("it %s, and changed a file of the machine: %q %v", p.attempts, data, err)
			}
		})
	}
	if got := score(t, r, honest, c.columns("add")); got.Value != 1 {
		t.Errorf("after the hostile programs the honest one fails: %s", got.Explanation)
	}
	t.Logf("the slowest was stopped after %v", slowest.Round(time.Millisecond))
	// A tester more or less may wait: each has three pipes, a process that supervises,
	// init and the interpreter.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		fds, left := openDescriptors(t), descendants(t)
		if fds <= descriptors+10 && len(left) <= len(processes)+3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, at first %d; processes %v, at first %v", fds, descriptors, left, processes)
		}
	}
	if n := runtime.NumGoroutine(); n > 60 {
		t.Errorf("%d goroutines are left", n)
	}
}

func openDescriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// descendants returns the names of all processes below this one.
func descendants(t *testing.T) []string {
	parents := map[int]int{}
	names := map[int]string{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		end := strings.LastIndexByte(string(stat), ')')
		f := strings.Fields(string(stat[end+1:]))
		parents[pid], _ = strconv.Atoi(f[1])
		names[pid] = string(stat[:end+1])
	}
	var out []string
	for pid := range parents {
		for p := pid; p > 1; p = parents[p] {
			if parents[p] == os.Getpid() {
				out = append(out, names[pid])
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestLeftovers: what one program plants, the next does not find.
func TestLeftovers(t *testing.T) {
	r := open(t, nil)
	plant := `
import os, subprocess
for path in ("/tmp/planted", "/dev/shm/planted", "planted", os.path.expanduser("~/planted")):
    try: open(path, "w").write("x")
    except OSError: pass
if os.fork() == 0:
    os.setsid()
    import time
    time.sleep(100)
import builtins, sys
builtins.planted = sys.planted = True
def add(a, b): return a + b
`
	find := `
import os, builtins, sys
found = [p for p in ("/tmp/planted", "/dev/shm/planted", "planted", os.path.expanduser("~/planted")) if os.path.exists(p)]
found += [n for n in os.listdir("/tmp")]
found += [m for m in (builtins, sys) if hasattr(m, "planted")]
for pid in range(3, 200):
    try: os.kill(pid, 0)
    except OSError: continue
    found.append(pid)
def found_nothing(): return repr(found)
`
	for range 3 {
		if got := score(t, r, plant, map[string]any{"tests": addTests}); got.Value != 1 {
			t.Fatalf("%+v", got)
		}
		if got := score(t, r, find, map[string]any{"tests": "assert found_nothing() == '[]', found_nothing()"}); got.Value != 1 {
			t.Errorf("a program finds what the one before it left: %s", got.Explanation)
		}
	}
}
