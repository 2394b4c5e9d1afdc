// Package nccl is the communication of ranks between GPUs: one process per GPU, NVIDIA's
// NCCL found at run time (build tag cuda; without it the package is empty).
//
//	star, err := collective.Visit(ctx, place, hello)  // or Host.Meet at rank 0
//	g, err := nccl.NewGroup(ctx, gpu, star)           // a collective.Group
//	err = g.ReduceScatter(ctx, dev, row)              // by NCCL; bytes still go by the star
//
// The ranks meet before (internal/collective), because NCCL itself waits for ever for a
// rank that does not come, and does not notice one of another version. A rank that goes
// away later is noticed by the star, which ends what NCCL waits for.
//
// # Order of sums
//
// For one communicator, size and type NCCL adds up in one order: a run repeats
// itself. The order is NCCL's and depends on how many GPUs there are and how they
// are connected, so another layout of GPUs gives other bits.
//
// This package was tested against a stand-in of NCCL (internal/cudashim/fake);
// docs/cuda.md says what ran on GPUs.
package nccl
