//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/grouse-rl/grouse"
)

// Native is our own launcher on Linux namespaces. It is safe for concurrent use.
type Native struct {
	spec   Spec
	launch *program
	image  *os.File // the launch as an executable in memory
	groups *cgroups // nil: this machine lets us have none
}

// NewNative prepares a sandbox and proves, with a program of its own, that this
// machine isolates it: an error says which setting or package is missing.
func NewNative(spec Spec) (*Native, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	return newNative(spec, newCgroups(spec.Limits))
}

// newNative is NewNative with control groups, or nil.
func newNative(spec Spec, groups *cgroups) (*Native, error) {
	mounts, err := mountPoints(spec.ReadOnly)
	if err != nil {
		groups.close()
		return nil, err
	}
	n := &Native{spec: spec, groups: groups}
	l := launch{spec: spec, mounts: mounts, uid: os.Geteuid(), gid: os.Getegid()}
	if os.Geteuid() == 0 && isMapped(nobody) {
		l.become, l.root, l.uid, l.gid = true, mayMount(), nobody, nobody
	} else if err := countsProcesses(groups); err != nil {
		return nil, err
	}
	for _, l.probe = range []bool{true, false} {
		n.launch = plan(l)
		if n.image, err = memoryFile("grouse-sandbox", n.launch.image()); err != nil {
			n.groups.close()
			return nil, err
		}
		if !l.probe {
			break
		}
		r, err := Run(context.Background(), n, trialFile(spec), nil)
		n.image.Close()
		if err == nil && !r.OK() {
			err = grouse.Errorf(grouse.Unavailable, "no sandbox: its trial ended with %s %d", r.End, r.Code)
		}
		if err != nil {
			n.groups.close()
			return nil, err
		}
	}
	return n, nil
}

// nobody is who a sandbox of root's belongs to outside: root's own id would pass
// the kernel's checks of files that only root may write.
const nobody = 65534

// isMapped reports whether an id exists in our user namespace: in a container made
// by an ordinary user there may be just one.
func isMapped(id int) bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		var inside, outside, count int64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && int64(id) >= inside && int64(id) < inside+count {
			return true
		}
	}
	return false
}

// countsProcesses refuses where nothing would bound the number of a program's
// processes: the kernel does not apply that limit to its own root.
func countsProcesses(groups *cgroups) error {
	if groups == nil && os.Geteuid() == 0 {
		return grouse.Errorf(grouse.Unavailable, "no sandbox: root's processes are not limited without a control group").
			WithFix("run grouse as an ordinary user, or let it make control groups with the controllers memory and pids (mount /sys/fs/cgroup writable)")
	}
	return nil
}

// mayMount reports whether this process has CAP_SYS_ADMIN.
func mayMount() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// memoryFile returns an anonymous file with the bytes.
func memoryFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC is newer than what we need
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "make an anonymous file: %w", err).WithFix("the sandbox needs Linux 5.14 and the sysctl vm.memfd_noexec below 2")
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, fmt.Errorf("write an anonymous file: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("rewind an anonymous file: %w", err)
	}
	return f, nil
}

// Level says in words how programs are isolated.
func (n *Native) Level() string { return "namespaces, seccomp, " + n.groups.level() }

// Limits returns the limits in force.
func (n *Native) Limits() Limits { return n.spec.Limits }

// Close frees what the sandbox holds. Running programs are ended by their contexts.
func (n *Native) Close() error {
	n.groups.close()
	return n.image.Close()
}

// Start starts a program with a file, if the spec names one.
func (n *Native) Start(ctx context.Context, file []byte) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if (n.spec.File == "") != (file == nil) || len(file) > MaxFile {
		return nil, grouse.Errorf(grouse.Invalid, "a file of %d bytes for a sandbox whose file is %q", len(file), n.spec.File).WithFix("files are at most %d bytes", MaxFile)
	}
	run := &nativeRun{native: n, stderr: &tail{}}
	p, err := run.start(ctx, file)
	if err != nil {
		run.release()
		return nil, err
	}
	return p, nil
}

// nativeRun is one program from its start to its result.
type nativeRun struct {
	native *Native
	cmd    *exec.Cmd
	group  *cgroup  // nil: none
	status *os.File // reports of the launch
	cancel *os.File // closed: the tree dies
	once   sync.Once
	stderr *tail
	why    End // set before cancel is closed, if it is not the supervisor's decision
	mu     sync.Mutex
}

