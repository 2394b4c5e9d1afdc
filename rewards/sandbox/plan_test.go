//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/grouse-rl/grouse"
)

func testLaunch() launch {
	spec := Spec{Args: []string{"/usr/bin/python3", "-c", "x"}, File: "main.py"}
	if err := spec.validate(); err != nil {
		panic(err)
	}
	return launch{spec: spec, mounts: []mountPoint{{path: "/lib", link: "/usr/lib"}, {path: "/usr", dir: true}, {path: "/etc/ld.so.cache"}}, root: true, become: true, uid: nobody, gid: nobody}
}

// TestPlanOrder: what isolates comes before the program, and nothing after it.
func TestPlanOrder(t *testing.T) {
	for _, root := range []bool{true, false} {
		l := testLaunch()
		l.root, l.become = root, root
		text := plan(l).describe()
		at := -1
		for _, step := range []string{"close inherited descriptors", "make a user namespace", "make mount, network", "start init", "wait for the end", "kill init", "reap init",
			"die with the supervisor", "drop capabilities", "give up new privileges", "start the program", "reap the program", "limit processes", "close on exec", "filter system calls", "execute /usr/bin/python3"} {
			next := strings.Index(text, step)
			if next <= at {
				t.Errorf("root %v: %q is not after the step before it", root, step)
			}
			at = next
		}
		if !strings.HasSuffix(text, "execute /usr/bin/python3\n") {
			t.Errorf("root %v: something follows the program", root)
		}
		for _, step := range []string{"keep mounts to ourselves", "change the root", "leave the old root", "make the root read-only", "mount /tmp", "copy main.py"} {
			if i := strings.Index(text, step); i < 0 || i > strings.Index(text, "start init") {
				t.Errorf("root %v: %q comes too late, or not at all", root, step)
			}
		}
	}
}

func TestImage(t *testing.T) {
	p := plan(testLaunch())
	f, err := elf.NewFile(bytes.NewReader(p.image()))
	if err != nil {
		t.Fatal(err)
	}
	if f.Entry != textAddress || len(f.Progs) != 3 {
		t.Fatalf("entry %#x, %d segments", f.Entry, len(f.Progs))
	}
	for _, s := range f.Progs {
		if s.Flags&elf.PF_W != 0 && s.Flags&elf.PF_X != 0 {
			t.Errorf("segment at %#x can be written and executed", s.Vaddr)
		}
		if s.Off%pageSize != s.Vaddr%pageSize {
			t.Errorf("segment at %#x is at %#x in the file", s.Vaddr, s.Off)
		}
	}
	if n := len(launcherText()); n < 50 || n > 400 {
		t.Errorf("the launcher has %d bytes", n)
	}
	what, errno := p.failure(opsAddress+opSize*2, ^uint64(unix.EPERM)+1)
	if what != p.ops[2].what || errno != uintptr(unix.EPERM) {
		t.Errorf("call 2 is %q, errno %d; want %q", what, errno, p.ops[2].what)
	}
}

// TestLauncher: calls in order, results that become arguments, a child that goes
// another way, a failure that may be and one that may not.
func TestLauncher(t *testing.T) {
	var p program
	p.call("close", unix.SYS_CLOSE, 77).mayFail = true
	p.call("copy", unix.SYS_DUP, 1)
	p.ops[1].result = p.argument(0)
	p.call("write", unix.SYS_WRITE, 0, p.text("hello\n"), 6)
	p.call("fork", unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0)
	p.call("wait", unix.SYS_WAIT4, anyChild, 0, 0, 0)
	p.call("fail", unix.SYS_CHDIR, p.text("/no/such/folder"))
	p.call("not reached", unix.SYS_WRITE, 1, p.text("no"), 2)
	p.ops[3].child = len(p.ops) + 1
	p.call("write in the child", unix.SYS_WRITE, 1, p.text("child\n"), 6)
	p.call("exit", unix.SYS_EXIT_GROUP, 0)
	file := filepath.Join(t.TempDir(), "launcher")
	if err := os.WriteFile(file, p.image(), 0o755); err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file)
	cmd.ExtraFiles = []*os.File{write}
	out, err := cmd.Output()
	write.Close()
	report, _ := io.ReadAll(read)
	if string(out) != "hello\nchild\n" || cmd.ProcessState.ExitCode() != 125 {
		t.Errorf("%q, %v", out, err)
	}
	if len(report) != 24 {
		t.Fatalf("report of %d bytes", len(report))
	}
	if what, errno := p.failure(binary.LittleEndian.Uint64(report[8:]), binary.LittleEndian.Uint64(report[16:])); what != "fail" || unix.Errno(errno) != unix.ENOENT {
		t.Errorf("%q failed with %v", what, unix.Errno(errno))
	}
}

