package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
)

// JudgeInput is one group for a reward that a worker of any SDK serves.
type JudgeInput struct {
	Queue      string          `json:"queue"`    // grouse-reward-NAME
	Activity   string          `json:"activity"` // its type
	Request    json.RawMessage `json:"request"`  // rewards/jsonapi.Request
	DeadlineS  float64         `json:"deadline_s"`
	HeartbeatS float64         `json:"heartbeat_s"` // 0: the activity does not heartbeat
	Attempts   int32           `json:"attempts"`
}

// Judge has one activity of a user's worker judge one group, and returns what it
// answered: rewards/jsonapi's answer. It exists because only a workflow can use an
// activity; the run's own history is spared the completions' text.
func Judge(ctx workflow.Context, in JudgeInput) (json.RawMessage, error) {
	limit := time.Duration(in.DeadlineS * float64(time.Second))
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: in.Queue, Summary: in.Activity, ScheduleToCloseTimeout: limit, HeartbeatTimeout: time.Duration(in.HeartbeatS * float64(time.Second)),
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, MaximumAttempts: in.Attempts,
			NonRetryableErrorTypes: []string{string(grouse.TimedOut), string(grouse.OOM), string(grouse.BadOutput)}},
	})
	var answer json.RawMessage
	err := workflow.ExecuteActivity(ctx, in.Activity, in.Request).Get(ctx, &answer)
	var late *temporal.TimeoutError
	if errors.As(err, &late) && late.TimeoutType() != enumspb.TIMEOUT_TYPE_HEARTBEAT {
		what := fmt.Sprintf("no answer within %v from the worker of task queue %s", limit, in.Queue)
		if late.TimeoutType() == enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START || late.Unwrap() == nil {
			what += ": is one running?"
		}
		return nil, temporal.NewNonRetryableApplicationError(what, string(grouse.TimedOut), nil)
	}
	return answer, err
}
