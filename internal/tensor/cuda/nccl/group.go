//go:build cuda && cgo

package nccl

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Group is a star whose rows go from GPU to GPU by NCCL. A GPU that NCCL has failed on is
// of no more use to its process.
type Group struct {
	*collective.Star
	gpu  Device
	comm *Comm
	work sync.WaitGroup
}

var _ collective.Group = (*Group)(nil)

// NewGroup joins the ranks of a star, which it takes over. gpu is what the devices that
// rows lie on work with.
func NewGroup(ctx context.Context, gpu Device, star *collective.Star) (*Group, error) {
	g := &Group{Star: star, gpu: gpu}
	var id ID
	var err error
	if star.Rank() == 0 {
		id, err = UniqueID()
	}
	if err == nil {
		var raw []byte
		if raw, err = star.Broadcast(ctx, id[:]); err == nil && copy(id[:], raw) != len(id) {
			err = fmt.Errorf("rank 0 sent an id of %d bytes", len(raw))
		}
	}
	if err == nil {
		g.comm, err = Join(gpu, star.Size(), star.Rank(), id)
	}
	if err != nil {
		star.Fail(err)
		return nil, err
	}
	g.work.Go(func() {
		<-star.Down()
		_ = g.comm.Abort() // what is under way then ends, with an error or without
	})
	return g, nil
}

// ReduceScatter is NCCL's, in place.
func (g *Group) ReduceScatter(_ context.Context, dev tensor.Device, row tensor.Buffer) error {
	return g.do(dev, row, func(all, mine driver.Ptr, n int) { g.comm.ReduceScatter(all, mine, n, Float32, Sum) })
}

// AllGather is NCCL's, in place.
func (g *Group) AllGather(_ context.Context, dev tensor.Device, row tensor.Buffer) error {
	return g.do(dev, row, func(all, mine driver.Ptr, n int) { g.comm.AllGather(mine, all, n, Float32) })
}

// do queues f and waits for its end, or for that of the group.
func (g *Group) do(dev tensor.Device, row tensor.Buffer, f func(all, mine driver.Ptr, n int)) error {
	if err := g.Err(); err != nil {
		return err
	}
	n := row.Len() / g.Size()
	dev.(*cuda.Device).Use(row, func(p driver.Ptr) { f(p, p+driver.Ptr(4*n*g.Rank()), n) })
	err := g.gpu.Sync()
	if down := g.Err(); down != nil { // what NCCL says of it is a consequence
		return down
	}
	if err == nil {
		err = g.comm.Err()
	}
	if err != nil {
		err = grouse.Errorf(grouse.Unavailable, "%w", errors.Join(err))
		g.Fail(err)
	}
	return err
}

// Close ends the group.
func (g *Group) Close() {
	g.Star.Close()
	g.work.Wait()
}
