package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups hands out control groups, one for each program that runs: made when
// needed, used again, removed at the end. A nil *cgroups is a machine that lets us
// have none.
type cgroups struct {
	limits  Limits
	parents []string // folders that groups are made in: one of v2, or one for each controller of v1
	v2      bool
	memory  bool // whether the memory of a tree is counted

	mu   sync.Mutex
	idle []*cgroup
	all  []*cgroup
}

// cgroup is one control group; in v1 a folder for each controller. A program is born
// into it: to move a process is slow, and holds up every fork of the machine.
type cgroup struct {
	dirs   []string
	dir    *os.File    // v2: what clone3 is given
	thread chan func() // v1: runs on a thread that lives in the group, where its children are born
	ended  chan struct{}
	counts [2]int64 // oom kills and refused processes before the program
}

// cgroupEvents is what the kernel did to a program.
type cgroupEvents struct{ oom, processes bool }

// groupNumber makes names unique in this process.
var groupNumber atomic.Int64

// newCgroups finds where groups can be made, and proves it by making one; nil if
// nowhere, and then other limits hold.
func newCgroups(limits Limits) *cgroups {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	for _, c := range cgroupParents(string(own), string(mounts)) {
		c.limits = limits
		c.sweep()
		g, err := c.make()
		if err != nil {
			continue
		}
		c.put(g)
		return c
	}
	return nil
}

// cgroupParents returns the candidates, the best first: v2 with both controllers,
// then v1.
func cgroupParents(own, mountinfo string) []*cgroups {
	paths := map[string]string{} // controller, "" for v2: our group
	for line := range strings.Lines(own) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 {
			for _, controller := range strings.Split(f[1], ",") {
				paths[controller] = f[2]
			}
		}
	}
	at := map[string]string{} // controller: mount point
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, a := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(a) < 3 {
			continue
		}
		switch a[0] {
		case "cgroup2":
			at[""] = f[4]
		case "cgroup":
			for _, o := range strings.Split(a[2], ",") {
				at[o] = f[4]
			}
		}
	}
	var out []*cgroups
	if mount, ok := at[""]; ok {
		dir := filepath.Join(mount, paths[""])
		if dir != mount {
			dir = filepath.Dir(dir) // a group with processes has no children with controllers
		}
		os.WriteFile(dir+"/cgroup.subtree_control", []byte("+memory +pids"), 0) // it may be so already
		on, _ := os.ReadFile(dir + "/cgroup.subtree_control")
		if has := strings.Fields(string(on)); slices.Contains(has, "memory") && slices.Contains(has, "pids") {
			out = append(out, &cgroups{parents: []string{dir}, v2: true, memory: true})
		}
	}
	if memory, ok := at["memory"]; ok {
		if pids, ok := at["pids"]; ok {
			for _, below := range []bool{true, false} { // our own group, or the mount's root if that is not shown
				m, p := memory, pids
				if below {
					m, p = filepath.Join(memory, paths["memory"]), filepath.Join(pids, paths["pids"])
				}
				out = append(out, &cgroups{parents: []string{m, p}, memory: true})
			}
		}
	}
	return out
}

// groupPrefix begins the name of every group: the prefix, our pid, a number.
const groupPrefix = "grouse-sandbox-"

// sweep removes the groups of processes that are gone without having done so.
func (c *cgroups) sweep() {
	for _, parent := range c.parents {
		entries, err := os.ReadDir(parent)
		if err != nil {
			continue
		}
		for _, e := range entries {
			rest, ok := strings.CutPrefix(e.Name(), groupPrefix)
			pid, _, _ := strings.Cut(rest, "-")
			if _, err := os.Stat("/proc/" + pid); ok && pid != "" && os.IsNotExist(err) {
				unix.Rmdir(filepath.Join(parent, e.Name())) // fails while a program is in it
			}
		}
	}
}

// level says what is limited by whom.
func (c *cgroups) level() string {
	switch {
	case c == nil:
		return "no control group (memory is watched)"
	case c.v2:
		return "control groups v2"
	}
	return "control groups v1"
}

// take returns a group for a program.
func (c *cgroups) take() (*cgroup, error) {
	c.mu.Lock()
	var g *cgroup
	if n := len(c.idle); n > 0 {
		g, c.idle = c.idle[n-1], c.idle[:n-1]
	}
	c.mu.Unlock()
	if g == nil {
		var err error
		if g, err = c.make(); err != nil {
			return nil, err
		}
	}
	g.counts = g.read()
	return g, nil
}

