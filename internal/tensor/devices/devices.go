// Package devices opens what computes, by the name that a recipe gives it, and
// says what of it this machine has. It is the only package that knows all
// devices: without the build tag cuda there is only the processor, and no cgo.
//
//	d, err := devices.Open(devices.CUDA, 0)
//
// One binary built with the tag runs everywhere: NVIDIA's libraries are looked for
// when a GPU is asked for.
package devices

import (
	"context"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

// Names of devices, as trainer.backend has them.
const (
	CPU  = "cpu"
	CUDA = "cuda"
)

// Open returns a device. threads are the processor's, 0: all cores. The GPU is
// one for the whole process: everybody is given the same, and models on it share
// their weights. Invalid if this build does not have the device, Unavailable if
// the machine does not.
func Open(name string, threads int) (tensor.Device, error) {
	switch name {
	case CPU:
		return cpu.New(threads), nil
	case CUDA:
		return openCUDA()
	}
	return nil, grouse.Errorf(grouse.Invalid, "there is no device %q", name).WithFix("the devices are %s and %s", CPU, CUDA)
}

// Check reports what Open would, as far as that can be told without taking memory.
func Check(name string) error {
	switch name {
	case CPU:
		return nil
	case CUDA:
		return checkCUDA()
	}
	_, err := Open(name, 0)
	return err
}

// Beside returns a device for another goroutine that reads d's buffers: the GPU
// itself, which does one operation at a time, or a processor with scratch memory
// of its own.
func Beside(d tensor.Device) tensor.Device {
	if c, ok := d.(*cpu.Device); ok {
		return cpu.New(c.Threads())
	}
	return d
}

// Memory returns how much of a GPU's memory is free, and all of it, bytes; zeros
// for the processor, whose memory is the machine's.
func Memory(d tensor.Device) (free, total int64) {
	if g, ok := d.(interface{ Memory() (free, total int64) }); ok {
		return g.Memory()
	}
	return 0, 0
}

// Group lets ranks whose device is d add up and gather rows by the fastest way there is:
// NCCL between GPUs, the star itself between processors. It takes the star over.
func Group(ctx context.Context, d tensor.Device, star *collective.Star) (collective.Group, error) {
	if _, ok := d.(*cpu.Device); ok {
		return star, nil
	}
	return groupCUDA(ctx, star)
}

// Collectives is the version of the library that Group would use; empty if none.
func Collectives(d tensor.Device) (string, error) {
	if _, ok := d.(*cpu.Device); ok {
		return "", nil
	}
	return versionNCCL()
}

// Report is what this build and machine have for GPUs.
type Report struct {
	Built     bool      `json:"built"`          // with the tag cuda
	Usable    bool      `json:"usable"`         // trainer.backend: cuda would work
	GPUs      []GPU     `json:"gpus,omitempty"` //
	Libraries []Library `json:"libraries,omitempty"`
	Kernels   string    `json:"kernels,omitempty"` // where they come from
	Problem   string    `json:"problem,omitempty"` // why not
	Fix       string    `json:"fix,omitempty"`
}

// GPU is one that the driver shows.
type GPU struct {
	Index             int    `json:"index"`
	Name              string `json:"name"`
	MemoryBytes       int64  `json:"memory_bytes"`
	ComputeCapability string `json:"compute_capability"`
}

// Library is one of NVIDIA's.
type Library struct {
	Name    string `json:"name"`
	Path    string `json:"path,omitempty"`
	Version string `json:"version,omitempty"`
	Needed  bool   `json:"needed"`
	Problem string `json:"problem,omitempty"`
	Fix     string `json:"fix,omitempty"`
}

// Describe looks at the machine; a GPU is opened and closed again.
func Describe() Report { return describeCUDA() }
