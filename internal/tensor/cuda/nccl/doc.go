// Package nccl is data parallelism's communication between GPUs: one process per
// GPU, NVIDIA's NCCL found at run time (build tag cuda; without it there is only
// Meet).
//
//	id, err := nccl.Meet(ctx, "10.0.0.1:7770", nccl.Hello{Rank: r, Size: 8, NCCL: version, Run: hash}, nccl.UniqueID)
//	comm, err := nccl.Join(device, 8, r, id)
//	comm.ReduceScatter(grads, mine, n, nccl.Float32, nccl.Sum)
//	err = device.Sync()
//
// Meet comes first because NCCL itself waits for ever for a rank that does not
// come, and does not notice one of another version: all ranks say what they are to
// rank 0, and all of them are told if they do not fit together.
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
