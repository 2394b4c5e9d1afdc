//go:build cuda && cgo

package cudashim

/*
#cgo LDFLAGS: -L${SRCDIR}/lib -ldl -Wl,--as-needed
#include <stdlib.h>
void *shim_load(const char *path, int global, char **why);
const char *shim_lacks(int lib, void *handle, int from);
const char *shim_resolve(int lib, void *handle);
void shim_close(void *handle);
int shim_init(void *handle);
long shim_version(int lib);
*/
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"github.com/grouse-rl/grouse"
)

var (
	mu     sync.Mutex
	opened [len(table)]*Opened
)

// Opened is a library that was loaded.
type Opened struct {
	Library Library
	Path    string // of the file, as the loader names it
	Version string // "12.4.1"
	Major   int
}

// Open loads a library, once; the driver is initialized. Unavailable, with what
// was tried and how to mend it, if there is none that works. Libraries other than
// the driver are chosen to suit it, so it is opened first.
func Open(l Library) (Opened, error) {
	mu.Lock()
	defer mu.Unlock()
	return open(l)
}

func open(l Library) (Opened, error) {
	if opened[l] != nil {
		return *opened[l], nil
	}
	driverMajor := 0
	if l != Driver && opened[Driver] != nil {
		driverMajor = opened[Driver].Major
	}
	missing := &NotFound{Library: l}
	for _, path := range l.Find(os.Getenv, driverMajor) {
		handle, err := load(l, path)
		if err != nil {
			missing.Tried = append(missing.Tried, err.Error())
			continue
		}
		o := &Opened{Library: l, Path: C.GoString(C.shim_resolve(C.int(l), handle))}
		if l == Driver {
			if code := C.shim_init(handle); code != 0 {
				return Opened{}, grouse.Errorf(grouse.Unavailable, "%s: cuInit: %s", o.Path, initError(int(code))).WithFix("%s", initFix(int(code)))
			}
		}
		v := int(C.shim_version(C.int(l)))
		o.Major, o.Version = version(l, v)
		opened[l] = o
		return *o, nil
	}
	return Opened{}, grouse.Errorf(grouse.Unavailable, "%w", missing).WithFix("%s", l.HowToGet())
}

// load opens a file that has all functions of the list.
func load(l Library, path string) (unsafe.Pointer, error) {
	if l == NVRTC && filepath.IsAbs(path) {
		// NVRTC 13 looks for its builtins only where the system looks.
		builtins, err := filepath.Glob(filepath.Join(filepath.Dir(path), "libnvrtc-builtins.so."+strings.TrimPrefix(filepath.Base(path), "libnvrtc.so.")+"*"))
		if err == nil && len(builtins) > 0 {
			c := C.CString(builtins[len(builtins)-1])
			var why *C.char
			C.shim_load(c, 1, &why)
			C.free(unsafe.Pointer(why))
			C.free(unsafe.Pointer(c))
		}
	}
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	var e *C.char
	handle := C.shim_load(c, 0, &e)
	if handle == nil {
		why := C.GoString(e)
		C.free(unsafe.Pointer(e))
		if !strings.Contains(why, path) {
			why = path + ": " + why
		}
		return nil, fmt.Errorf("%s", why)
	}
	if l != Driver { // a driver of another age may lack a function that nobody calls
		if name := C.shim_lacks(C.int(l), handle, 0); name != nil {
			C.shim_close(handle)
			return nil, fmt.Errorf("%s: has no function %s", path, C.GoString(name))
		}
	}
	return handle, nil
}

// version splits what shim_version says.
func version(l Library, v int) (major int, text string) {
	if v < 0 {
		return 0, "unknown"
	}
	switch l {
	case Driver:
		return v / 1000, fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	case NVRTC:
		return v / 1000, fmt.Sprintf("%d.%d", v/1000, v%1000)
	case CuBLASLt:
		return v / 10000, fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
	default:
		return v / 10000, fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
	}
}

// initError and initFix tell cuInit's usual answers.
func initError(code int) string {
	switch code {
	case 100:
		return "there is no GPU that it can use (CUDA_ERROR_NO_DEVICE)"
	case 803:
		return "the library and the kernel's driver are of different versions (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)"
	case 999:
		return "unknown error (CUDA_ERROR_UNKNOWN)"
	}
	return fmt.Sprintf("CUDA error %d", code)
}

func initFix(code int) string {
	switch code {
	case 100:
		return "`nvidia-smi` shows the GPUs; look at CUDA_VISIBLE_DEVICES; in a container start it with the GPU (docker run --gpus all)"
	case 803:
		return "restart the machine, or load the driver that fits: `nvidia-smi` says the same error"
	}
	return "`nvidia-smi` shows whether the driver works"
}
