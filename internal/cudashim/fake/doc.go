// Package fake builds stand-ins of NVIDIA's libraries, for tests on machines
// without a GPU: device memory is the host's, and what is asked for is checked and
// done there.
//
// They are stricter than the real ones where that finds faults: streams run only
// when something waits for them (a buffer that is changed too early is noticed), a
// call from a thread without a current context fails, device memory reads as NaN
// until it is written, and every address must lie within an allocation. They know
// one kernel, axpy of ../../tensor/cuda/gpu/testdata/test.cu; others do nothing.
//
// What they cannot show: that a GPU, its driver, cuBLASLt or NCCL answers as they do.
//
// The environment steers them, at every call:
//
//	FAKE_CUDA_LOG      a file; one line is added for each call
//	FAKE_CUDA_FAIL     "cuMemAlloc=2" fails every call of it, "cuLaunchKernel@3=700"
//	                   the third; "run:axpy=700" fails when the kernel runs
//	FAKE_CUDA_DEVICES  how many GPUs there are (1)
//	FAKE_CUDA_CC       their compute capability ("9.0")
//	FAKE_CUDA_VERSION  of CUDA that the driver knows (12040)
//	FAKE_NCCL_VERSION  (22809)
package fake

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed src/*.c src/*.h
var sources embed.FS

var libraries = []struct{ source, file string }{
	{"cuda.c", "libcuda.so.1"},
	{"cublaslt.c", "libcublasLt.so.12"},
	{"nvrtc.c", "libnvrtc.so.12"},
	{"nccl.c", "libnccl.so.2"},
}

// Build compiles the libraries with gcc into dir.
func Build(dir string) error {
	if err := os.CopyFS(dir, sources); err != nil {
		return err
	}
	for _, l := range libraries {
		args := []string{"-std=gnu11", "-O1", "-g", "-Wall", "-Werror", "-shared", "-fPIC", "-pthread",
			"-Wl,-soname," + l.file, "-Wl,-rpath,$ORIGIN", "-o", filepath.Join(dir, l.file), filepath.Join(dir, "src", l.source)}
		if l.source == "cublaslt.c" || l.source == "nccl.c" {
			args = append(args, "-L"+dir, "-l:libcuda.so.1")
		}
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("gcc %s: %w\n%s", l.source, err, out)
		}
	}
	return nil
}

// Main runs a package's tests, its testing.M, with the libraries in a folder that the
// environment variable names, and returns the exit status.
func Main(tests interface{ Run() int }, variable string) int {
	dir, err := os.MkdirTemp("", "fakecuda")
	if err == nil {
		defer os.RemoveAll(dir)
		err = Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv(variable, dir)
	return tests.Run()
}
