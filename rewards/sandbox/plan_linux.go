//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Descriptors that a launch starts with, beside 0, 1 and 2.
const (
	statusFD = 3 // reports are written to it
	cancelFD = 4 // its other end closes: the tree must die
	fileFD   = 5 // the file that is copied in, if there is one
)

// Kinds of a report, its first word. A failed call's is 0.
const (
	programEnded = 1 // from the sandbox's init: wait status, then rusage
	treeEnded    = 2 // from the supervisor: poll's result, init's wait status
)

// launch is what a plan depends on.
type launch struct {
	spec     Spec
	mounts   []mountPoint
	root     bool // we are root and may mount: the root is made before the user namespace, so that every path is in reach
	become   bool // become uid and gid first: we are root, the program's user is not
	uid, gid int  // who the program's user is outside
	probe    bool // the program is nothing: everything before it is tried
}

// plan returns the system calls of a launch. Three processes come of it:
//
//	supervisor  makes the namespaces and the root, then waits for the program's end,
//	            the deadline or the caller's death, kills init, reaps it, reports
//	init        process 1 of the pid namespace: without capabilities; waits for the
//	            program, reports how it ended, and with its own end ends the tree
//	program     gets its limits and the filter, then executes
func plan(l launch) *program {
	p := &program{}
	l.enter(p)
	if l.root {
		p.call("make a mount namespace", unix.SYS_UNSHARE, unix.CLONE_NEWNS)
		l.newRoot(p)
		l.newNamespaces(p)
	} else {
		l.newNamespaces(p)
		l.newRoot(p)
	}
	l.file(p)
	pollfds := make([]byte, 16)
	binary.LittleEndian.PutUint16(pollfds[4:], unix.POLLIN)
	binary.LittleEndian.PutUint32(pollfds[8:], cancelFD)
	binary.LittleEndian.PutUint16(pollfds[12:], unix.POLLIN)
	poll := p.bytes(pollfds)
	report := p.words(treeEnded, 0, 0)
	p.call("start init", unix.SYS_CLONE, unix.CLONE_PIDFD|uintptr(unix.SIGCHLD), 0, poll)
	startInit := len(p.ops) - 1

	// The supervisor. The clone writes init's pidfd into the first pollfd.
	for fd := range uintptr(3) {
		p.call("close", unix.SYS_CLOSE, fd)
	}
	timeout := p.words(uint64(l.spec.Limits.Time/1e9), uint64(l.spec.Limits.Time%1e9))
	p.call("wait for the end", unix.SYS_PPOLL, poll, 2, timeout, 0).result = report + 8
	p.ops[startInit].result = p.argument(0)
	p.call("kill init", unix.SYS_KILL, 0, uintptr(unix.SIGKILL)).mayFail = true // it is not reaped yet: the pid is still its own
	p.call("reap init", unix.SYS_WAIT4, anyChild, report+16, 0, 0)
	p.call("report", unix.SYS_WRITE, statusFD, report, 24)
	p.call("exit", unix.SYS_EXIT_GROUP, 0)

	// Init.
	p.ops[startInit].child = len(p.ops) + 1
	p.call("die with the supervisor", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL))
	p.call("close", unix.SYS_CLOSE, cancelFD)
	p.call("close the process to others", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	p.call("drop capabilities", unix.SYS_CAPSET, p.words(unix.LINUX_CAPABILITY_VERSION_3), p.words(0, 0, 0))
	p.call("give up new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	ended := p.words(append([]uint64{programEnded}, make([]uint64, 19)...)...)
	p.call("start the program", unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0)
	startProgram := len(p.ops) - 1
	for fd := range uintptr(3) {
		p.call("close", unix.SYS_CLOSE, fd)
	}
	p.ops[startProgram].result = p.argument(0)
	p.call("reap the program", unix.SYS_WAIT4, 0, ended+8, 0, ended+16)
	p.call("report", unix.SYS_WRITE, statusFD, ended, 160)
	p.call("exit", unix.SYS_EXIT_GROUP, 0)
	p.ops[startProgram].child = len(p.ops) + 1

	// The program.
	l.program(p)
	return p
}

// enter closes what is not the sandbox's.
func (l launch) enter(p *program) {
	first := uintptr(fileFD)
	if l.spec.File != "" {
		first++
	}
	p.call("close inherited descriptors", unix.SYS_CLOSE_RANGE, first, math.MaxUint32, 0)
	p.call("open /proc/self", unix.SYS_OPENAT, atCWD, p.text("/proc/self"), unix.O_PATH|unix.O_DIRECTORY)
	p.ops[len(p.ops)-1].result = p.argument(0)
	p.call("keep /proc/self", unix.SYS_DUP3, 0, procFD, unix.O_CLOEXEC)
}

// procFD is a folder of /proc that is opened before anything hides it: above
// whatever a launch is given.
const procFD = 64

// newNamespaces leaves the machine: another user, and namespaces that belong to it.
func (l launch) newNamespaces(p *program) {
	if l.become {
		p.call("leave all groups", unix.SYS_SETGROUPS, 0, 0)
		p.call("become another group", unix.SYS_SETRESGID, uintptr(l.gid), uintptr(l.gid), uintptr(l.gid))
		p.call("become another user", unix.SYS_SETRESUID, uintptr(l.uid), uintptr(l.uid), uintptr(l.uid))
		p.call("open the process to itself", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1)
	}
	p.call("make a user namespace", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	p.call("make mount, network, IPC, UTS, cgroup and pid namespaces", unix.SYS_UNSHARE,
		unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWCGROUP|unix.CLONE_NEWPID)
	l.write(p, "setgroups", "deny")
	l.write(p, "uid_map", strconv.Itoa(insideID)+" "+strconv.Itoa(l.uid)+" 1")
	l.write(p, "gid_map", strconv.Itoa(insideID)+" "+strconv.Itoa(l.gid)+" 1")
	p.call("close", unix.SYS_CLOSE, procFD)
	const name = "sandbox"
	p.call("set the host name", unix.SYS_SETHOSTNAME, p.text(name), uintptr(len(name)))
}

// write writes a file of /proc/self.
func (l launch) write(p *program, name, text string) {
	p.call("open /proc/self/"+name, unix.SYS_OPENAT, procFD, p.text(name), unix.O_WRONLY|unix.O_CLOEXEC)
	opened := len(p.ops) - 1
	p.ops[opened].result = p.argument(0)
	p.call("write /proc/self/"+name, unix.SYS_WRITE, 0, p.text(text), uintptr(len(text)))
}

const (
	atCWD    = uintptr(math.MaxUint - 99) // AT_FDCWD
	anyChild = uintptr(math.MaxUint)      // -1
)

// stage is where the new root is put together: a directory that exists wherever
// this works, and that no interpreter lives under.
const (
	stage   = "/proc"
	oldRoot = "/.old"
)

// newRoot builds the file system: a tmpfs with what spec needs of the machine,
// read-only, a few devices, and a writable /tmp.
func (l launch) newRoot(p *program) {
	none := p.text("none")
	mount := func(what, source, target, kind string, flags uintptr, data string) {
		p.call(what, unix.SYS_MOUNT, p.text(source), p.text(target), p.text(kind), flags, p.text(data))
	}
	p.call("keep mounts to ourselves", unix.SYS_MOUNT, none, p.text("/"), 0, unix.MS_REC|unix.MS_PRIVATE, 0)
	mount("mount a new root", "root", stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m,nr_inodes=1024")
	p.call("enter the new root", unix.SYS_CHDIR, p.text(stage))
	p.call("make the old root's place", unix.SYS_MKDIRAT, atCWD, p.text("."+oldRoot), 0o700)
	p.call("change the root", unix.SYS_PIVOT_ROOT, p.text("."), p.text("."+oldRoot))
	p.call("enter the new root", unix.SYS_CHDIR, p.text("/"))
	made := map[string]bool{"/": true}
	var mkdir func(path string)
	mkdir = func(path string) {
		if made[path] {
			return
		}
		mkdir(filepath.Dir(path))
		made[path] = true
		p.call("make "+path, unix.SYS_MKDIRAT, atCWD, p.text(path), 0o755)
	}
	for _, m := range l.mounts {
		mkdir(filepath.Dir(m.path))
		switch {
		case m.link != "":
			p.call("link "+m.path, unix.SYS_SYMLINKAT, p.text(m.link), atCWD, p.text(m.path))
			continue
		case m.dir:
			mkdir(m.path)
		default:
			p.call("make "+m.path, unix.SYS_MKNODAT, atCWD, p.text(m.path), unix.S_IFREG|0o444, 0)
		}
		mount("mount "+m.path, oldRoot+m.path, m.path, "", unix.MS_BIND|unix.MS_REC, "")
	}
	mkdir("/dev")
	mkdir("/tmp")
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		p.call("make /dev/"+name, unix.SYS_MKNODAT, atCWD, p.text("/dev/"+name), unix.S_IFREG|0o444, 0)
		mount("mount /dev/"+name, oldRoot+"/dev/"+name, "/dev/"+name, "", unix.MS_BIND, "")
	}
	p.call("link /dev/shm", unix.SYS_SYMLINKAT, p.text("/tmp"), atCWD, p.text("/dev/shm"))
	p.call("leave the old root", unix.SYS_UMOUNT2, p.text(oldRoot), unix.MNT_DETACH)
	p.call("remove the old root's place", unix.SYS_UNLINKAT, atCWD, p.text(oldRoot), unix.AT_REMOVEDIR)
	readOnly := p.words(unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID, 0, 0, 0)
	p.call("make the root read-only", unix.SYS_MOUNT_SETATTR, atCWD, p.text("/"), unix.AT_RECURSIVE, readOnly, 32)
	options := "mode=0700,size=" + strconv.FormatInt(l.spec.Limits.Disk, 10) + ",nr_inodes=" + strconv.Itoa(l.spec.Limits.Files)
	if l.root {
		options += ",uid=" + strconv.Itoa(l.uid) + ",gid=" + strconv.Itoa(l.gid)
	}
	mount("mount /tmp", "tmp", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
}

// file copies the program's file.
func (l launch) file(p *program) {
	p.call("enter /tmp", unix.SYS_CHDIR, p.text("/tmp"))
	if l.spec.File == "" {
		return
	}
	p.call("make "+l.spec.File, unix.SYS_OPENAT, atCWD, p.text(l.spec.File), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	p.ops[len(p.ops)-1].result = p.argument(0)
	p.call("copy "+l.spec.File, unix.SYS_SENDFILE, 0, fileFD, 0, MaxFile)
	p.call("close", unix.SYS_CLOSE, fileFD)
}

// program limits the program, filters its system calls and becomes it.
func (l launch) program(p *program) {
	lim := l.spec.Limits
	p.call("reset the file mode mask", unix.SYS_UMASK, 0o077)
	set := func(what string, resource int, value uint64) {
		p.call("limit "+what, unix.SYS_PRLIMIT64, 0, uintptr(resource), p.words(value, value), 0)
	}
	set("core dumps", unix.RLIMIT_CORE, 0)
	set("file sizes", unix.RLIMIT_FSIZE, uint64(lim.Disk))
	set("open files", unix.RLIMIT_NOFILE, uint64(lim.OpenFiles))
	set("locked memory", unix.RLIMIT_MEMLOCK, 0)
	set("message queues", unix.RLIMIT_MSGQUEUE, 0)
	set("pending signals", unix.RLIMIT_SIGPENDING, 256)
	set("processes", unix.RLIMIT_NPROC, uint64(lim.Processes+inits))
	if lim.AddressSpace > 0 {
		set("address space", unix.RLIMIT_AS, uint64(lim.AddressSpace))
	}
	p.call("close on exec", unix.SYS_CLOSE_RANGE, statusFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	filter, length := filterBytes()
	p.call("filter system calls", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, p.words(uint64(length), uint64(p.bytes(filter))))
	if l.probe {
		p.call("exit", unix.SYS_EXIT_GROUP, 0)
		return
	}
	p.call("execute "+l.spec.Args[0], unix.SYS_EXECVE, p.text(l.spec.Args[0]), p.strings(l.spec.Args), p.strings(l.spec.Env))
}

// describe lists a plan, a call a line, for tests and people.
func (p *program) describe() string {
	var b strings.Builder
	for _, o := range p.ops {
		b.WriteString(o.what)
		b.WriteByte('\n')
	}
	return b.String()
}
