package rewards

import (
	"context"
	"errors"
	"fmt"

	"github.com/grouse-rl/grouse"
)

// Error says how judging failed: grouse.Errored, TimedOut, OOM, OutOfFuel or
// BadOutput. An error that is none counts as Errored and is not retried.
type Error struct {
	Outcome   grouse.Outcome
	Retryable bool // trying again may help: a busy endpoint, not a missing column
	Sample    int  // index in the group; -1: the group as a whole
	Err       error
}

func (e *Error) Error() string {
	if e.Sample >= 0 {
		return fmt.Sprintf("sample %d: %v", e.Sample, e.Err)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Fail returns err as a failure that no retry helps.
func Fail(err error) *Error { return &Error{Outcome: grouse.Errored, Sample: -1, Err: err} }

// TryAgain returns err as a failure that may pass.
func TryAgain(err error) *Error {
	return &Error{Outcome: grouse.Errored, Retryable: true, Sample: -1, Err: err}
}

// Failf returns a failure of an outcome, such as grouse.BadOutput, that no retry
// helps. The format is that of fmt.Errorf.
func Failf(outcome grouse.Outcome, format string, args ...any) *Error {
	return &Error{Outcome: outcome, Sample: -1, Err: fmt.Errorf(format, args...)}
}

// AtSample says which sample an error is about, keeping its outcome.
func AtSample(i int, err error) error {
	var e *Error
	if errors.As(err, &e) {
		if e.Sample >= 0 {
			return err
		}
		c := *e
		c.Sample, c.Err = i, err
		return &c
	}
	return &Error{Outcome: OutcomeOf(err), Sample: i, Err: err}
}

// OutcomeOf returns the outcome of an error: an Error's own, TimedOut for a
// deadline that passed, else Errored; Scored for nil.
func OutcomeOf(err error) grouse.Outcome {
	var e *Error
	switch {
	case err == nil:
		return grouse.Scored
	case errors.As(err, &e):
		return e.Outcome
	case errors.Is(err, context.DeadlineExceeded):
		return grouse.TimedOut
	}
	return grouse.Errored
}

// Retryable reports whether trying again may help.
func Retryable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Retryable
}
