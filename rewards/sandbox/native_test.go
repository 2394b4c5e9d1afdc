//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"strings"
	"testing"
	"time"
)

// shell is a sandbox of sh with the machine's tools.
func shell(t testing.TB, limits Limits) *Native {
	t.Helper()
	n, err := NewNative(Spec{Args: []string{"/bin/sh", "main.sh"}, File: "main.sh", Env: []string{"PATH=/usr/bin:/bin"}, ReadOnly: []string{"/bin", "/lib", "/lib64", "/usr"}, Limits: limits})
	if err != nil {
		t.Fatalf("%v\nHINT: %s", err, hint(err))
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func TestEnds(t *testing.T) {
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
		{"hang", "sleep 100", TimedOut, 0, ""},
		{"hang in the background", "sleep 100 & echo done", Exited, 0, "done\n"},
		{"new session", "setsid sleep 100 & setsid sleep 100; echo no", TimedOut, 0, ""},
		{"stopped", "kill -STOP $$", TimedOut, 0, ""},
		{"kill init", "kill -9 1; kill -9 -1; echo alive", Exited, 0, "alive\n"},
		{"much output", "yes", TooMuchSaid, 0, ""},
		{"much stderr", "yes 2>&1 >&2 | head -c 30000000 >&2; echo ok", Exited, 0, "ok\n"},
		{"closed descriptors", "exec 0<&- 1>&- 2>&-; sleep 0.05", Exited, 0, ""},
		{"big file", "head -c 100000000 /dev/zero > /tmp/x || echo full", Exited, 0, "full\n"},
		{"forks", "f() { f | f; }; f; sleep 9", "", 0, ""},
		{"memory", "tail /dev/zero", OutOfMemory, 0, ""},
		{"not its root", "touch /usr/x /x /dev/x 2>/dev/null || echo refused", Exited, 0, "refused\n"},
		{"alone", "echo $$; ls /proc /etc /root /home 2>/dev/null; echo .", Exited, 0, "2\n.\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := shell(t, Limits{Time: time.Second, Memory: 128 << 20, AddressSpace: -1, Output: 1 << 20})
			start := time.Now()
			r, err := Run(context.Background(), n, []byte(c.script), []byte("in\n"))
			took := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			if took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			if c.end != "" && (r.End != c.end || r.Code != c.code) || c.end == Exited && string(r.Stdout) != c.stdout {
				t.Errorf("%s %d %.200q %.300q; want %s %d %q", r.End, r.Code, r.Stdout, r.Stderr, c.end, c.code, c.stdout)
			}
			t.Logf("%v: %s %d, %d bytes of memory, %v; %s", took, r.End, r.Code, r.Memory, r.CPU, strings.TrimSpace(string(r.Stderr[:min(200, len(r.Stderr))])))
		})
	}
}

func hint(err error) string { return "" }

func BenchmarkShell(b *testing.B) {
	n := shell(b, Limits{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r, err := Run(context.Background(), n, []byte("exit 0"), nil); err != nil || !r.OK() {
				b.Errorf("%+v %v", r, err)
			}
		}
	})
}
