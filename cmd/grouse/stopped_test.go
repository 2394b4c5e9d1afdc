package main

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/workflows"
)

func TestStopped(t *testing.T) {
	state := workflows.RunState{Spec: grouse.RunSpec{Name: "r"}, State: workflows.StateStopped, Policy: grouse.PolicyRef{Version: 7}}
	if line, exit := stopped(state); exit != exitInterrupted || !strings.Contains(line, "saved at step 7") || !strings.Contains(line, "grouse resume r") {
		t.Errorf("stopped: %q, %d", line, exit)
	}
	state.Paused, state.PauseReason = true, "the judge is away"
	if line, exit := stopped(state); exit != exitPaused || !strings.Contains(line, "the judge is away") || !strings.Contains(line, "grouse resume r") {
		t.Errorf("stopped while paused: %q, %d", line, exit)
	}
}
