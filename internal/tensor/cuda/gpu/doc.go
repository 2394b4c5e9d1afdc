// Package gpu is driver.Driver for an NVIDIA GPU, over gorgonia.org/cu (build tag
// cuda; without it the package is empty).
//
//	g, err := gpu.Open(0, gpu.Options{Kernels: ...})
//	defer g.Close()
//	p, err := g.Alloc(1 << 20)
//	g.Launch("axpy", driver.Dims{Grid: [3]int{64}, Block: [3]int{256}}, p, ...)
//	err = g.Sync()
//
// Each device has one goroutine that is locked to its system thread, holds the
// device's primary context and makes all calls; what takes effect later (launches,
// copies, products) is only queued by the caller, as on the device's stream itself.
//
// Kernels come from the cache of cubins ($XDG_CACHE_HOME/grouse/kernels), else from
// NVRTC for the very architecture, else from the PTX inside the binary, which the
// driver compiles; GROUSE_KERNELS=nvrtc|ptx takes only that one. All are compiled
// without contraction of products and sums, so that it does not matter which.
// Matrix products are cuBLASLt's: float32 operands multiply in float32 (never
// TF32), bfloat16 operands add up in float32, also where a product is split.
//
// # Errors
//
// A GPU reports the fault of a kernel at some later call. The error that sticks
// names the kernels since the last call that waited; GROUSE_CUDA_SYNC=1 waits after
// each call, and then it is the one.
//
// This package was tested against stand-ins of the libraries (internal/cudashim/fake);
// docs/cuda.md says what ran on a GPU.
package gpu
