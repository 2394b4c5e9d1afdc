package rewards

import "context"

// Queued is a reward that judges a fixed number of groups at a time, because each
// takes a process or the like. Call waits for a slot before a group's deadline begins:
// a group that hangs does not use up the time of those behind it.
type Queued interface {
	Reward
	// Slots has the capacity of what may be judged at a time; a sender holds a slot.
	Slots() chan struct{}
}

// slotKey marks a context under which a slot of a channel is held.
type slotKey struct{ slots chan struct{} }

// Enter takes a slot, unless Call did so for this context, and returns what gives it
// back. A Queued reward calls it in its Judge, which may be called without Call.
func Enter(ctx context.Context, slots chan struct{}) (leave func(), err error) {
	if ctx.Value(slotKey{slots}) != nil {
		return func() {}, nil
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