// runFilter executes a filter as the kernel does.
func runFilter(f []unix.SockFilter, arch, number uint32, args [6]uint64) uint32 {
	load := func(k uint32) uint32 {
		switch {
		case k == dataNumber:
			return number
		case k == dataArch:
			return arch
		}
		return uint32(args[(k-dataArgs)/8])
	}
	var a uint32
	for pc := 0; ; pc++ {
		i := f[pc]
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = load(i.K)
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			yes := a == i.K
			if i.Code&unix.BPF_JSET != 0 && i.Code&0xf0 == unix.BPF_JSET {
				yes = a&i.K != 0
			}
			if yes {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
	}
}

func TestFilter(t *testing.T) {
	f := filter()
	if len(f) > 4096 {
		t.Fatalf("%d instructions", len(f))
	}
	for _, c := range []struct {
		name   string
		number uintptr
		arg0   uint64
		arg1   uint64
		want   uint32
	}{
		{"read", unix.SYS_READ, 0, 0, answerAllow},
		{"execve", unix.SYS_EXECVE, 0, 0, answerAllow},
		{"clone of a thread", unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_THREAD, 0, answerAllow},
		{"clone of a user namespace", unix.SYS_CLONE, unix.CLONE_NEWUSER, 0, answerNo},
		{"clone of a time namespace", unix.SYS_CLONE, unix.CLONE_NEWTIME, 0, answerNo},
		{"clone3", unix.SYS_CLONE3, 0, 0, answerNone},
		{"ioctl TCGETS", unix.SYS_IOCTL, 0, unix.TCGETS, answerAllow},
		{"ioctl TIOCSTI", unix.SYS_IOCTL, 0, unix.TIOCSTI, answerNo},
		{"prctl of a name", unix.SYS_PRCTL, unix.PR_SET_NAME, 0, answerAllow},
		{"prctl of dumpable", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, answerNo},
		{"x32 getpid", 0x40000000 + 39, 0, 0, answerNone},
	} {
		if got := runFilter(f, auditArch, uint32(c.number), [6]uint64{c.arg0, c.arg1}); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	for name, number := range map[string]uintptr{"mount": unix.SYS_MOUNT, "unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "ptrace": unix.SYS_PTRACE, "bpf": unix.SYS_BPF, "io_uring_setup": unix.SYS_IO_URING_SETUP,
		"socket": unix.SYS_SOCKET, "connect": unix.SYS_CONNECT, "memfd_create": unix.SYS_MEMFD_CREATE, "keyctl": unix.SYS_KEYCTL, "process_vm_readv": unix.SYS_PROCESS_VM_READV, "pidfd_getfd": unix.SYS_PIDFD_GETFD,
		"userfaultfd": unix.SYS_USERFAULTFD, "perf_event_open": unix.SYS_PERF_EVENT_OPEN, "open_tree": unix.SYS_OPEN_TREE, "chroot": unix.SYS_CHROOT, "setuid": unix.SYS_SETUID, "seccomp": unix.SYS_SECCOMP, "execveat": unix.SYS_EXECVEAT} {
		if got := runFilter(f, auditArch, uint32(number), [6]uint64{}); got != answerNone {
			t.Errorf("%s: %#x, want %#x", name, got, answerNone)
		}
	}
	if got := runFilter(f, auditArch+1, uint32(unix.SYS_READ), [6]uint64{}); got != answerKill {
		t.Errorf("another architecture: %#x", got)
	}
}

func TestMountPoints(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"real/lib", "real/deep/er"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "real/deep/file"), nil, 0o644)
	os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "link"))
	got, err := mountPoints([]string{filepath.Join(dir, "link/deep"), filepath.Join(dir, "real/deep/er"), filepath.Join(dir, "real/deep/file"), filepath.Join(dir, "link")})
	if err != nil {
		t.Fatal(err)
	}
	want := []mountPoint{{path: filepath.Join(dir, "link"), link: filepath.Join(dir, "real")}, {path: filepath.Join(dir, "real"), dir: true}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := mountPoints([]string{filepath.Join(dir, "absent")}); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("a path that is not there: %v", err)
	}
}

