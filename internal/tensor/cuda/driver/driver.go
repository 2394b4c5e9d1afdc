// Package driver is what the CUDA device needs of a GPU: memory, kernels by
// name, matrix products, graphs. internal/tensor/cuda/gpu implements it over the
// CUDA driver, internal/tensor/cuda/emu runs the same kernels on the processor.
package driver

// Ptr is an address in the device's memory.
type Ptr uint64

// Driver is one device and its one compute stream: calls take effect in order.
// Errors stick: after the first, calls do nothing and Sync and Download return
// it. A Driver is used by one goroutine at a time.
type Driver interface {
	// Name says what computes, as checkpoints record it: "cuda/sm_90a", "emu".
	Name() string
	// Memory returns the device's free and total bytes.
	Memory() (free, total int64)

	Alloc(bytes int64) (Ptr, error) // aligned to 256 bytes, not cleared
	Free(p Ptr)
	Clear(p Ptr, bytes int64)                  // sets zeros
	Copy(dst, src Ptr, bytes int64)            // on the device
	Upload(dst Ptr, src []byte)                // src may be changed after the call
	Download(dst []byte, src Ptr) error        // waits for what was asked for before
	Launch(kernel string, d Dims, args ...any) // uint64-sized values: Ptr, int32, uint32, int64, uint64, float32
	MatMul(m MatMul)
	Sync() error

	// AllocHost returns the address of host memory that the device copies from and to by
	// itself, aligned to 256 bytes and not cleared. Only Fetch and Store take it.
	AllocHost(bytes int64) (Ptr, error)
	FreeHost(p Ptr) // when all Stores are done
	// Fetch copies from memory of AllocHost to the device, in order with the other calls.
	Fetch(dst, src Ptr, bytes int64)
	// Store copies from the device to memory of AllocHost, after the calls before it and
	// beside those that follow: src must stay as it is, and dst unread, until Settle. Stores
	// are done in order.
	Store(dst, src Ptr, bytes int64)
	// Settle lets the calls that follow wait for all Stores but the last so many.
	Settle(pending int)

	// Capture records what f asks for instead of doing it; the graph repeats it
	// with the same addresses and arguments. What allocates, frees or
	// copies from and to the host is not allowed in f.
	Capture(f func()) (Graph, error)

	Close() error
}

// Graph is a recorded sequence of launches.
type Graph interface {
	Launch()
	Free()
}

// Dims is the shape of a launch.
type Dims struct {
	Grid, Block [3]int // zero counts as one
	Shared      int    // bytes of dynamic shared memory
}

// Type is the type of a matrix's elements.
type Type int

// Types of matrices.
const (
	F32 Type = iota
	BF16
)

// Matrix is row-major: element [i, j] lies at Data + (i*Stride + j)*size.
type Matrix struct {
	Data   Ptr
	Type   Type
	Stride int
}

// MatMul is C = alpha op(A) op(B) + beta C, with op(A) [M, K], op(B) [K, N] and
// C [M, N]; products are added up in float32. TransA says that A is stored as
// [K, M], TransB that B is stored as [N, K] (a weight).
type MatMul struct {
	M, N, K        int
	A, B, C        Matrix
	TransA, TransB bool
	Alpha, Beta    float32
}
