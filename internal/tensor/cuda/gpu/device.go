//go:build cuda && cgo

package gpu

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Options of a device.
type Options struct {
	Kernels Kernels
	// CacheDir keeps compiled kernels; empty: $XDG_CACHE_HOME/grouse/kernels.
	CacheDir string
	// Sync waits after each call; also set by GROUSE_CUDA_SYNC=1.
	Sync bool
}

// Device is one GPU with its stream, a driver.Driver.
type Device struct {
	info  Info
	calls chan func() // what the device's thread does, in order
	gone  chan struct{}

	within bool // in Capture; these are of the caller's goroutine
	closed bool

	// The rest belongs to the thread.
	opts      Options
	stream    cu.Stream
	kernels   map[string]*kernel
	source    string // where the kernels came from
	ring      *ring
	back      back
	sizes     map[driver.Ptr]int64
	pinned    map[driver.Ptr]int64
	products  products
	err       error
	recent    []string // what was asked for since the last call that waited
	capturing bool
}

var _ driver.Driver = (*Device)(nil)

// Info is what is known of a GPU without opening it.
type Info struct {
	Index        int    `json:"index"`
	Name         string `json:"name"`
	Memory       int64  `json:"memory"` // bytes
	Major, Minor int    `json:"-"`      // compute capability
}

// Arch is the architecture that kernels are compiled for: "sm_90a".
func (i Info) Arch() string {
	arch := fmt.Sprintf("sm_%d%d", i.Major, i.Minor)
	if i.Major == 9 && i.Minor == 0 {
		arch += "a" // with Hopper's own instructions
	}
	return arch
}

// MinMajor is the least compute capability that the kernels run on: their products
// of bfloat16 came with it.
const MinMajor = 8

// List returns the GPUs. Unavailable if there is no driver or no GPU.
func List() ([]Info, error) {
	if _, err := cudashim.Open(cudashim.Driver); err != nil {
		return nil, err
	}
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("count the GPUs: %w", named(err))
	}
	var out []Info
	for i := range n {
		dev, err := cu.GetDevice(i)
		if err != nil {
			return nil, fmt.Errorf("GPU %d: %w", i, named(err))
		}
		info := Info{Index: i}
		if info.Name, err = dev.Name(); err == nil {
			info.Memory, err = dev.TotalMem()
		}
		if err == nil {
			info.Major, err = dev.Attribute(cu.ComputeCapabilityMajor)
		}
		if err == nil {
			info.Minor, err = dev.Attribute(cu.ComputeCapabilityMinor)
		}
		if err != nil {
			return nil, fmt.Errorf("GPU %d: %w", i, named(err))
		}
		out = append(out, info)
	}
	return out, nil
}

// Open opens a GPU by its number.
func Open(index int, opts Options) (*Device, error) {
	list, err := List()
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= len(list) {
		return nil, grouse.Errorf(grouse.Invalid, "GPU %d: this machine shows %d", index, len(list)).WithFix("`grouse doctor` lists them; CUDA_VISIBLE_DEVICES hides some")
	}
	info := list[index]
	if info.Major < MinMajor {
		return nil, grouse.Errorf(grouse.Unavailable, "%s has compute capability %d.%d: the kernels need %d.0 (Ampere, 2020) or newer", info.Name, info.Major, info.Minor, MinMajor).
			WithFix("set trainer.backend: cpu, or use another GPU")
	}
	if _, err := cudashim.Open(cudashim.CuBLASLt); err != nil {
		return nil, err
	}
	opts.Sync = opts.Sync || os.Getenv("GROUSE_CUDA_SYNC") == "1"
	d := &Device{info: info, opts: opts, calls: make(chan func(), 4096), gone: make(chan struct{}), sizes: map[driver.Ptr]int64{}, pinned: map[driver.Ptr]int64{}}
	go d.thread()
	d.wait(func() { err = d.open() })
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("open %s: %w", info.Name, err)
	}
	return d, nil
}

// thread makes all calls of the device.
func (d *Device) thread() {
	runtime.LockOSThread() // and never unlocked: the thread ends with its context
	defer close(d.gone)
	for call := range d.calls {
		call()
	}
}

// wait does f on the thread, after all that was asked for before.
func (d *Device) wait(f func()) {
	done := make(chan struct{})
	d.calls <- func() { defer close(done); f() }
	<-done
}

