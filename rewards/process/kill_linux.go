package process

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// markName is the environment variable that all descendants of a child inherit.
const markName = "GROUSE_REWARD_CHILD="

func newMark() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return markName + hex.EncodeToString(b[:])
}

// supported reports what this system cannot do for a spec: nothing.
func supported(Spec) error { return nil }

// setAttributes puts the child in a process group of its own and ties it to us.
func setAttributes(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // a descendant may hold stderr open
}

// limitMemory bounds the address space of a process and of those that it starts.
func limitMemory(pid, megabytes int) error {
	limit := syscall.Rlimit{Cur: uint64(megabytes) << 20, Max: uint64(megabytes) << 20}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_AS, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 && errno != syscall.ESRCH { // one that has ended already needs no limit
		return errno
	}
	return nil
}

// kill ends the child and all its descendants: its process group, and whoever
// carries its mark though it left the group. It returns when none is left.
func (c *child) kill() {
	c.in.Close()
	for range 50 { // a process that forks as fast as we kill loses: it is stopped first
		syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		marked := processesWith(c.mark)
		for _, pid := range marked {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
		for _, pid := range marked {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(marked) == 0 {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	<-c.exited
	c.pipe.Close()
}

// processesWith returns the living processes whose environment holds mark.
func processesWith(mark string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !bytes.Contains(env, []byte(mark)) {
			continue
		}
		if stat, err := os.ReadFile("/proc/" + e.Name() + "/stat"); err == nil {
			if i := bytes.LastIndexByte(stat, ')'); i >= 0 && i+2 < len(stat) && stat[i+2] == 'Z' {
				continue
			}
		}
		out = append(out, pid)
	}
	return out
}

// outOfMemory reports whether a process that ended by itself did so for want of
// memory: it said so, the kernel killed it, or it broke down at an address (as
// programs do that do not look at what malloc returns) having filled a good part of
// its limit.
func outOfMemory(status error, words string, limitMB int) bool {
	for _, w := range []string{"MemoryError", "out of memory", "annot allocate memory", "std::bad_alloc"} {
		if strings.Contains(words, w) {
			return true
		}
	}
	var exit *exec.ExitError
	if !errors.As(status, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() {
		return false
	}
	switch ws.Signal() {
	case syscall.SIGKILL:
		return true
	case syscall.SIGSEGV, syscall.SIGBUS: // perhaps
	default:
		return false
	}
	// The limit is of address space, of which less is resident. A child begins with
	// its parent's peak, so only what is clearly more than ours is its own.
	var own syscall.Rusage
	usage, ok := exit.SysUsage().(*syscall.Rusage)
	return ok && limitMB > 0 && syscall.Getrusage(syscall.RUSAGE_SELF, &own) == nil && usage.Maxrss >= int64(limitMB)<<10/4 && usage.Maxrss > own.Maxrss+16<<10
}
