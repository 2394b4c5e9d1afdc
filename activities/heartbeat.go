package activities

import (
	"context"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
)

// beatEvery is how often an activity says that it lives. The heartbeat timeout
// is 5 s: a worker that was killed is noticed within that.
const beatEvery = time.Second

// Progress is what a heartbeat carries: the Web UI shows it.
type Progress struct {
	Done int    `json:"done"`
	Of   int    `json:"of,omitempty"`
	What string `json:"what"` // groups, updates, ...
}

// beating runs work with heartbeats in the background. progress, which work
// may call from anywhere, only sets the number.
func beating[Out any](ctx context.Context, what string, of int, work func(ctx context.Context, progress func(done int)) (Out, error)) (Out, error) {
	var done atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			activity.RecordHeartbeat(ctx, Progress{Done: int(done.Load()), Of: of, What: what})
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	out, err := work(ctx, func(n int) { done.Store(int64(n)) })
	close(stop)
	<-stopped
	return out, translate(ctx, err)
}
