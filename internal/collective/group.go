package collective

import (
	"context"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// Group is one rank's end of the ranks' communication. One goroutine uses it at a time;
// Fail and Close may be called from any.
type Group interface {
	Rank() int
	Size() int

	// Gather returns every rank's bytes at rank 0, in order of ranks, and nil elsewhere.
	Gather(ctx context.Context, mine []byte) ([][]byte, error)
	// Broadcast returns rank 0's bytes at every rank; what others give does not matter.
	Broadcast(ctx context.Context, b []byte) ([]byte, error)

	// ReduceScatter sets stretch Rank of row [Size*n] to the sum of the ranks' stretches
	// there, float32. The other stretches are undefined afterwards.
	ReduceScatter(ctx context.Context, dev tensor.Device, row tensor.Buffer) error
	// AllGather sets every stretch of row [Size*n] to that of its rank, float32.
	AllGather(ctx context.Context, dev tensor.Device, row tensor.Buffer) error

	// Fail ends the group at all ranks, which are told why; the first reason stays.
	Fail(err error)
	// Down is closed when the group has ended; Err then says why.
	Down() <-chan struct{}
	Err() error
	// Close ends the group, if need be, and waits for what works for this end of it.
	Close()
}
