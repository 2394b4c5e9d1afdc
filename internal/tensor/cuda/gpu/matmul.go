//go:build cuda && cgo

package gpu

/*
#include "lt.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// workspaceBytes is what NVIDIA advises for Hopper.
const workspaceBytes = 32 << 20

// products is cuBLASLt with what it chose for each problem so far: asking takes
// tens of microseconds, more than many products.
type products struct {
	handle    unsafe.Pointer
	workspace cu.DevicePtr
	plans     map[problem]*C.lt_plan
}

// problem is what the choice of an algorithm depends on.
type problem struct {
	m, n, k                   int // row-major, as in driver.MatMul
	transA, transB            bool
	in, out                   driver.Type
	strideA, strideB, strideC int
	alignA, alignB, alignC    uint32
}

func (p *products) open() error {
	p.plans = map[problem]*C.lt_plan{}
	if code := C.lt_open(&p.handle); code != 0 {
		return fmt.Errorf("cublasLtCreate: %w", status(code))
	}
	var err error
	if p.workspace, err = cu.MemAlloc(workspaceBytes); err != nil {
		return fmt.Errorf("cuBLASLt's workspace: %w", named(err))
	}
	return nil
}

func (p *products) close() error {
	for _, plan := range p.plans {
		C.lt_free(plan)
	}
	p.plans = nil
	if p.handle != nil {
		if code := C.lt_close(p.handle); code != 0 {
			return fmt.Errorf("cublasLtDestroy: %w", status(code))
		}
	}
	if p.workspace != 0 {
		return cu.MemFree(p.workspace)
	}
	return nil
}

// status is the error of a cublasStatus_t.
type status int

func (s status) Error() string {
	name := map[status]string{
		1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED", 7: "CUBLAS_STATUS_INVALID_VALUE", 8: "CUBLAS_STATUS_ARCH_MISMATCH",
		11: "CUBLAS_STATUS_MAPPING_ERROR", 13: "CUBLAS_STATUS_EXECUTION_FAILED", 14: "CUBLAS_STATUS_INTERNAL_ERROR", 15: "CUBLAS_STATUS_NOT_SUPPORTED",
	}[s]
	if name == "" {
		return fmt.Sprintf("cuBLAS status %d", int(s))
	}
	return name
}

// MatMul queues C = alpha op(A) op(B) + beta C. A and B are of one type; C is
// float32, or bfloat16 if they are.
func (d *Device) MatMul(m driver.MatMul) {
	if err := valid(m); err != nil {
		d.misuse("MatMul of [%d, %d] = [%d, %d] [%d, %d]: %w", m.M, m.N, m.M, m.K, m.K, m.N, err)
		return
	}
	if m.M == 0 || m.N == 0 {
		return
	}
	d.do(fmt.Sprintf("MatMul [%d, %d] = [%d, %d] [%d, %d]", m.M, m.N, m.M, m.K, m.K, m.N), func() error {
		if m.K == 0 {
			return d.scale(m)
		}
		plan, err := d.products.plan(m)
		if err != nil {
			return err
		}
		// What is [M, N] in rows is [N, M] in columns: Cᵀ = op(B)ᵀ op(A)ᵀ.
		if code := C.lt_run(d.products.handle, plan, C.float(m.Alpha), C.uint64_t(m.B.Data), C.uint64_t(m.A.Data), C.float(m.Beta), C.uint64_t(m.C.Data), C.uint64_t(d.products.workspace), rawStream(d.stream)); code != 0 {
			return fmt.Errorf("cublasLtMatmul: %w", status(code))
		}
		return nil
	})
}

func valid(m driver.MatMul) error {
	if m.M < 0 || m.N < 0 || m.K < 0 {
		return fmt.Errorf("a negative size")
	}
	columns := func(rows, cols int, transposed bool) int {
		if transposed {
			return rows
		}
		return cols
	}
	for _, c := range []struct {
		name string
		a    driver.Matrix
		cols int
	}{{"A", m.A, columns(m.M, m.K, m.TransA)}, {"B", m.B, columns(m.K, m.N, m.TransB)}, {"C", m.C, m.N}} {
		if c.a.Stride < c.cols {
			return fmt.Errorf("%s has a stride of %d for %d columns", c.name, c.a.Stride, c.cols)
		}
		if c.a.Type != driver.F32 && c.a.Type != driver.BF16 {
			return fmt.Errorf("%s has type %d", c.name, c.a.Type)
		}
		if size := driver.Ptr(elementSize(c.a.Type)); c.a.Data%size != 0 {
			return fmt.Errorf("%s lies at %#x, not a multiple of %d", c.name, c.a.Data, size)
		}
	}
	if m.A.Type != m.B.Type {
		return fmt.Errorf("operands of two types")
	}
	if m.A.Type == driver.F32 && m.C.Type != driver.F32 {
		return fmt.Errorf("a product of float32 is float32")
	}
	return nil
}

func elementSize(t driver.Type) int {
	if t == driver.BF16 {
		return 2
	}
	return 4
}

// scale is a product without a K: C = beta C.
func (d *Device) scale(m driver.MatMul) error {
	switch m.Beta {
	case 1:
		return nil
	case 0:
		size := elementSize(m.C.Type)
		return cu.MemsetD2D8Async(cu.DevicePtr(m.C.Data), int64(m.C.Stride*size), 0, int64(m.N*size), int64(m.M), d.stream)
	}
	return fmt.Errorf("beta is %v and K is 0: only 0 and 1 are known", m.Beta)
}

// alignment is the largest power of two, up to 256, that divides an address.
func alignment(p driver.Ptr) uint32 {
	a := uint32(256)
	for p%driver.Ptr(a) != 0 {
		a /= 2
	}
	return a
}

// plan returns what was chosen for the problem, asking once.
func (p *products) plan(m driver.MatMul) (*C.lt_plan, error) {
	key := problem{m.M, m.N, m.K, m.TransA, m.TransB, m.A.Type, m.C.Type, m.A.Stride, m.B.Stride, m.C.Stride, alignment(m.A.Data), alignment(m.B.Data), alignment(m.C.Data)}
	if plan := p.plans[key]; plan != nil {
		return plan, nil
	}
	kind := func(t driver.Type) C.int {
		if t == driver.BF16 {
			return 14 // CUDA_R_16BF
		}
		return 0 // CUDA_R_32F
	}
	truth := func(b bool) C.int {
		if b {
			return 1
		}
		return 0
	}
	var plan *C.lt_plan
	code := C.lt_make(p.handle, &C.lt_problem{
		transa: truth(m.TransB), transb: truth(m.TransA), m: C.uint64_t(m.N), n: C.uint64_t(m.M), k: C.uint64_t(m.K), in: kind(m.A.Type), out: kind(m.C.Type),
		lda: C.int64_t(m.B.Stride), ldb: C.int64_t(m.A.Stride), ldd: C.int64_t(m.C.Stride),
		align: [3]C.uint32_t{C.uint32_t(key.alignB), C.uint32_t(key.alignA), C.uint32_t(key.alignC)}, workspace: workspaceBytes,
	}, &plan)
	switch {
	case code == -1:
		return nil, fmt.Errorf("cuBLASLt has no algorithm for %+v", key)
	case code != 0:
		return nil, fmt.Errorf("cuBLASLt's choice for %+v: %w", key, status(code))
	}
	p.plans[key] = plan
	return plan, nil
}