// TestExplain: what is missing is named, with what mends it.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		what  string
		errno unix.Errno
		fix   string
	}{
		{"make a user namespace", unix.ENOSPC, "user.max_user_namespaces"},
		{"make a user namespace", unix.EPERM, "user namespaces are forbidden"},
		{"close inherited descriptors", unix.ENOSYS, "Linux 5.14"},
		{"mount /root/python", unix.EACCES, "cannot reach /root/python"},
		{"execute /usr/bin/python3", unix.ENOENT, "read_only"},
	} {
		err := explain(c.what, c.errno)
		if !errors.Is(err, c.errno) || grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(grouse.FixOf(err), c.fix) {
			t.Errorf("%s, %v: %v → %s", c.what, c.errno, err, grouse.FixOf(err))
		}
	}
}

func TestCgroupParents(t *testing.T) {
	mounts := "30 25 0:26 / /cg/memory rw - cgroup cgroup rw,memory\n31 25 0:27 / /cg/pids rw - cgroup cgroup rw,pids\n"
	got := cgroupParents("4:memory:/a/b\n8:pids:/\n0::/\n", mounts)
	if len(got) != 2 || got[0].v2 || got[0].parents[0] != "/cg/memory/a/b" || got[0].parents[1] != "/cg/pids" || got[1].parents[0] != "/cg/memory" {
		t.Errorf("%+v", got)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/user/app", 0o755); err != nil {
		t.Fatal(err)
	}
	// A plain file takes what is written to it: here it says what is on already.
	os.WriteFile(dir+"/user/cgroup.subtree_control", nil, 0o644)
	got = cgroupParents("0::/user/app\n", "30 25 0:26 / "+dir+" rw - cgroup2 cgroup2 rw\n")
	if len(got) != 0 { // "+memory" is not "memory": it was asked for and not given
		t.Errorf("%+v", got)
	}
	os.WriteFile(dir+"/user/cgroup.subtree_control", []byte("cpu memory pids\n"), 0o444)
}

func TestSpec(t *testing.T) {
	for name, s := range map[string]Spec{
		"no program": {}, "relative": {Args: []string{"sh"}}, "a path as file": {Args: []string{"/bin/sh"}, File: "a/b"}, "root": {Args: []string{"/bin/sh"}, ReadOnly: []string{"/"}},
		"proc": {Args: []string{"/bin/sh"}, ReadOnly: []string{"/proc/self"}}, "no time": {Args: []string{"/bin/sh"}, Limits: Limits{Time: -1}},
	} {
		if err := s.validate(); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New("docker", Spec{Args: []string{"/bin/sh"}}); !strings.Contains(grouse.FixOf(err), "native, bwrap") {
		t.Errorf("unknown kind: %v", err)
	}
}
