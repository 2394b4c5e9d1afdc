package code

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"

	"github.com/grouse-rl/grouse"
)

//go:embed harness.py
var harness string

//go:embed stdio.py
var stdio string

// probe asks an interpreter where it and its libraries are: what a sandbox must show.
const probe = `
import json, os, sys
exe = os.path.realpath(sys.executable)
for m in ("math", "_struct", "_random", "_bisect", "_heapq", "_datetime", "_decimal", "_ctypes", "_hashlib", "_ssl", "_bz2", "_lzma", "zlib", "_sqlite3", "_uuid"):
    try: __import__(m)
    except ImportError: pass
paths = [exe, os.path.dirname(os.path.realpath(os.__file__))]
try:
    for line in open("/proc/self/maps"):
        f = line.split(None, 5)
        if len(f) == 6 and f[5].startswith("/") and os.path.isfile(f[5].strip()): paths.append(f[5].strip())
except OSError: pass
import sysconfig
paths.append(os.path.realpath(sysconfig.get_path("platstdlib")))
site = []
if SITE:
    import site as s
    site = [p for p in list(s.getsitepackages()) + [sysconfig.get_path("purelib")] if os.path.isdir(p)]
print(json.dumps({"exe": exe, "version": sys.version_info[:2], "paths": paths, "site": site, "prefix": sys.prefix}))
`

// interpreter is a Python of this machine.
type interpreter struct {
	Exe     string   `json:"exe"`
	Version [2]int   `json:"version"`
	Paths   []string `json:"paths"`
	Site    []string `json:"site"`
	Prefix  string   `json:"prefix"`
}

// libraries are the machine's, of which an interpreter loads some.
var libraries = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"}

// findPython asks the interpreter of that name.
func findPython(name string, site bool) (interpreter, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := exec.LookPath(name); err != nil {
		return interpreter{}, grouse.Errorf(grouse.NotFound, "python %q: %w", name, err).WithFix("install Python 3.8 or newer (Debian: apt install python3), or set python to the path of one")
	}
	flags := "False"
	if site {
		flags = "True"
	}
	cmd := exec.CommandContext(ctx, name, "-I", "-B", "-c", "SITE = "+flags+probe)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var i interpreter
	if err == nil {
		err = json.Unmarshal(out, &i)
	}
	if err != nil {
		return i, grouse.Errorf(grouse.Invalid, "python %q does not say where it is: %w %s", name, err, bytes.TrimSpace(stderr.Bytes())).WithFix("set python to the path of a Python 3")
	}
	if i.Version[0] != 3 || i.Version[1] < 8 {
		return i, grouse.Errorf(grouse.Invalid, "python %q is %d.%d", name, i.Version[0], i.Version[1]).WithFix("set python to a Python 3.8 or newer")
	}
	return i, nil
}

// command returns how the interpreter runs a script of ours: without site packages
// unless they are asked for, and with fixed hashes, so that a set has the same order
// twice.
func (i *interpreter) command(script string, args ...string) (argv, env []string) {
	argv = []string{i.Exe, "-s", "-B"}
	env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "PYTHONUTF8=1", "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1"}
	if len(i.Site) == 0 {
		argv = append(argv, "-S")
	} else {
		path := ""
		for _, p := range i.Site {
			path += p + ":"
		}
		env = append(env, fmt.Sprintf("PYTHONPATH=%s", path[:len(path)-1]))
	}
	return append(append(argv, "-c", script), args...), env
}