func (c *cgroups) put(g *cgroup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, g)
}

// make makes a group with its limits.
func (c *cgroups) make() (*cgroup, error) {
	name := fmt.Sprintf(groupPrefix+"%d-%d", os.Getpid(), groupNumber.Add(1))
	memory, processes := strconv.FormatInt(c.limits.Memory, 10), strconv.Itoa(c.limits.Processes+inits+1) // and the thread
	g := &cgroup{}
	fail := func(err error) (*cgroup, error) {
		g.remove()
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	for _, parent := range c.parents {
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fail(err)
		}
		g.dirs = append(g.dirs, dir)
	}
	type setting struct {
		file, value string
		must        bool
	}
	settings := []setting{{g.dirs[0] + "/memory.max", memory, true}, {g.dirs[0] + "/memory.swap.max", "0", false}, {g.dirs[0] + "/pids.max", processes, true}}
	if !c.v2 {
		settings = []setting{{g.dirs[0] + "/memory.limit_in_bytes", memory, true}, {g.dirs[0] + "/memory.memsw.limit_in_bytes", memory, false}, {g.dirs[1] + "/pids.max", processes, true}}
	}
	for _, s := range settings {
		if err := os.WriteFile(s.file, []byte(s.value), 0); err != nil && s.must {
			return fail(err)
		}
	}
	if c.v2 {
		var err error
		if g.dir, err = os.Open(g.dirs[0]); err != nil {
			return fail(err)
		}
	} else if err := g.startThread(); err != nil {
		return fail(err)
	}
	c.mu.Lock()
	c.all = append(c.all, g)
	c.mu.Unlock()
	return g, nil
}

// close removes all groups.
func (c *cgroups) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.all {
		g.remove()
	}
	c.all, c.idle = nil, nil
}

// startThread starts a thread that lives in the group.
func (g *cgroup) startThread() error {
	thread, ended := make(chan func()), make(chan struct{})
	entered := make(chan error, 1)
	onOwnThread(func() {
		defer close(ended)
		for _, dir := range g.dirs {
			if err := os.WriteFile(dir+"/tasks", []byte(strconv.Itoa(unix.Gettid())), 0); err != nil {
				entered <- err
				return
			}
		}
		entered <- nil
		for f := range thread {
			f()
		}
	})
	if err := <-entered; err != nil {
		<-ended
		return err
	}
	g.thread, g.ended = thread, ended
	return nil
}

// onOwnThread runs f on a thread that ends with it. It is never the process's first:
// to the kernel that one's groups are the whole process's memory's.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		done := make(chan struct{})
		go func() { // another thread, since this goroutine keeps the first
			runtime.LockOSThread()
			defer close(done)
			f()
		}()
		<-done
		runtime.UnlockOSThread() // the first thread must not end
	}()
}

// start starts a command in the group.
func (g *cgroup) start(cmd *exec.Cmd) error {
	if g == nil {
		return cmd.Start()
	}
	if g.dir != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(g.dir.Fd())
		return cmd.Start()
	}
	result := make(chan error)
	g.thread <- func() { result <- cmd.Start() }
	return <-result
}

func (g *cgroup) remove() {
	if g.dir != nil {
		g.dir.Close()
	}
	if g.thread != nil {
		close(g.thread)
		<-g.ended
	}
	for _, dir := range g.dirs {
		for range 50 { // the thread, or a killed program, may have a moment to go
			if unix.Rmdir(dir) != unix.EBUSY {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// events says what happened since take.
func (g *cgroup) events() cgroupEvents {
	now := g.read()
	return cgroupEvents{oom: now[0] > g.counts[0], processes: now[1] > g.counts[1]}
}

// read returns the counts of oom kills and of refused processes.
func (g *cgroup) read() [2]int64 {
	memory := counter(g.dirs[0]+"/memory.events", "oom_kill")
	if memory < 0 {
		memory = counter(g.dirs[0]+"/memory.oom_control", "oom_kill")
	}
	return [2]int64{memory, counter(g.dirs[len(g.dirs)-1]+"/pids.events", "max")}
}

// counter reads a line "name N"; -1 if there is none.
func counter(file, name string) int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return -1
}