func (r *nativeRun) start(ctx context.Context, file []byte) (*Process, error) {
	n := r.native
	var ours, theirs []*os.File // closed when the child has started
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	pipe := func() (read, write *os.File, err error) {
		read, write, err = os.Pipe()
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
			return nil, nil, grouse.Errorf(grouse.Unavailable, "start a sandbox: %w", err).WithFix("raise the limit of open files (ulimit -n)")
		}
		return read, write, nil
	}
	stdin, in, err := pipe()
	if err != nil {
		return nil, err
	}
	ours, theirs = append(ours, in), append(theirs, stdin)
	out, stdout, err := pipe()
	if err != nil {
		return nil, err
	}
	ours, theirs = append(ours, out), append(theirs, stdout)
	said, stderr, err := pipe()
	if err != nil {
		return nil, err
	}
	ours, theirs = append(ours, said), append(theirs, stderr)
	status, report, err := pipe()
	if err != nil {
		return nil, err
	}
	ours, theirs = append(ours, status), append(theirs, report)
	watched, cancel, err := pipe()
	if err != nil {
		return nil, err
	}
	ours, theirs = append(ours, cancel), append(theirs, watched)
	fail := func(err error) (*Process, error) {
		for _, f := range ours {
			f.Close()
		}
		return nil, err
	}
	extra := []*os.File{report, watched}
	if n.groups != nil {
		if r.group, err = n.groups.take(); err != nil {
			return fail(err)
		}
	}
	if n.spec.File != "" {
		f, err := memoryFile("program", file)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, f)
		extra = append(extra, f)
	}
	r.status, r.cancel = status, cancel
	r.cmd = &exec.Cmd{
		Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.image.Fd()), Args: []string{"grouse-sandbox"}, Env: []string{}, Dir: "/",
		Stdin: stdin, Stdout: stdout, Stderr: stderr, ExtraFiles: extra, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := r.group.start(r.cmd); err != nil {
		return fail(grouse.Errorf(grouse.Unavailable, "start a sandbox: %w", err))
	}
	stopWatching := context.AfterFunc(ctx, func() { r.kill(Cancelled) })
	drained := make(chan struct{})
	go func() { // stderr never blocks a program
		io.Copy(r.stderr, said)
		said.Close()
		close(drained)
	}()
	var stopCounting func()
	if n.groups == nil || !n.groups.memory {
		stopCounting = watchMemory(r.cmd.Process.Pid, n.spec.Limits.Memory, func() { r.kill(OutOfMemory) })
	}
	return &Process{Stdin: in, Stdout: out, Kill: r.kill, wait: func() (Result, error) {
		reports, err := io.ReadAll(r.status)
		waitErr := r.cmd.Wait()
		if stopCounting != nil {
			stopCounting()
		}
		stopWatching()
		r.kill("")
		status.Close()
		<-drained
		defer r.release()
		if err != nil {
			return Result{}, fmt.Errorf("read a sandbox's report: %w", err)
		}
		result, err := r.result(reports, waitErr)
		if err == nil && result.End == Cancelled && ctx.Err() != nil {
			return result, ctx.Err()
		}
		return result, err
	}}, nil
}

// kill ends the tree, for a reason.
func (r *nativeRun) kill(why End) {
	r.once.Do(func() {
		r.mu.Lock()
		r.why = why
		r.mu.Unlock()
		r.cancel.Close()
	})
}

// release gives the cgroup back.
func (r *nativeRun) release() {
	if r.group != nil {
		r.native.groups.put(r.group)
		r.group = nil
	}
}

// result makes a Result of the reports of supervisor and init.
func (r *nativeRun) result(reports []byte, waitErr error) (Result, error) {
	out := Result{Stderr: r.stderr.bytes()}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(reports[8*i:]) }
	var program *syscall.WaitStatus
	var supervised, timedOut bool
	for len(reports) >= 24 {
		switch word(0) {
		case 0:
			what, errno := r.native.launch.failure(word(1), word(2))
			return out, explain(what, unix.Errno(errno))
		case programEnded:
			if len(reports) < 160 {
				return out, grouse.Errorf(grouse.Internal, "a sandbox's report is cut off")
			}
			ws := syscall.WaitStatus(word(1))
			program = &ws
			out.CPU = time.Duration(word(2))*time.Second + time.Duration(word(3))*time.Microsecond + time.Duration(word(4))*time.Second + time.Duration(word(5))*time.Microsecond
			out.Memory = int64(word(6)) << 10
			reports = reports[160:]
			continue
		case treeEnded:
			supervised, timedOut = true, word(1) == 0
		}
		reports = reports[24:]
	}
	r.mu.Lock()
	why := r.why
	r.mu.Unlock()
	events := cgroupEvents{}
	if r.group != nil {
		events = r.group.events()
	}
	switch {
	case why != "":
		out.End = why
	case !supervised:
		return out, grouse.Errorf(grouse.Unavailable, "a sandbox ended without a report (%v)", waitErr).WithFix("something outside killed it: look for the machine's out-of-memory killer")
	case events.oom:
		out.End = OutOfMemory
	case timedOut && program == nil:
		out.End = TimedOut
	case program == nil:
		return out, grouse.Errorf(grouse.Unavailable, "a sandbox's init ended without a report (%v)", waitErr)
	default:
		if out.End = Exited; program.Signaled() {
			out.End, out.Code = Signaled, int(program.Signal())
		} else {
			out.Code = program.ExitStatus()
		}
		if out.End == Signaled || out.Code != 0 {
			switch {
			case saysNoMemory(out.Stderr):
				out.End, out.Code = OutOfMemory, 0
			case events.processes || saysNoProcess(out.Stderr):
				out.End, out.Code = TooManyTasks, 0
			}
		}
	}
	return out, nil
}

var _ Sandbox = (*Native)(nil)

// trialFile is an empty file, for a spec that wants one.
func trialFile(spec Spec) []byte {
	if spec.File == "" {
		return nil
	}
	return []byte{}
}
