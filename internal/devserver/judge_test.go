package devserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/devserver"
	"github.com/grouse-rl/grouse/workflows"
)

// TestJudge has a user's worker judge a group on a real server: one that fails once and
// answers, and one that is not there. With -rewrite both histories are stored.
func TestJudge(t *testing.T) {
	s := start(t, devserver.Options{Dir: t.TempDir(), NoUI: true})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.Dial(client.Options{HostPort: s.Info().Temporal, Namespace: s.Info().Namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var calls atomic.Int32
	decides, judges := worker.New(c, activities.WorkflowQueue, worker.Options{}), worker.New(c, "grouse-reward-mine", worker.Options{})
	decides.RegisterWorkflow(workflows.Judge)
	judges.RegisterActivityWithOptions(func(context.Context, json.RawMessage) (json.RawMessage, error) {
		if calls.Add(1) == 1 {
			return nil, errors.New("busy")
		}
		return json.RawMessage(`{"scores":[1]}`), nil
	}, activity.RegisterOptions{Name: "judge"})
	for _, w := range []worker.Worker{decides, judges} {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}
	judge := func(id, queue string, deadline float64) (answer json.RawMessage, err error) {
		run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: activities.WorkflowQueue}, workflows.Judge,
			workflows.JudgeInput{Queue: queue, Activity: "judge", Request: json.RawMessage(`{"version":1}`), DeadlineS: deadline, Attempts: 3})
		if err != nil {
			t.Fatal(err)
		}
		err = run.Get(ctx, &answer)
		if *rewrite {
			save(t, id+".json", historyOf(ctx, t, c, id, ""))
		}
		return answer, err
	}
	if got, err := judge("judge", "grouse-reward-mine", 20); err != nil || string(got) != `{"scores":[1]}` || calls.Load() != 2 {
		t.Errorf("%s, %v after %d calls", got, err, calls.Load())
	}
	_, err = judge("judge-timeout", "grouse-reward-nobody", 1)
	var failure *temporal.ApplicationError
	if !errors.As(err, &failure) || failure.Type() != string(grouse.TimedOut) || !strings.Contains(err.Error(), "is one running?") {
		t.Errorf("nobody there: %v", err)
	}
}
