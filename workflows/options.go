package workflows

import (
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
)

const (
	// heartbeatTimeout: a worker that was killed is noticed within this.
	heartbeatTimeout = 5 * time.Second
	// startTimeout is how long an activity waits for a worker before the run
	// says what it waits for; it then goes on waiting.
	startTimeout = time.Minute
	// workTimeout ends what heartbeats but never finishes.
	workTimeout = 12 * time.Hour
	// scoreTimeout is a shard's deadline for scoring, unless its route has one.
	scoreTimeout = time.Hour
	// repeats is how often work whose inputs got lost is planned again.
	repeats = 5
)

// retry tries again what may come right by itself; error kinds that cannot are
// marked by the activities.
var retry = &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second}

// execute runs an activity on a queue and returns its output. If no worker takes
// it within a minute, the run's status says so, and it is scheduled again.
func execute[Out any](ctx workflow.Context, r *run, queue, summary string, timeout time.Duration, activity, in any) (Out, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: queue, Summary: summary, ScheduleToStartTimeout: startTimeout, StartToCloseTimeout: timeout,
		HeartbeatTimeout: heartbeatTimeout, RetryPolicy: retry, WaitForCancellation: true,
	})
	for {
		var out Out
		err := workflow.ExecuteActivity(ctx, activity, in).Get(ctx, &out)
		var late *temporal.TimeoutError
		if errors.As(err, &late) && late.TimeoutType() == enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START && ctx.Err() == nil {
			r.waiting = fmt.Sprintf("no worker takes work from task queue %s (%s): start one with `grouse worker`", queue, summary)
			continue
		}
		r.waiting = ""
		return out, err
	}
}

// executeLocal runs a cheap pure activity in the workflow worker's process.
func executeLocal[Out any](ctx workflow.Context, summary string, activity, in any) (Out, error) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: scoreTimeout, StartToCloseTimeout: scoreTimeout, RetryPolicy: retry, Summary: summary,
	})
	var out Out
	err := workflow.ExecuteLocalActivity(ctx, activity, in).Get(ctx, &out)
	return out, err
}

// errorType returns the type of the ApplicationError in err's chain, "" if
// there is none.
func errorType(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}

func isMissing(err error) bool { return errorType(err) == activities.BatchMissing }

// failed makes of an activity's error the error that the workflow ends with:
// the same type, and a message that begins with what was being done.
func failed(doing string, err error) error {
	if err == nil || temporal.IsCanceledError(err) {
		return err
	}
	var app *temporal.ApplicationError
	if !errors.As(err, &app) {
		kind := string(grouse.KindOf(err))
		if late := (*temporal.TimeoutError)(nil); errors.As(err, &late) {
			kind = "timeout"
		}
		return temporal.NewApplicationErrorWithOptions(doing+": "+err.Error(), kind, temporal.ApplicationErrorOptions{NonRetryable: true})
	}
	var fix string
	if app.HasDetails() {
		_ = app.Details(&fix) // other details than ours are no fix
	}
	return temporal.NewApplicationErrorWithOptions(doing+": "+app.Message(), app.Type(),
		temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{fix}})
}
