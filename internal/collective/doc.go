// Package collective is what ranks, the processes of one training run that share the
// work of an update, say to each other.
//
//	g, err := host.Meet(ctx)              // rank 0
//	g, err := collective.Visit(ctx, ...)  // the others
//	err = g.ReduceScatter(ctx, dev, row)  // row's stretch of this rank: the sum over all ranks
//	err = g.AllGather(ctx, dev, row)      // row: every rank's stretch
//
// All ranks make the same calls in the same order. Star is the plain implementation: every
// rank has a connection to rank 0, which adds up in order of ranks on the host, so the
// same ranks give the same bits. It needs no GPU and is what tests use, over pipes (Local)
// or between processes; internal/tensor/cuda/nccl replaces the two calls on rows by NCCL's.
//
// # Errors
//
// A group lives or ends as a whole. If a rank ends, is silent for Silence or reports an
// error of its own (Fail), every call at every rank returns Unavailable, naming the rank,
// and the group is of no more use: the ranks meet again. Nobody waits for ever.
package collective
