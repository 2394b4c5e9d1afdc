//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// What the filter answers. A call that is not listed does not exist: runtimes then
// do without, as they do on an old kernel.
const (
	answerAllow = unix.SECCOMP_RET_ALLOW
	answerNone  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	answerNo    = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	answerKill  = unix.SECCOMP_RET_KILL_PROCESS
)

// Offsets in struct seccomp_data.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16 // 8 bytes each, low half first
)

// newNamespaces are the flags of clone that make namespaces.
const newNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// allowed are the calls of every architecture that a language's runtime needs and
// that reach nothing but the process, its files and its children. Left out with
// intent: everything about mounts, namespaces, modules, tracing, other processes'
// memory, keys, io_uring, bpf, perf, userfaultfd, memfd, System V IPC, message
// queues, sockets other than a connected pair, and whatever is newer than this list.
var allowed = []uintptr{
	// files
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2,
	unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_FSTAT, sysFstatat, unix.SYS_STATX, unix.SYS_LSEEK, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
	unix.SYS_READLINKAT, unix.SYS_GETCWD, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_UTIMENSAT, unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE,
	unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_FCNTL, unix.SYS_FLOCK, unix.SYS_PIPE2, unix.SYS_GETDENTS64, unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_FADVISE64, unix.SYS_UMASK,
	unix.SYS_GETXATTR, unix.SYS_LGETXATTR, unix.SYS_FGETXATTR, unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR, unix.SYS_FLISTXATTR,
	// waiting
	unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_TIMERFD_CREATE, unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMERFD_GETTIME,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_FUTEX, unix.SYS_FUTEX_WAITV, unix.SYS_SCHED_YIELD, unix.SYS_RESTART_SYSCALL,
	// memory
	unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_MUNMAP, unix.SYS_BRK, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_MSYNC, unix.SYS_MEMBARRIER,
	// signals and time
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGSUSPEND, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_SIGALTSTACK, unix.SYS_SIGNALFD4,
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY, unix.SYS_TIMES, unix.SYS_GETITIMER, unix.SYS_SETITIMER,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_GETTIME, unix.SYS_TIMER_GETOVERRUN, unix.SYS_TIMER_DELETE,
	// processes
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_EXECVE, unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
	unix.SYS_GETRESUID, unix.SYS_GETRESGID, unix.SYS_GETGROUPS, unix.SYS_GETPGID, unix.SYS_SETPGID, unix.SYS_GETSID, unix.SYS_SETSID, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETRANDOM, unix.SYS_GETCPU,
	unix.SYS_PRLIMIT64, unix.SYS_GETRLIMIT, unix.SYS_SETRLIMIT, unix.SYS_GETRUSAGE, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETSCHEDULER,
	unix.SYS_SCHED_GET_PRIORITY_MAX, unix.SYS_SCHED_GET_PRIORITY_MIN, unix.SYS_GETPRIORITY, unix.SYS_CAPGET, unix.SYS_SET_TID_ADDRESS, unix.SYS_SET_ROBUST_LIST, unix.SYS_GET_ROBUST_LIST, unix.SYS_RSEQ,
	// a connected pair of sockets, within the process tree
	unix.SYS_SOCKETPAIR, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG, unix.SYS_SHUTDOWN, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
}

// The requests of ioctl after the terminal ones: FIONREAD, FIONBIO, FIOCLEX, FIONCLEX.

// conditions allow a call by one of its arguments; otherwise it is refused.
var conditions = []struct {
	number   uintptr
	argument int
	values   []uint32 // allowed values of the argument
	without  uint32   // or: bits that it must not have
}{
	{number: unix.SYS_CLONE, argument: 0, without: newNamespaces},
	{number: unix.SYS_IOCTL, argument: 1, values: []uint32{unix.TCGETS, unix.TIOCGWINSZ, 0x541b, 0x5421, 0x5451, 0x5450}},
	{number: unix.SYS_PRCTL, argument: 0, values: []uint32{unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_GET_DUMPABLE, unix.PR_SET_PDEATHSIG, unix.PR_GET_PDEATHSIG, unix.PR_CAPBSET_READ, unix.PR_SET_VMA}},
}

// bpf is a classic BPF program under construction.
type bpf []unix.SockFilter

func (b *bpf) load(offset int) {
	*b = append(*b, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(offset)})
}

func (b *bpf) ret(answer uint32) {
	*b = append(*b, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: answer})
}

// jump goes on yes or no instructions further on.
func (b *bpf) jump(test uint16, k uint32, yes, no int) {
	*b = append(*b, unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: uint8(yes), Jf: uint8(no)})
}

// filter returns the allow-list as a BPF program.
func filter() []unix.SockFilter {
	var b bpf
	b.load(dataArch)
	b.jump(unix.BPF_JEQ, auditArch, 1, 0)
	b.ret(answerKill) // another architecture's calls have other numbers
	b.load(dataNumber)
	for _, list := range [][]uintptr{allowed, allowedHere} {
		for _, number := range list {
			b.jump(unix.BPF_JEQ, uint32(number), 0, 1)
			b.ret(answerAllow)
		}
	}
	for _, c := range conditions {
		n := len(c.values)
		if n == 0 {
			b.jump(unix.BPF_JEQ, uint32(c.number), 0, 4)
			b.load(dataArgs + 8*c.argument)
			b.jump(unix.BPF_JSET, c.without, 1, 0)
			b.ret(answerAllow)
			b.ret(answerNo)
			continue
		}
		b.jump(unix.BPF_JEQ, uint32(c.number), 0, 2*n+2)
		b.load(dataArgs + 8*c.argument)
		for _, v := range c.values {
			b.jump(unix.BPF_JEQ, v, 0, 1)
			b.ret(answerAllow)
		}
		b.ret(answerNo)
	}
	b.ret(answerNone)
	return b
}

// filterBytes returns the filter as the kernel reads it.
func filterBytes() (program []byte, length int) {
	f := filter()
	for _, i := range f {
		program = binary.LittleEndian.AppendUint16(program, i.Code)
		program = append(program, i.Jt, i.Jf)
		program = binary.LittleEndian.AppendUint32(program, i.K)
	}
	return program, len(f)
}
