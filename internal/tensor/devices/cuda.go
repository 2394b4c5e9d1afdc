//go:build cuda && cgo && linux && amd64

package devices

import (
	"context"
	"fmt"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/gpu"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/nccl"
)

var (
	mu        sync.Mutex
	opened    tensor.Device
	openedGPU *gpu.Device // what opened works with
)

// openCUDA opens the first GPU that the driver shows (CUDA_VISIBLE_DEVICES picks).
func openCUDA() (tensor.Device, error) {
	mu.Lock()
	defer mu.Unlock()
	if opened != nil {
		return opened, nil
	}
	if err := checkCUDA(); err != nil {
		return nil, err
	}
	set, err := kernelSet()
	if err != nil {
		return nil, err
	}
	g, err := gpu.Open(0, gpu.Options{Kernels: set})
	if err != nil {
		return nil, err
	}
	opened, openedGPU = construct(g), g
	return opened, nil
}

// groupCUDA joins the ranks' GPUs, each the one that its process has opened.
func groupCUDA(ctx context.Context, star *collective.Star) (collective.Group, error) {
	mu.Lock()
	g := openedGPU
	mu.Unlock()
	return nccl.NewGroup(ctx, g, star)
}

func versionNCCL() (string, error) { return nccl.Version() }

func checkCUDA() error {
	if _, err := kernelSet(); err != nil {
		return err
	}
	list, err := gpu.List()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return grouse.Errorf(grouse.Unavailable, "this machine shows no GPU").WithFix("look at CUDA_VISIBLE_DEVICES, or compute on the processor: trainer.backend: cpu")
	}
	_, err = cudashim.Open(cudashim.CuBLASLt)
	return err
}

func describeCUDA() Report {
	r := Report{Built: true}
	for _, l := range cudashim.Libraries {
		lib := Library{Name: l.String(), Needed: l.Needed()}
		if o, err := cudashim.Open(l); err != nil {
			lib.Problem, lib.Fix = err.Error(), grouse.FixOf(err)
		} else {
			lib.Path, lib.Version = o.Path, o.Version
		}
		r.Libraries = append(r.Libraries, lib)
	}
	list, err := gpu.List()
	for _, i := range list {
		r.GPUs = append(r.GPUs, GPU{Index: i.Index, Name: i.Name, MemoryBytes: i.Memory, ComputeCapability: fmt.Sprintf("%d.%d", i.Major, i.Minor)})
	}
	if err == nil {
		err = checkCUDA()
	}
	if err == nil {
		r.Kernels, err = tryKernels()
	}
	if err != nil {
		r.Problem, r.Fix = err.Error(), grouse.FixOf(err)
	}
	r.Usable = err == nil
	return r
}

// tryKernels opens a GPU far enough to know that its kernels load.
func tryKernels() (source string, err error) {
	set, err := kernelSet()
	if err != nil {
		return "", err
	}
	g, err := gpu.Open(0, gpu.Options{Kernels: set})
	if err != nil {
		return "", err
	}
	return g.Kernels(), g.Close()
}
