package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/grouse-rl/grouse"
)

// External is a sandbox that another program makes: bubblewrap, nsjail or gVisor's
// runsc. It gives them the same view of the machine as our own launcher does; what
// each of them cannot limit is in Level. It is safe for concurrent use.
type External struct {
	kind   string
	spec   Spec
	mounts []mountPoint
	tool   string   // its path
	prlim  string   // util-linux's prlimit, for what bubblewrap does not limit
	groups *cgroups // nil: this machine lets us have none
	dir    string   // of files that programs bring, and of gVisor's bundles
	count  atomic.Int64
}

// tools are the programs, and the packages that have them.
var tools = map[string]struct{ program, install string }{
	KindBwrap:  {"bwrap", "apt install bubblewrap"},
	KindNsjail: {"nsjail", "build it from github.com/google/nsjail"},
	KindGvisor: {"runsc", "see gvisor.dev/docs/user_guide/install"},
}

// newExternal finds the tool, and proves that it works.
func newExternal(kind string, spec Spec) (*External, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	mounts, err := mountPoints(spec.ReadOnly)
	if err != nil {
		return nil, err
	}
	e := &External{kind: kind, spec: spec, mounts: mounts}
	if e.tool, err = exec.LookPath(tools[kind].program); err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "sandbox %s: %w", kind, err).WithFix("%s, or set sandbox: native", tools[kind].install)
	}
	if kind == KindBwrap {
		if e.prlim, err = exec.LookPath("prlimit"); err != nil {
			return nil, grouse.Errorf(grouse.NotFound, "sandbox %s: %w", kind, err).WithFix("apt install util-linux")
		}
	}
	e.groups = newCgroups(spec.Limits)
	if err := countsProcesses(e.groups); err != nil {
		return nil, err
	}
	if e.groups == nil && kind == KindGvisor {
		return nil, grouse.Errorf(grouse.Unavailable, "no sandbox: gVisor does not limit processes without a control group").
			WithFix("let grouse make control groups with the controllers memory and pids, or set sandbox: native")
	}
	if e.dir, err = os.MkdirTemp("", "grouse-sandbox-"); err != nil {
		e.groups.close()
		return nil, fmt.Errorf("sandbox %s: %w", kind, err)
	}
	if err := e.try(); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// try runs a program that ends at once: the real one, without input.
func (e *External) try() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var file []byte
	if e.spec.File != "" {
		file = []byte{}
	}
	r, err := Run(ctx, e, file, nil)
	if err == nil && e.toolFailed(r) {
		err = fmt.Errorf("%s ended with %s %d: %s", filepath.Base(e.tool), r.End, r.Code, r.Stderr)
	}
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "no sandbox: %w", err).WithFix("make `%s` work on this machine, or set sandbox: native", filepath.Base(e.tool))
	}
	return nil
}

