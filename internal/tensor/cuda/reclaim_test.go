//go:build emu

package cuda_test

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/emu"
)

// A buffer that nobody freed and nobody holds does not stand in the way of the
// next one; what is held makes a failure that says so.
func TestDroppedMemoryComesBack(t *testing.T) {
	d := cuda.New(emu.New(emu.Options{Bytes: 10 << 20}), cuda.Options{SlabBytes: 1 << 20})
	for range 20 {
		d.Zero(d.New(1 << 20)) // 4 MiB
	}
	a, b := d.New(1<<20), d.New(1<<20)
	defer func() {
		f, ok := recover().(*cuda.Failure)
		if !ok || !strings.Contains(f.Error(), "out of memory") || !strings.Contains(f.Error(), "8388608 in use") {
			t.Errorf("the third buffer: %v", f)
		}
		d.Free(a)
		d.Free(b)
	}()
	d.New(1 << 20)
}
