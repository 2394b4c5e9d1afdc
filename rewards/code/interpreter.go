package code

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"os/exec"
	"strings"
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

// compiled returns a script of ours as the interpreter's own code, in hex: compiling
// it takes a third of an interpreter's start.
func (i *interpreter) compiled(name, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, i.Exe, "-I", "-S", "-B", "-c", "import marshal, sys\nsys.stdout.write(marshal.dumps(compile(sys.stdin.buffer.read(), sys.argv[1], 'exec', 0, True)).hex())", name)
	cmd.Stdin = strings.NewReader(script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", grouse.Errorf(grouse.Internal, "python %s does not compile %s: %w %s", i.Exe, name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// start executes compiled code, which is the first argument.
const start = "import marshal, sys\nexec(marshal.loads(bytes.fromhex(sys.argv.pop(1))))"

// command returns how the interpreter runs a script of ours: without site packages
// unless they are asked for, and with fixed hashes, so that a set has the same order
// twice.
func (i *interpreter) command(code string, args ...string) (argv, env []string) {
	argv = []string{i.Exe, "-s", "-B"}
	env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "PYTHONUTF8=1", "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1"}
	if len(i.Site) == 0 {
		argv = append(argv, "-S")
	} else {
		env = append(env, "PYTHONPATH="+strings.Join(i.Site, ":"))
	}
	return append(append(argv, "-c", start, code), args...), env
}