// do queues a call that takes effect on the stream.
func (d *Device) do(what string, f func() error) {
	d.calls <- func() {
		if d.err != nil {
			return
		}
		if len(d.recent) == 8 {
			d.recent = slices.Delete(d.recent, 0, 1)
		}
		d.recent = append(d.recent, what)
		err := f()
		if err == nil && d.opts.Sync && !d.capturing {
			err = named(d.stream.Synchronize())
			d.recent = d.recent[:0]
		}
		if err != nil {
			d.fail(what, err)
		}
	}
}

// fail keeps the first error. It runs on the thread.
func (d *Device) fail(what string, err error) {
	if d.err != nil {
		return
	}
	err = named(err)
	before := d.recent
	if n := len(before); n > 0 && before[n-1] == what {
		before = before[:n-1]
	}
	if len(before) > 0 {
		err = fmt.Errorf("%w (it may be a fault of one before: %s; GROUSE_CUDA_SYNC=1 tells which)", err, strings.Join(before, ", "))
	}
	d.err = fmt.Errorf("%s: %s: %w", d.info.Name, what, err)
}

// misuse keeps an error of the caller.
func (d *Device) misuse(format string, args ...any) {
	d.wait(func() {
		if d.err == nil {
			d.err = fmt.Errorf("%s: "+format, append([]any{d.info.Name}, args...)...)
		}
	})
}

// settled waits for the stream. It runs on the thread.
func (d *Device) settled(what string) {
	if d.err != nil {
		return
	}
	if err := d.stream.Synchronize(); err != nil {
		d.fail(what, err)
	}
	d.recent = d.recent[:0]
}

// open takes the context and loads what is needed, on the thread.
func (d *Device) open() error {
	dev, err := cu.GetDevice(d.info.Index)
	if err != nil {
		return named(err)
	}
	ctx, err := dev.RetainPrimaryCtx()
	if err != nil {
		return fmt.Errorf("its primary context: %w", named(err))
	}
	if err := cu.SetCurrentContext(ctx); err != nil {
		return named(err)
	}
	if d.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return fmt.Errorf("a stream: %w", named(err))
	}
	if d.kernels, d.source, err = load(d.opts.Kernels, d.info, d.opts.CacheDir); err != nil {
		return err
	}
	if d.ring, err = newRing(d.stream, ringBytes); err != nil {
		return fmt.Errorf("pinned memory: %w", err)
	}
	if err := d.back.open(); err != nil {
		return err
	}
	return d.products.open()
}

// Name is "cuda/" and the architecture.
func (d *Device) Name() string { return "cuda/" + d.info.Arch() }

// Info returns what the device is.
func (d *Device) Info() Info { return d.info }

// Synchronous reports whether it waits after each call.
func (d *Device) Synchronous() bool { return d.opts.Sync }

// Kernels says where the kernels came from.
func (d *Device) Kernels() string { return d.source }

// Memory returns the device's free and total bytes.
func (d *Device) Memory() (free, total int64) {
	d.wait(func() {
		var err error
		if free, total, err = cu.MemInfo(); err != nil {
			d.fail("Memory", err)
		}
	})
	return free, total
}

// Sync waits for the stream and returns the first error.
func (d *Device) Sync() (err error) {
	if d.within {
		d.misuse("Sync within Capture")
	}
	d.wait(func() {
		d.settled("Sync")
		err = d.err
	})
	return err
}

// With calls f on the device's thread with its stream (a CUstream), for libraries
// that work on it. The error sticks.
func (d *Device) With(what string, f func(stream unsafe.Pointer) error) {
	d.do(what, func() error { return f(rawStream(d.stream)) })
}

// Close gives everything back and returns the first error. Nothing but Close may be
// called after it.
func (d *Device) Close() (err error) {
	if d.closed {
		return d.err
	}
	d.closed = true
	d.wait(func() {
		if d.stream != cu.NoStream {
			d.settled("Close")
		}
		err = d.err
		note := func(e error) {
			if e != nil && err == nil {
				err = fmt.Errorf("%s: Close: %w", d.info.Name, named(e))
			}
		}
		note(d.back.close())
		for _, p := range sortedKeys(d.pinned) {
			note(cu.MemFreeHost(onHost(p)))
		}
		for _, p := range sortedKeys(d.sizes) {
			note(cu.MemFree(cu.DevicePtr(p)))
		}
		d.sizes, d.pinned = map[driver.Ptr]int64{}, map[driver.Ptr]int64{}
		if d.ring != nil {
			note(d.ring.close())
		}
		note(d.products.close())
		if d.stream != cu.NoStream {
			note(d.stream.Destroy())
		}
		if dev, e := cu.GetDevice(d.info.Index); e == nil {
			note(dev.ReleasePrimaryCtx())
		}
	})
	close(d.calls)
	<-d.gone
	d.err = err
	return err
}
