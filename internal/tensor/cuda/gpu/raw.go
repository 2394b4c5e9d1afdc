//go:build cuda && cgo

package gpu

/*
// Driver calls that gorgonia.org/cu does not have, by our own prototypes.
typedef int CUresult;
CUresult cuMemHostAlloc(void **p, size_t bytes, unsigned flags);
CUresult cuFuncSetAttribute(void *fn, int attribute, int value);
CUresult cuStreamBeginCapture_v2(void *stream, int mode);
CUresult cuStreamEndCapture(void *stream, void **graph);
CUresult cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags);
CUresult cuGraphLaunch(void *exec, void *stream);
CUresult cuGraphDestroy(void *graph);
CUresult cuGraphExecDestroy(void *exec);
CUresult cuGetErrorName(CUresult code, const char **name);
CUresult cuGetErrorString(CUresult code, const char **text);
int nvrtcGetCUBINSize(void *program, size_t *n);
int nvrtcGetCUBIN(void *program, char *out);
const char *nvrtcGetErrorString(int code);
*/
import "C"

import (
	"fmt"
	"reflect"
	"unsafe"

	"gorgonia.org/cu"
	"gorgonia.org/cu/nvrtc"

	_ "github.com/grouse-rl/grouse/internal/cudashim" // defines the functions that cu links
)

// result is the error of a CUresult.
type result int

func (r result) Error() string {
	var name, text *C.char
	if C.cuGetErrorName(C.CUresult(r), &name) != 0 || name == nil {
		return fmt.Sprintf("CUDA error %d", int(r))
	}
	if C.cuGetErrorString(C.CUresult(r), &text) != 0 || text == nil {
		return C.GoString(name)
	}
	return fmt.Sprintf("%s: %s", C.GoString(name), C.GoString(text))
}

// Results that something is done about.
const (
	outOfMemory    result = 2
	unsupportedPTX result = 222
)

func check(code C.CUresult) error {
	if code == 0 {
		return nil
	}
	return result(code)
}

// named gives cu's errors, which are numbers of an unexported type, the driver's
// own names.
func named(err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.Kind() == reflect.Int && v.Type().PkgPath() == "gorgonia.org/cu" {
		return result(v.Int())
	}
	return err
}

func rawStream(s cu.Stream) unsafe.Pointer     { return unsafe.Pointer(s.C()) }
func rawFunction(f cu.Function) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&f)) } // its only field

// allocPinned returns host memory that the device copies from and to by itself.
func allocPinned(bytes int) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	err := check(C.cuMemHostAlloc(&p, C.size_t(bytes), 0))
	return p, err
}

// setDynamicShared allows a kernel that many bytes of dynamic shared memory.
func setDynamicShared(f cu.Function, bytes int) error {
	const maxDynamicSharedSizeBytes = 8
	return check(C.cuFuncSetAttribute(rawFunction(f), maxDynamicSharedSizeBytes, C.int(bytes)))
}

func beginCapture(s cu.Stream) error {
	const threadLocal = 1 // other threads may do what a capture forbids
	return check(C.cuStreamBeginCapture_v2(rawStream(s), threadLocal))
}

func endCapture(s cu.Stream) (graph unsafe.Pointer, err error) {
	err = check(C.cuStreamEndCapture(rawStream(s), &graph))
	return graph, err
}

func instantiate(graph unsafe.Pointer) (exec unsafe.Pointer, err error) {
	err = check(C.cuGraphInstantiateWithFlags(&exec, graph, 0))
	return exec, err
}

func launchGraph(exec unsafe.Pointer, s cu.Stream) error {
	return check(C.cuGraphLaunch(exec, rawStream(s)))
}

func destroyGraph(graph unsafe.Pointer) error { return check(C.cuGraphDestroy(graph)) }
func destroyExec(exec unsafe.Pointer) error   { return check(C.cuGraphExecDestroy(exec)) }

// cubin returns what a program was compiled to for an sm_ architecture.
func cubin(p nvrtc.Program) ([]byte, error) {
	raw := *(*unsafe.Pointer)(unsafe.Pointer(&p)) // its only field
	var n C.size_t
	if code := C.nvrtcGetCUBINSize(raw, &n); code != 0 {
		return nil, fmt.Errorf("nvrtcGetCUBINSize: %s", C.GoString(C.nvrtcGetErrorString(code)))
	}
	out := make([]byte, max(1, int(n)))
	if code := C.nvrtcGetCUBIN(raw, (*C.char)(unsafe.Pointer(&out[0]))); code != 0 {
		return nil, fmt.Errorf("nvrtcGetCUBIN: %s", C.GoString(C.nvrtcGetErrorString(code)))
	}
	return out, nil
}
