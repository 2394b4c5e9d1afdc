package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
	"github.com/grouse-rl/grouse/workflows"
)

// remoteOptions are the parameters of the reward activity.
type remoteOptions struct {
	Worker     string  `json:"worker"`      // NAME of the queue grouse-reward-NAME
	Type       string  `json:"type"`        // the activity's; "judge"
	Attempts   int     `json:"attempts"`    // of the activity, within the deadline; 3
	HeartbeatS float64 `json:"heartbeat_s"` // longest time between two heartbeats; 0: it sends none
}

// remote is a reward that a user's own Temporal worker judges.
type remote struct {
	client client.Client
	o      remoteOptions
}

// maxRequest is how large a group may be, bytes: Temporal refuses payloads of 2 MB.
const maxRequest = 1900 << 10

var workerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

func newRemote(c client.Client, params map[string]any) (rewards.Reward, error) {
	o := remoteOptions{Type: "judge", Attempts: 3}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if !workerName.MatchString(o.Worker) || o.Type == "" || o.Attempts < 1 || o.HeartbeatS < 0 {
		return nil, grouse.Errorf(grouse.Invalid, "worker %q, type %q, attempts %d, heartbeat_s %v", o.Worker, o.Type, o.Attempts, o.HeartbeatS).
			WithFix("write {use: activity, worker: NAME}; the worker serves the queue %s", activities.RewardQueueOf("NAME"))
	}
	return &remote{c, o}, nil
}

// Judge has a workflow run the activity. Its id is made of what is asked, so that a
// caller who was interrupted and asks again joins the one that is still under way.
func (r *remote) Judge(ctx context.Context, g *rewards.Group) ([]rewards.Result, error) {
	if err := ctx.Err(); err != nil || len(g.Samples) == 0 {
		return nil, err
	}
	if r.client == nil {
		return nil, rewards.Fail(grouse.Errorf(grouse.Unavailable, "the reward activity needs a Temporal server").WithFix("start `grouse serve`, or name one with --temporal and --nats"))
	}
	request, err := jsonapi.Encode(g)
	if err != nil {
		return nil, err
	}
	if len(request) > maxRequest {
		return nil, rewards.Failf(grouse.Errored, "the group has %d bytes, Temporal takes %d: use http or python for groups of this size", len(request), maxRequest)
	}
	left := rewards.DefaultDeadline
	if until, ok := ctx.Deadline(); ok {
		left = time.Until(until)
	}
	queue := activities.RewardQueueOf(r.o.Worker)
	sum := sha256.Sum256(append([]byte(r.o.Type+"\n"), request...))
	run, err := r.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: queue + "/" + hex.EncodeToString(sum[:16]), TaskQueue: activities.WorkflowQueue, WorkflowExecutionTimeout: left,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowTaskTimeout: 5 * time.Second, StaticSummary: fmt.Sprintf("%s · %s", r.o.Worker, g.Prompt.RowID),
	}, workflows.Judge, workflows.JudgeInput{Queue: queue, Activity: r.o.Type, Request: request, Attempts: int32(r.o.Attempts), HeartbeatS: r.o.HeartbeatS,
		DeadlineS: (left * 9 / 10).Seconds()}) // the rest is for the answer to come back, with what it waited for
	if err != nil {
		return nil, remoteError(ctx, err)
	}
	var answer json.RawMessage
	if err := run.Get(ctx, &answer); err != nil {
		return nil, remoteError(ctx, err)
	}
	return jsonapi.Decode(answer, len(g.Samples))
}

// remoteError says what became of judging: what the activity's error is named after
// (timeout, oom, bad_output), or an error.
func remoteError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		switch kind := grouse.Outcome(app.Type()); kind {
		case grouse.TimedOut, grouse.OOM, grouse.BadOutput:
			return rewards.Failf(kind, "%s", app.Message())
		}
		return rewards.Failf(grouse.Errored, "%s: %s", app.Type(), app.Message())
	}
	var late *temporal.TimeoutError
	if errors.As(err, &late) {
		return rewards.Failf(grouse.TimedOut, "the worker's activity passed its deadline: %w", err)
	}
	var service serviceerror.ServiceError
	if errors.As(err, &service) {
		return rewards.TryAgain(fmt.Errorf("ask Temporal: %w", err))
	}
	return rewards.Fail(err)
}

var _ rewards.Reward = (*remote)(nil)
