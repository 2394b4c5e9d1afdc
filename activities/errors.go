package activities

import (
	"context"
	"errors"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/grouse-rl/grouse"
)

// Error types besides the kinds of grouse.
const (
	BatchMissing  = "batch_missing"  // a batch is gone from the bus: the step is planned again
	PolicyMissing = "policy_missing" // a sampler lacks the weights: they are published again
)

// unknownAttempts is how often an error without a kind is tried again.
const unknownAttempts = 10

// translate gives an error the type and the retry behaviour that its kind
// asks for. The message ends with the way out.
func translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app // not what wraps it: the type must stay the outermost
	}
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return ctx.Err()
	}
	var typed *grouse.Error
	known := errors.As(err, &typed)
	kind := grouse.Kind("unknown")
	if known {
		kind = typed.Kind
	}
	final := known && kind != grouse.Unavailable
	if !known && activity.IsActivity(ctx) && activity.GetInfo(ctx).Attempt >= unknownAttempts {
		final = true
	}
	return applicationError(err, string(kind), final)
}

// missing marks an error that the workflow mends by doing work again.
func missing(err error, errType string) error {
	if grouse.KindOf(err) != grouse.NotFound {
		return err
	}
	return applicationError(err, errType, true)
}

func applicationError(err error, errType string, final bool) error {
	msg := err.Error()
	fix := grouse.FixOf(err)
	if fix != "" {
		msg += "\n" + fix
	}
	return temporal.NewApplicationErrorWithOptions(msg, errType, temporal.ApplicationErrorOptions{NonRetryable: final, Details: []any{fix}})
}
