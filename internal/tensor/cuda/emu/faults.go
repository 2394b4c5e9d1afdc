//go:build emu

package emu

/*
#include <stdlib.h>
#include "emu.h"
*/
import "C"

import "unsafe"

// The kernels of faults.cc have the bugs that the emulation is to find; only its
// own tests launch them.

func launchOn(kernel string, o Order, out *float32) {
	name := C.CString(kernel)
	defer C.free(unsafe.Pointer(name))
	p := C.emu_alloc(4)
	defer C.emu_free(p)
	grid, block := [3]C.int{1, 1, 1}, [3]C.int{64, 1, 1}
	args := [1]C.uint64_t{p}
	C.emu_launch(name, &grid[0], &block[0], 256, &args[0], C.int(o), 1)
	C.emu_download(unsafe.Pointer(out), p, 4)
}

func launchFault(kernel string) {
	var out float32
	launchOn(kernel, Forward, &out)
}

func launchSum(o Order, missing bool) (sum float32) {
	kernel := "fault_none"
	if missing {
		kernel = "fault_no_barrier"
	}
	launchOn(kernel, o, &sum)
	return sum
}

func launchPoison() (v float32) {
	launchOn("fault_unwritten", Forward, &v)
	return v
}
