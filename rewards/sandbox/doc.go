// Package sandbox runs programs that nobody trusts: one at a time or many at once,
// each alone, with bounds on everything, and says how each ended.
//
//	s, err := sandbox.New(sandbox.KindNative, sandbox.Spec{
//		Args: []string{"/usr/bin/python3", "main.py"}, File: "main.py",
//		ReadOnly: []string{"/usr", "/lib", "/lib64"},
//	})
//	r, err := sandbox.Run(ctx, s, []byte("print(1)"), nil) // r.End, r.Code, r.Stdout
//
// # What a program sees
//
// A root of its own with the paths of Spec.ReadOnly, four devices that lead nowhere,
// and an empty /tmp; user, pid, mount, network, IPC, UTS and cgroup namespaces made for
// it; no /proc, no interface of a network, no descriptor but 0, 1 and 2, no variable
// but Spec.Env, no capability, no way to new privileges, and only the system calls of
// an allow-list. It runs as a user that owns nothing. What it leaves behind is gone
// with it: processes, files, memory.
//
// # How a program is started
//
// A launch is a list of system calls, written by a pure function (plan) that tests can
// read. A program of 150 bytes executes such a list: its text is launcher_*.s, its
// image an ELF file in memory that holds the list as data. So there is no second
// binary to build, install or find, nothing to re-execute that takes long to start, and
// no Go code between fork and exec. The kernel executes the image once for a program;
// the list then makes three processes of it: a supervisor outside, which enforces the
// deadline and outlives nobody, the init of the pid namespace, and the program.
//
// The alternatives were measured or ruled out: re-executing a program of 185 MB costs
// more than the program it starts; a small launcher in Go is a binary to embed for each
// architecture; forking from a Go process copies its page tables; a warm interpreter
// that forks would hold the setup in the language of the programs.
//
// # Limits
//
// Time is enforced by the supervisor. Memory and processes of the tree are a control
// group's where this machine lets us make one (v1 or v2); programs are born into it,
// because moving a process stops every fork of the machine for milliseconds. Without
// one, each process is bounded by its address space, the tree by a watch that looks
// every 20 ms, and the number of processes by RLIMIT_NPROC, which the kernel counts for
// each user namespace since 5.14. Level says which it is.
//
// # What it promises
//
// It never degrades in silence: New runs a trial, and an error names the call that
// failed and the setting that mends it. It needs Linux 5.14 on amd64 or arm64, with
// user namespaces; it works as root and as an ordinary user, without cgo.
//
// It shares the machine's kernel: a hole in that is a hole in this. The kinds bwrap and
// nsjail share it too; gvisor, or a service on another machine, does not.
package sandbox