// toolFailed reports whether it was not the program that failed but the tool.
func (e *External) toolFailed(r Result) bool {
	if r.End != Exited || r.Code == 0 {
		return false
	}
	first, _, _ := cutLine(r.Stderr)
	switch e.kind {
	case KindBwrap:
		return hasPrefix(first, "bwrap: ") || hasPrefix(first, "prlimit: ")
	case KindNsjail:
		return r.Code == 255
	}
	return r.Code == 128 || hasPrefix(first, "running container") || hasPrefix(first, "creating container") || hasPrefix(first, "error ")
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

func cutLine(b []byte) (line, rest []byte, ok bool) {
	for i, c := range b {
		if c == '\n' {
			return b[:i], b[i+1:], true
		}
	}
	return b, nil, false
}

// Level says in words how programs are isolated.
func (e *External) Level() string {
	level := map[string]string{KindBwrap: "bubblewrap (no filter of system calls), ", KindNsjail: "nsjail, ", KindGvisor: "gVisor, "}[e.kind]
	return level + e.groups.level()
}

// Limits returns the limits in force.
func (e *External) Limits() Limits { return e.spec.Limits }

// Close removes its files.
func (e *External) Close() error {
	e.groups.close()
	return os.RemoveAll(e.dir)
}

// Start starts a program.
func (e *External) Start(ctx context.Context, file []byte) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if (e.spec.File == "") != (file == nil) || len(file) > MaxFile {
		return nil, grouse.Errorf(grouse.Invalid, "a file of %d bytes for a sandbox whose file is %q", len(file), e.spec.File).WithFix("files are at most %d bytes", MaxFile)
	}
	work := filepath.Join(e.dir, strconv.FormatInt(e.count.Add(1), 10))
	var group *cgroup
	fail := func(err error) (*Process, error) {
		os.RemoveAll(work)
		if group != nil {
			e.groups.put(group)
		}
		return nil, grouse.Errorf(grouse.Unavailable, "start a sandbox: %w", err)
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return fail(err)
	}
	host := ""
	if file != nil {
		host = filepath.Join(work, e.spec.File)
		if err := os.WriteFile(host, file, 0o644); err != nil {
			return fail(err)
		}
	}
	args, err := e.args(work, host)
	if err != nil {
		return fail(err)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stderr := &tail{}
	cmd.Stderr = stderr
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return fail(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	cmd.Stdout = stdout
	if e.groups != nil {
		if group, err = e.groups.take(); err != nil {
			out.Close()
			stdout.Close()
			return fail(err)
		}
	}
	err = group.start(cmd)
	stdout.Close()
	if err != nil {
		out.Close()
		return fail(err)
	}
	var once sync.Once
	var mu sync.Mutex
	var why End
	kill := func(reason End) {
		once.Do(func() {
			mu.Lock()
			why = reason
			mu.Unlock()
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its tool dies, and with it, by the kernel, its namespaces
		})
	}
	timer := time.AfterFunc(e.spec.Limits.Time, func() { kill(TimedOut) })
	stop := context.AfterFunc(ctx, func() { kill(Cancelled) })
	unwatch := func() {}
	if group == nil {
		unwatch = watchMemory(cmd.Process.Pid, e.spec.Limits.Memory, func() { kill(OutOfMemory) })
	}
	return &Process{Stdin: in, Stdout: out, Kill: kill, wait: func() (Result, error) {
		err := cmd.Wait()
		timer.Stop()
		stop()
		unwatch()
		once.Do(func() {}) // whatever was not killed has ended by itself
		os.RemoveAll(work)
		var events cgroupEvents
		if group != nil {
			events = group.events()
			e.groups.put(group)
		}
		r := Result{Stderr: stderr.bytes(), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
		mu.Lock()
		defer mu.Unlock()
		if why != "" {
			r.End = why
			if why == Cancelled && ctx.Err() != nil {
				return r, ctx.Err()
			}
			return r, nil
		}
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) && !errors.Is(err, io.ErrClosedPipe) {
			return r, fmt.Errorf("wait for a sandbox: %w", err)
		}
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if r.End, r.Code = Exited, ws.ExitStatus(); ws.Signaled() {
			r.End, r.Code = Signaled, int(ws.Signal())
		} else if r.Code > 128 && r.Code <= 128+64 { // how each of them reports a signal
			r.End, r.Code = Signaled, r.Code-128
		}
		if events.oom || !r.OK() && saysNoMemory(r.Stderr) {
			r.End, r.Code = OutOfMemory, 0
		}
		return r, nil
	}}, nil
}

// args returns the tool's command line. work is a folder for this run; file the
// program's file on this machine, or "".
func (e *External) args(work, file string) ([]string, error) {
	l, s := e.spec.Limits, e.spec
	num := func(v int64) string { return strconv.FormatInt(v, 10) }
	switch e.kind {
	case KindBwrap:
		args := []string{e.prlim, "--core=0", "--fsize=" + num(l.Disk), "--nofile=" + num(int64(l.OpenFiles)), "--nproc=" + num(int64(l.Processes+inits))}
		if l.AddressSpace > 0 {
			args = append(args, "--as="+num(l.AddressSpace))
		}
		args = append(args, e.tool, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", strconv.Itoa(insideID), "--gid", strconv.Itoa(insideID), "--hostname", "sandbox", "--clearenv")
		for _, kv := range s.Env {
			k, v := cutEnv(kv)
			args = append(args, "--setenv", k, v)
		}
		for _, m := range e.mounts {
			if m.link != "" {
				args = append(args, "--symlink", m.link, m.path)
			} else {
				args = append(args, "--ro-bind", m.path, m.path)
			}
		}
		args = append(args, "--dev", "/dev", "--size", num(l.Disk), "--tmpfs", "/tmp")
		if file != "" {
			args = append(args, "--ro-bind", file, "/tmp/"+s.File)
		}
		return append(append(args, "--chdir", "/tmp", "--"), s.Args...), nil
	case KindNsjail:
		args := []string{e.tool, "-Mo", "--really_quiet", "--disable_proc", "--iface_no_lo", "--hostname", "sandbox", "--user", strconv.Itoa(insideID), "--group", strconv.Itoa(insideID), "--cwd", "/tmp",
			"--time_limit", num(int64(l.Time/time.Second) + 1), "--rlimit_core", "0", "--rlimit_fsize", num(max(l.Disk>>20, 1)), "--rlimit_nofile", num(int64(l.OpenFiles)), "--rlimit_nproc", num(int64(l.Processes + inits))}
		if l.AddressSpace > 0 {
			args = append(args, "--rlimit_as", num(max(l.AddressSpace>>20, 1)))
		} else {
			args = append(args, "--rlimit_as", "inf")
		}
		for _, kv := range s.Env {
			args = append(args, "--env", kv)
		}
		for _, m := range e.mounts {
			if m.link != "" {
				args = append(args, "--symlink", m.link+":"+m.path)
			} else {
				args = append(args, "--bindmount_ro", m.path)
			}
		}
		for _, d := range []string{"null", "zero", "full", "random", "urandom"} {
			args = append(args, "--bindmount", "/dev/"+d)
		}
		args = append(args, "--mount", "none:/tmp:tmpfs:size="+num(l.Disk))
		if file != "" {
			args = append(args, "--bindmount_ro", file+":/tmp/"+s.File)
		}
		return append(append(args, "--"), s.Args...), nil
	}
	bundle, err := e.bundle(work, file)
	if err != nil {
		return nil, err
	}
	return []string{e.tool, "--rootless", "--network=none", "--ignore-cgroups", "--root=" + filepath.Join(e.dir, "state"), "run", "--bundle", bundle, "grouse-" + filepath.Base(work) + "-" + strconv.Itoa(os.Getpid())}, nil
}

func cutEnv(kv string) (k, v string) {
	for i := range kv {
		if kv[i] == '=' {
			return kv[:i], kv[i+1:]
		}
	}
	return kv, ""
}

// bundle writes gVisor's OCI bundle: a root of links and mount points, and its
// configuration.
func (e *External) bundle(work, file string) (string, error) {
	type object = map[string]any
	root := filepath.Join(work, "root")
	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o755); err != nil {
		return "", err
	}
	mounts := []object{{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "nodev", "mode=1777", "size=" + strconv.FormatInt(e.spec.Limits.Disk, 10)}}}
	for _, m := range e.mounts {
		if m.link != "" {
			at := filepath.Join(root, m.path)
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				return "", err
			}
			if err := os.Symlink(m.link, at); err != nil {
				return "", err
			}
			continue
		}
		mounts = append(mounts, object{"destination": m.path, "type": "bind", "source": m.path, "options": []string{"ro", "rbind", "nosuid", "nodev"}})
	}
	if file != "" {
		mounts = append(mounts, object{"destination": "/tmp/" + e.spec.File, "type": "bind", "source": file, "options": []string{"ro", "bind"}})
	}
	l := e.spec.Limits
	limit := func(kind string, v int64) object { return object{"type": kind, "soft": v, "hard": v} }
	limits := []object{limit("RLIMIT_CORE", 0), limit("RLIMIT_FSIZE", l.Disk), limit("RLIMIT_NOFILE", int64(l.OpenFiles)), limit("RLIMIT_NPROC", int64(l.Processes))}
	if l.AddressSpace > 0 {
		limits = append(limits, limit("RLIMIT_AS", l.AddressSpace))
	}
	config := object{
		"ociVersion": "1.0.2", "hostname": "sandbox", "root": object{"path": "root", "readonly": true}, "mounts": mounts,
		"process": object{"terminal": false, "user": object{"uid": 0, "gid": 0}, "args": e.spec.Args, "env": e.spec.Env, "cwd": "/tmp", "noNewPrivileges": true, "rlimits": limits, "capabilities": object{}},
		"linux":   object{"namespaces": []object{{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}},
	}
	data, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	return work, os.WriteFile(filepath.Join(work, "config.json"), data, 0o644)
}

var _ Sandbox = (*External)(nil)
