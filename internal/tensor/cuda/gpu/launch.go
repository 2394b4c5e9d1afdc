//go:build cuda && cgo

package gpu

import (
	"fmt"
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// kernel is one function of the module.
type kernel struct {
	f       cu.Function
	dynamic int // bytes of dynamic shared memory that it was allowed
}

// Shared memory that every kernel may ask for; more must be allowed first.
const sharedForAll = 48 << 10

// Launch queues a kernel. Arguments are Ptr, int32, uint32, int64, uint64 or
// float32, as the kernel's parameters are; a wrong count or kind goes unnoticed
// here (the emulation checks them).
func (d *Device) Launch(name string, dims driver.Dims, args ...any) {
	values := make([]uint64, len(args))
	for i, a := range args {
		v, ok := pack(a)
		if !ok {
			d.misuse("kernel %s: argument %d is a %T", name, i, a)
			return
		}
		values[i] = v
	}
	g, b := ones(dims.Grid), ones(dims.Block)
	d.do(name, func() error {
		k := d.kernels[name]
		if k == nil {
			return fmt.Errorf("there is no such kernel in %s", d.source)
		}
		if dims.Shared > sharedForAll && dims.Shared > k.dynamic {
			if err := setDynamicShared(k.f, dims.Shared); err != nil {
				return fmt.Errorf("%d bytes of shared memory: %w", dims.Shared, err)
			}
			k.dynamic = dims.Shared
		}
		params := make([]unsafe.Pointer, len(values))
		for i := range values {
			params[i] = unsafe.Pointer(&values[i])
		}
		if err := k.f.Launch(g[0], g[1], g[2], b[0], b[1], b[2], dims.Shared, d.stream, params); err != nil {
			return fmt.Errorf("grid %v, block %v, %d bytes of shared memory: %w", g, b, dims.Shared, named(err))
		}
		return nil
	})
}

func ones(d [3]int) [3]int {
	for i := range d {
		d[i] = max(1, d[i])
	}
	return d
}

// pack puts an argument into 8 bytes, of which the kernel reads as many as its
// parameter has.
func pack(a any) (bits uint64, ok bool) {
	switch a := a.(type) {
	case driver.Ptr:
		return uint64(a), true
	case int32:
		return uint64(uint32(a)), true
	case uint32:
		return uint64(a), true
	case int64:
		return uint64(a), true
	case uint64:
		return a, true
	case float32:
		return uint64(math.Float32bits(a)), true
	}
	return 0, false
}
