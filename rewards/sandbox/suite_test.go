//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
)

// shell is a sandbox of sh with this machine's tools. Where none is possible the
// test fails, with the reason.
func shell(t testing.TB, kind string, limits Limits) Sandbox {
	t.Helper()
	s, err := open(kind, limits)
	if err != nil {
		t.Fatalf("%v\n→ %s", err, grouse.FixOf(err))
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ungrouped is our launcher without control groups.
const ungrouped = "ungrouped"

func open(kind string, limits Limits) (Sandbox, error) {
	var shown []string
	for _, p := range []string{"/bin", "/lib", "/lib64", "/usr", "/etc/alternatives"} {
		if _, err := os.Stat(p); err == nil {
			shown = append(shown, p)
		}
	}
	spec := Spec{Args: []string{"/bin/sh", "main.sh"}, File: "main.sh", Env: []string{"PATH=/usr/bin:/bin"}, ReadOnly: shown, Limits: limits}
	if kind != ungrouped {
		return New(kind, spec)
	}
	if err := spec.validate(); err != nil {
		return nil, err
	}
	return newNative(spec, nil)
}

// suite is what every kind of sandbox must do.
func suite(t *testing.T, kind string) {
	for _, c := range []struct {
		name, script string
		end          End
		code         int
		stdout       string
	}{
		{"success", "echo hi", Exited, 0, "hi\n"},
		{"status", "exit 3", Exited, 3, ""},
		{"signal", "kill -9 $$", Signaled, 9, ""},
		{"segmentation fault", "kill -SEGV $$", Signaled, 11, ""},
		{"input", "cat; cat", Exited, 0, "in\n"},
		{"unread input", "exit 0", Exited, 0, ""},
		{"hang", "sleep 100", TimedOut, 0, ""},
		{"hang in the background", "sleep 100 >/dev/null 2>&1 </dev/null & echo done", Exited, 0, "done\n"},
		{"new session", "setsid sleep 100 & setsid sleep 100; echo no", TimedOut, 0, ""},
		{"stopped", "kill -STOP $$", TimedOut, 0, ""},
		{"much output", "yes", TooMuchSaid, 0, ""},
		{"much stderr", "yes 2>&1 >&2 | head -c 30000000 >&2; echo ok", Exited, 0, "ok\n"},
		{"closed descriptors", "exec 0<&- 1>&- 2>&-; sleep 0.05", Exited, 0, ""},
		{"big file", "head -c 100000000 /dev/zero > /tmp/x || echo full", Exited, 0, "full\n"},
		{"memory", "tail /dev/zero", OutOfMemory, 0, ""},
		{"its root is read-only", "touch /usr/x /x 2>/dev/null || echo refused", Exited, 0, "refused\n"},
		{"alone", "ls /home /root /var /etc/passwd /sys 2>/dev/null; echo .", Exited, 0, ".\n"},
		{"environment", "env | grep -v -e ^PWD= -e ^_= -e ^OLDPWD= -e ^SHLVL=", Exited, 0, "PATH=/usr/bin:/bin\n"},
		{"descriptors", "exec 9<&8", Exited, 2, ""},
		{"name", "uname -n; id -u", Exited, 0, "sandbox\n1000\n"},
		{"interfaces", "for f in /sys/class/net/*; do echo $f; done", Exited, 0, "/sys/class/net/*\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := shell(t, kind, Limits{Time: 2 * time.Second, Memory: 128 << 20, AddressSpace: -1, Output: 1 << 20})
			start := time.Now()
			r, err := Run(context.Background(), s, []byte(c.script), []byte("in\n"))
			took := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			if took > 8*time.Second {
				t.Errorf("took %v", took)
			}
			if r.End != c.end || r.Code != c.code || c.end == Exited && string(r.Stdout) != c.stdout {
				t.Errorf("%s %d %.200q; want %s %d %q; stderr %.300q", r.End, r.Code, r.Stdout, c.end, c.code, c.stdout, r.Stderr)
			}
		})
	}
	t.Run("fork bomb", func(t *testing.T) {
		s := shell(t, kind, Limits{Time: time.Second})
		most := make(chan int)
		stop := make(chan struct{})
		go func() { // what it is allowed, and what others start meanwhile
			n := 0
			for {
				entries, _ := os.ReadDir("/proc")
				n = max(n, len(entries))
				select {
				case <-stop:
					most <- n
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		before, _ := os.ReadDir("/proc")
		r, err := Run(context.Background(), s, []byte("f() { f | f; }; f; sleep 9"), nil)
		close(stop)
		if n := <-most - len(before); n > 64+200 {
			t.Errorf("%d processes at one time", n)
		}
		if err != nil || r.OK() {
			t.Errorf("%s %d, %v", r.End, r.Code, err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		s := shell(t, kind, Limits{Time: time.Minute})
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := Run(ctx, s, []byte("sleep 100"), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if _, err := s.Start(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v after the end", err)
		}
	})
	t.Run("file", func(t *testing.T) {
		s := shell(t, kind, Limits{})
		if _, err := s.Start(context.Background(), nil); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("without its file: %v", err)
		}
		if _, err := s.Start(context.Background(), make([]byte, MaxFile+1)); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("with a file too large: %v", err)
		}
	})
}

func TestNative(t *testing.T) { suite(t, KindNative) }

func TestNativeWithoutControlGroups(t *testing.T) { suite(t, ungrouped) }

// TestBubblewrap runs where the tool is: it is an option, not a need of grouse's.
func TestBubblewrap(t *testing.T) {
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no bubblewrap on this machine: %v", err)
	}
	suite(t, KindBwrap)
}

// helperEnv makes this test's binary a caller that can be killed.
const helperEnv = "GROUSE_SANDBOX_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		s, err := New(KindNative, Spec{Args: []string{"/bin/sh", "-c", "echo up; setsid sleep 1000.0625 & sleep 1000.0625"}, ReadOnly: []string{"/bin", "/lib", "/lib64", "/usr"}, Limits: Limits{Time: time.Hour}})
		if err != nil {
			panic(err)
		}
		p, err := s.Start(context.Background(), nil)
		if err != nil {
			panic(err)
		}
		var b [3]byte
		p.Stdout.Read(b[:])
		os.Stdout.WriteString("up\n")
		select {}
	}
	os.Exit(m.Run())
}

// TestCallerKilled: a program does not outlive whoever started it.
func TestCallerKilled(t *testing.T) {
	sleepers := func() (n int) {
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			if line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline"); err == nil && strings.HasPrefix(string(line), "sleep\x001000.0625") {
				n++
			}
		}
		return n
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var b [3]byte
	if _, err := out.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); sleepers() < 2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := sleepers(); n != 2 {
		t.Errorf("%d processes, want 2", n)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for deadline := time.Now().Add(5 * time.Second); sleepers() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d processes are left", sleepers())
		}
	}
}

// TestFirstCallThatFails: a launch says which of its calls failed.
func TestFirstCallThatFails(t *testing.T) {
	_, err := New(KindNative, Spec{Args: []string{"/bin/no-such-program"}, ReadOnly: []string{"/usr"}})
	if err == nil {
		var s Sandbox
		s, err = New(KindNative, Spec{Args: []string{"/bin/no-such-program"}, ReadOnly: []string{"/usr"}})
		if err == nil {
			defer s.Close()
			_, err = Run(context.Background(), s, nil, nil)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "execute /bin/no-such-program: no such file") || grouse.FixOf(err) == "" {
		t.Errorf("error %v → %q", err, grouse.FixOf(err))
	}
}

func BenchmarkNative(b *testing.B) {
	s := shell(b, KindNative, Limits{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r, err := Run(context.Background(), s, []byte("exit 0"), nil); err != nil || !r.OK() {
				b.Errorf("%+v %v", r, err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "programs/s")
}
