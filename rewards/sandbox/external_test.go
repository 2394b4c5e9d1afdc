//go:build linux

package sandbox

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
)

// TestExternalArguments: what each tool is told to keep out.
func TestExternalArguments(t *testing.T) {
	spec := Spec{Args: []string{"/usr/bin/python3", "main.py"}, File: "main.py", Env: []string{"A=b=c"}}
	if err := spec.validate(); err != nil {
		t.Fatal(err)
	}
	mounts := []mountPoint{{path: "/lib", link: "/usr/lib"}, {path: "/usr", dir: true}}
	for kind, want := range map[string][]string{
		KindBwrap: {"/bin/prlimit --core=0 --fsize=67108864", "--nproc=66", "--as=536870912", "/bin/tool --unshare-all", "--die-with-parent", "--cap-drop ALL", "--clearenv --setenv A b=c",
			"--symlink /usr/lib /lib --ro-bind /usr /usr", "--size 67108864 --tmpfs /tmp --ro-bind /host/main.py /tmp/main.py --chdir /tmp -- /usr/bin/python3 main.py"},
		KindNsjail: {"/bin/tool -Mo", "--disable_proc", "--iface_no_lo", "--rlimit_nproc 66", "--rlimit_as 512", "--env A=b=c", "--symlink /usr/lib:/lib --bindmount_ro /usr",
			"--mount none:/tmp:tmpfs:size=67108864 --bindmount_ro /host/main.py:/tmp/main.py -- /usr/bin/python3 main.py"},
		KindGvisor: {"/bin/tool --rootless --network=none", "run --bundle"},
	} {
		e := &External{kind: kind, spec: spec, mounts: mounts, tool: "/bin/tool", prlim: "/bin/prlimit", dir: t.TempDir()}
		work := filepath.Join(e.dir, "1")
		if err := os.Mkdir(work, 0o755); err != nil {
			t.Fatal(err)
		}
		args, err := e.args(work, "/host/main.py")
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Join(args, " ")
		for _, w := range want {
			if !strings.Contains(line, w) {
				t.Errorf("%s: no %q in %s", kind, w, line)
			}
		}
		if kind != KindGvisor {
			continue
		}
		data, err := os.ReadFile(filepath.Join(work, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Root    struct{ Readonly bool }
			Process struct {
				Args, Env       []string
				NoNewPrivileges bool
			}
			Mounts []struct {
				Destination, Source string
				Options             []string
			}
		}
		if err := json.Unmarshal(data, &config); err != nil {
			t.Fatal(err)
		}
		if !config.Root.Readonly || !config.Process.NoNewPrivileges || len(config.Mounts) != 3 || config.Mounts[1].Destination != "/usr" || config.Mounts[1].Options[0] != "ro" || config.Process.Args[1] != "main.py" {
			t.Errorf("%s", data)
		}
		if link, err := os.Readlink(filepath.Join(work, "root/lib")); err != nil || link != "/usr/lib" {
			t.Errorf("link %q, %v", link, err)
		}
	}
}

// TestExternalNeverDegrades: a tool that is not there, or does not work, is an error
// that names it, and no weaker sandbox takes its place.
func TestExternalNeverDegrades(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	spec := Spec{Args: []string{"/bin/true"}, ReadOnly: []string{"/usr"}}
	for _, kind := range []string{KindBwrap, KindNsjail, KindGvisor} {
		if s, err := New(kind, spec); s != nil || grouse.KindOf(err) != grouse.NotFound || !strings.Contains(grouse.FixOf(err), "native") {
			t.Errorf("%s without its tool: %v, %v → %s", kind, s, err, grouse.FixOf(err))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "nsjail"), []byte("#!/bin/sh\necho no user namespaces >&2\nexit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if s, err := New(KindNsjail, spec); s != nil || grouse.KindOf(err) != grouse.Unavailable {
		t.Errorf("nsjail that does not work: %v, %v", s, err)
	}
}
