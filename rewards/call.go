package rewards

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/grouse-rl/grouse"
)

// DefaultDeadline is the time for one group where a Part names none.
const DefaultDeadline = 60 * time.Second

// firstPause is the pause before the first retry; it doubles with each.
const firstPause = 200 * time.Millisecond

// Call runs a reward on a group once, with a deadline (0: DefaultDeadline), and
// checks what it returned. A panic is an error; a wrong number of results, a NaN
// or an infinity is grouse.BadOutput; a passed deadline grouse.TimedOut.
//
// A deadline ends the wait. A Go function that does not heed its context runs on
// in its goroutine: code that may hang belongs in a process of its own
// (rewards/python, rewards/exec), which is killed with its children.
func Call(ctx context.Context, r Reward, g *Group, deadline time.Duration) ([]Result, error) {
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	leave := func() {}
	if q, ok := r.(Queued); ok {
		var err error
		if leave, err = Enter(ctx, q.Slots()); err != nil {
			return nil, err
		}
		ctx = context.WithValue(ctx, slotKey{q.Slots()}, true)
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	type answer struct {
		results []Result
		err     error
	}
	done := make(chan answer, 1)
	go func() {
		defer leave() // when it is really over, not when the wait is
		defer func() {
			if p := recover(); p != nil {
				done <- answer{err: Failf(grouse.Errored, "panic: %v\n%s", p, debug.Stack())}
			}
		}()
		results, err := r.Judge(ctx, g)
		done <- answer{results, err}
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return nil, asTimeout(ctx, a.err, deadline)
		}
		return a.results, checkResults(a.results, len(g.Samples))
	case <-ctx.Done():
		return nil, asTimeout(ctx, ctx.Err(), deadline)
	}
}

// asTimeout gives an error that only says that the context ended its cause.
func asTimeout(ctx context.Context, err error, deadline time.Duration) error {
	var e *Error
	if errors.As(err, &e) && e.Outcome != grouse.Errored {
		return err
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
		return &Error{Outcome: grouse.TimedOut, Sample: -1, Err: fmt.Errorf("no answer within %v: %w", deadline, err)}
	}
	return err
}

// checkResults refuses what is not a score.
func checkResults(results []Result, want int) error {
	if len(results) != want {
		return Failf(grouse.BadOutput, "%d results for %d completions", len(results), want)
	}
	for i, r := range results {
		if !r.NoOpinion && !finite(r.Value) {
			return AtSample(i, Failf(grouse.BadOutput, "the value is %v", r.Value))
		}
		for name, v := range r.Numbers {
			if !finite(v) {
				return AtSample(i, Failf(grouse.BadOutput, "the number %q is %v", name, v))
			}
		}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// callWithRetries is Call, again while the error is retryable, with pauses that
// double.
func callWithRetries(ctx context.Context, r Reward, g *Group, deadline time.Duration, retries int) ([]Result, error) {
	for pause := firstPause; ; pause *= 2 {
		results, err := Call(ctx, r, g, deadline)
		if err == nil || !Retryable(err) || retries <= 0 {
			return results, err
		}
		retries--
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}
