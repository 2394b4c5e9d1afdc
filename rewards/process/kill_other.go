//go:build !linux

package process

import (
	"os/exec"
	"strings"

	"github.com/grouse-rl/grouse"
)

func newMark() string { return "GROUSE_REWARD_CHILD=1" }

// supported refuses what is only done on Linux, rather than leave it out.
func supported(spec Spec) error {
	if spec.MemoryMB > 0 {
		return grouse.Errorf(grouse.Invalid, "memory_mb is %d, but memory is limited on Linux only", spec.MemoryMB).WithFix("set memory_mb: 0, or run the reward worker on Linux")
	}
	return nil
}

func setAttributes(*exec.Cmd) {}

func limitMemory(int, int) error { return nil } // supported refuses a limit

// kill ends the child. Its own children are ended where they read from it.
func (c *child) kill() {
	c.in.Close()
	c.cmd.Process.Kill()
	<-c.exited
	c.pipe.Close()
}

func outOfMemory(_ error, words string, _ int) bool {
	return strings.Contains(words, "MemoryError") || strings.Contains(words, "out of memory")
}
