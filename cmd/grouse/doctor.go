package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/devserver"
	"github.com/grouse-rl/grouse/internal/durable"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rewards/sandbox"
)

type doctorCmd struct{}

// Run checks what grouse needs of a machine, a line each.
func (*doctorCmd) Run(a *app) error {
	bad := 0
	say := func(ok bool, what, found, fix string) {
		mark := "ok  "
		if !ok {
			mark = "BAD "
			bad++
		}
		fmt.Fprintf(a.stdout, "%s %-10s %s\n", mark, what, found)
		if !ok {
			fmt.Fprintf(a.stdout, "     → %s\n", fix)
		}
	}
	d := cpu.New(0)
	say(true, "compute", fmt.Sprintf("%s, %d threads of %d processors", d.Name(), d.Threads(), runtime.NumCPU()), "")
	say(true, "gpu", "this build has no CUDA device", "")
	err := os.MkdirAll(a.home, 0o755)
	probe := filepath.Join(a.home, ".doctor")
	began := time.Now()
	if err == nil {
		err = durable.WriteFile(probe, []byte("ok"))
	}
	sync := time.Since(began)
	_ = os.Remove(probe)
	say(err == nil, "state", fmt.Sprintf("%s, a synced write takes %.1f ms", a.home, float64(sync.Microseconds())/1000), fmt.Sprintf("%v; choose another folder with GROUSE_HOME", err))
	var st syscall.Statfs_t
	if syscall.Statfs(a.home, &st) == nil {
		free := float64(st.Bavail) * float64(st.Bsize) / (1 << 30)
		say(free > 1, "disk", fmt.Sprintf("%.1f GiB free", free), "free some space, or move the state with GROUSE_HOME")
	}
	info, err := devserver.Running(a.home)
	switch {
	case err == nil:
		say(true, "server", fmt.Sprintf("process %d, Temporal %s, Web UI %s", info.PID, info.Temporal, info.UI), "")
	case grouse.KindOf(err) == grouse.NotFound:
		say(true, "server", "none runs; `grouse run` starts one inside itself", "")
	default:
		say(false, "server", err.Error(), grouse.FixOf(err))
	}
	found := ""
	box, err := sandbox.New(sandbox.KindNative, sandbox.Spec{Args: []string{"/bin/true"}})
	if err == nil {
		found = box.Level()
		err = box.Close()
	}
	if err != nil {
		found = fmt.Sprintf("none, which only the reward code needs: %v; %s", err, grouse.FixOf(err))
	}
	say(true, "sandbox", found, "")
	if bad > 0 {
		return exitError(exitEnvironment)
	}
	return nil
}
