package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/grouse-rl/grouse/workflows"
)

// judge runs the workflow with an activity "judge".
func judge(t *testing.T, in workflows.JudgeInput, f func(ctx context.Context, request json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	t.Helper()
	var s testsuite.WorkflowTestSuite
	s.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := s.NewTestWorkflowEnvironment()
	env.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: "judge"})
	env.ExecuteWorkflow(workflows.Judge, in)
	if err := env.GetWorkflowError(); err != nil {
		return nil, err
	}
	var out json.RawMessage
	return out, env.GetWorkflowResult(&out)
}

func TestJudge(t *testing.T) {
	in := workflows.JudgeInput{Queue: "grouse-reward-x", Activity: "judge", Request: json.RawMessage(`{"version":1}`), DeadlineS: 5, Attempts: 3}
	got, err := judge(t, in, func(_ context.Context, request json.RawMessage) (json.RawMessage, error) {
		if string(request) != `{"version":1}` {
			t.Errorf("the activity was given %s", request)
		}
		return json.RawMessage(`{"scores":[1]}`), nil
	})
	if err != nil || string(got) != `{"scores":[1]}` {
		t.Errorf("%s, %v", got, err)
	}
	tries := 0
	if _, err = judge(t, in, func(context.Context, json.RawMessage) (json.RawMessage, error) {
		tries++
		return nil, errors.New("boom")
	}); err == nil || tries != 3 || !strings.Contains(err.Error(), "boom") {
		t.Errorf("an activity that fails: %d tries, %v; want 3", tries, err)
	}
	tries = 0
	if _, err = judge(t, in, func(context.Context, json.RawMessage) (json.RawMessage, error) {
		tries++
		return nil, temporal.NewApplicationError("full", "oom")
	}); tries != 1 {
		t.Errorf("an activity that is out of memory was tried %d times: %v", tries, err)
	}
	_, err = judge(t, in, func(context.Context, json.RawMessage) (json.RawMessage, error) {
		time.Sleep(20 * time.Millisecond)
		return nil, temporal.NewTimeoutError(1, nil) // what the server says of one that hangs
	})
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != "timeout" || !strings.Contains(err.Error(), "grouse-reward-x") {
		t.Errorf("an activity that hangs: %v", err)
	}
}
