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
	"github.com/grouse-rl/grouse/internal/tensor/devices"
	"github.com/grouse-rl/grouse/rewards/sandbox"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"One JSON object."`
}

// doctorJSON is what doctor --json prints.
type doctorJSON struct {
	OK     bool           `json:"ok"`
	Checks []checked      `json:"checks"`
	CUDA   devices.Report `json:"cuda"`
}

// checked is one line of doctor.
type checked struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
	Fix   string `json:"fix,omitempty"`
}

// Run checks what grouse needs of a machine, a line each.
func (c *doctorCmd) Run(a *app) error {
	out := doctorJSON{OK: true}
	say := func(ok bool, what, found, fix string) {
		out.OK = out.OK && ok
		line := checked{Name: what, OK: ok, Found: found}
		mark := "ok  "
		if !ok {
			mark, line.Fix = "BAD ", fix
		}
		out.Checks = append(out.Checks, line)
		if c.JSON {
			return
		}
		fmt.Fprintf(a.stdout, "%s %-10s %s\n", mark, what, found)
		if !ok {
			fmt.Fprintf(a.stdout, "     → %s\n", fix)
		}
	}
	d := cpu.New(0)
	say(true, "compute", fmt.Sprintf("%s, %d threads of %d processors", d.Name(), d.Threads(), runtime.NumCPU()), "")
	out.CUDA = devices.Describe()
	sayCUDA(out.CUDA, say)
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
	if c.JSON {
		if err := a.line(out); err != nil {
			return err
		}
	}
	if !out.OK {
		return exitError(exitEnvironment)
	}
	return nil
}

// sayCUDA tells of GPUs. A machine without one is no fault; one that cannot be
// used is.
func sayCUDA(r devices.Report, say func(ok bool, what, found, fix string)) {
	for _, g := range r.GPUs {
		say(true, "gpu", fmt.Sprintf("%d: %s, %.1f GiB, compute capability %s", g.Index, g.Name, float64(g.MemoryBytes)/(1<<30), g.ComputeCapability), "")
	}
	switch {
	case r.Usable:
		say(true, "cuda", "trainer.backend: cuda can be used; kernels from "+r.Kernels, "")
	case len(r.GPUs) > 0:
		say(false, "cuda", r.Problem, r.Fix)
	default:
		say(true, "gpu", fmt.Sprintf("none: %s; %s", r.Problem, r.Fix), "")
	}
	for _, l := range r.Libraries {
		if l.Path != "" {
			say(true, "library", fmt.Sprintf("%s %s, %s", l.Name, l.Version, l.Path), "")
		} else if len(r.GPUs) > 0 { // without a GPU it is of no interest what else is missing
			say(!l.Needed, "library", fmt.Sprintf("%s: %s; %s", l.Name, l.Problem, l.Fix), l.Fix)
		}
	}
}
