//go:build emu

package emu

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Every kernel of package kernels is compiled in, under its name.
func TestEveryKernelIsThere(t *testing.T) {
	if m := Missing(); len(m) > 0 {
		t.Errorf("not compiled: %v", m)
	}
}

func floats(x []float32) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x)) }

func alloc(t *testing.T, e *Emu, x []float32) driver.Ptr {
	t.Helper()
	p, err := e.Alloc(int64(4 * len(x)))
	if err != nil {
		t.Fatal(err)
	}
	e.Upload(p, floats(x))
	return p
}

func read(t *testing.T, e *Emu, p driver.Ptr, n int) []float32 {
	t.Helper()
	x := make([]float32, n)
	if err := e.Download(floats(x), p); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestCaptureRepeats(t *testing.T) {
	e := New(Options{})
	a, b := alloc(t, e, []float32{1, 2, 3}), alloc(t, e, []float32{10, 20, 30})
	d := driver.Dims{Grid: [3]int{1}, Block: [3]int{32}}
	g, err := e.Capture(func() {
		e.Launch("add_vectors", d, a, a, b, int64(3))
		e.MatMul(driver.MatMul{M: 1, N: 1, K: 3, A: driver.Matrix{Data: a, Stride: 3}, B: driver.Matrix{Data: b, Stride: 3}, TransB: true, C: driver.Matrix{Data: b, Stride: 1}, Alpha: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, e, a, 3); !slices.Equal(got, []float32{1, 2, 3}) {
		t.Errorf("capturing already computed: %v", got)
	}
	g.Launch()
	if got, want := read(t, e, b, 1), []float32{11*10 + 22*20 + 33*30}; !slices.Equal(got, want) {
		t.Errorf("after one launch: %v, want %v", got, want)
	}
	g.Launch()
	if got := read(t, e, a, 3); !slices.Equal(got, []float32{1551, 42, 63}) {
		t.Errorf("after two launches: %v", got)
	}
	// What lies at an address may change, the address may not be given back.
	e.Upload(a, floats([]float32{1, 2, 3}))
	g.Launch()
	if got := read(t, e, a, 3); !slices.Equal(got, []float32{1 + 1551*1540 + 42*20 + 63*30, 22, 33}) {
		t.Errorf("after a launch with other numbers: %v", got)
	}
	e.Free(a)
	alloc(t, e, []float32{1, 2, 3})
	g.Launch()
	if err := e.Sync(); err == nil || !strings.Contains(err.Error(), "kernel add_vectors refers to memory") {
		t.Errorf("a graph of memory that was given back: %v", err)
	}
}

// What a stream that is being captured does not allow.
func TestNotWithinCapture(t *testing.T) {
	for what, f := range map[string]func(e *Emu, p driver.Ptr){
		"Alloc":    func(e *Emu, p driver.Ptr) { _, _ = e.Alloc(4) },
		"Free":     func(e *Emu, p driver.Ptr) { e.Free(p) },
		"Upload":   func(e *Emu, p driver.Ptr) { e.Upload(p, []byte{0}) },
		"Download": func(e *Emu, p driver.Ptr) { _ = e.Download(make([]byte, 4), p) },
		"Sync":     func(e *Emu, p driver.Ptr) { _ = e.Sync() },
	} {
		e := New(Options{})
		p := alloc(t, e, []float32{1})
		if _, err := e.Capture(func() { f(e, p) }); err == nil || !strings.Contains(err.Error(), what+" within Capture") {
			t.Errorf("%s was captured: %v", what, err)
		}
	}
}

// What a GPU would answer with wrong numbers, or not at all.
func TestMistakesAreErrors(t *testing.T) {
	block := driver.Dims{Grid: [3]int{1}, Block: [3]int{32}}
	for want, f := range map[string]func(e *Emu, p driver.Ptr){
		`no kernel "nothing"`:   func(e *Emu, p driver.Ptr) { e.Launch("nothing", block) },
		"takes pppl, was given": func(e *Emu, p driver.Ptr) { e.Launch("add_vectors", block, p, p, p, int32(1)) },
		"whole warps":           func(e *Emu, p driver.Ptr) { e.Launch("add_vectors", driver.Dims{Block: [3]int{33}}, p, p, p, int64(1)) },
		"not in an allocation":  func(e *Emu, p driver.Ptr) { e.Clear(p+8, 8) },
		"was not allocated":     func(e *Emu, p driver.Ptr) { e.Free(p + 4) },
		"a stride of 1 for 2": func(e *Emu, p driver.Ptr) {
			e.MatMul(driver.MatMul{M: 1, N: 2, K: 1, A: driver.Matrix{Data: p, Stride: 1}, B: driver.Matrix{Data: p, Stride: 2}, C: driver.Matrix{Data: p, Stride: 1}})
		},
		"MatMul's B: 24 bytes": func(e *Emu, p driver.Ptr) {
			e.MatMul(driver.MatMul{M: 1, N: 2, K: 3, A: driver.Matrix{Data: p, Stride: 3}, B: driver.Matrix{Data: p, Stride: 2}, C: driver.Matrix{Data: p, Stride: 2}})
		},
		"out of memory: 5000000": func(e *Emu, p driver.Ptr) { _, err := e.Alloc(5000000); e.fail("%w", err) },
	} {
		e := New(Options{Bytes: 1 << 20})
		p, err := e.Alloc(12)
		if err != nil {
			t.Fatal(err)
		}
		f(e, p)
		if err := e.Sync(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
		e.Launch("add_vectors", block, p, p, p, int64(1)) // after an error: nothing
	}
}

func TestMatMulRoundsTo16Bits(t *testing.T) {
	e := New(Options{})
	half, err := e.Alloc(8)
	if err != nil {
		t.Fatal(err)
	}
	x := alloc(t, e, []float32{1.00390625, 1.01171875, 3, 4})
	e.Launch("cast_to_bf16", driver.Dims{Block: [3]int{32}}, half, x, int64(4)) // 1, 1.015625, 3, 4
	y := alloc(t, e, []float32{7, 7, 7, 7})
	e.MatMul(driver.MatMul{M: 2, N: 2, K: 1, A: driver.Matrix{Data: half, Type: driver.BF16, Stride: 2}, TransA: true, B: driver.Matrix{Data: half + 4, Type: driver.BF16, Stride: 2}, C: driver.Matrix{Data: y, Stride: 2}, Alpha: 2, Beta: 1})
	if got, want := read(t, e, y, 4), []float32{13, 15, 7 + 6*1.015625, 7 + 8*1.015625}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// faults are kernels and what their end says.
var faults = map[string]string{
	"fault_divergence": "threads wait at a barrier that the others never reach",
	"fault_lines":      "threads stand at barriers of different lines",
	"fault_half_warp":  "a warp operation with 16 of 32 lanes",
}

// Faults of a kernel end the process with a message that names it.
func TestFaultsEndTheProcess(t *testing.T) {
	if kernel := os.Getenv("GROUSE_EMU_FAULT"); kernel != "" {
		launchFault(kernel)
		os.Exit(0)
	}
	for kernel, want := range faults {
		cmd := exec.Command(os.Args[0], "-test.run=TestFaultsEndTheProcess")
		cmd.Env = append(os.Environ(), "GROUSE_EMU_FAULT="+kernel)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || (!strings.Contains(string(out), kernel) && !sanitized) {
			t.Errorf("%s: %v; want %q and its name in:\n%.300s", kernel, err, want, out)
		}
	}
}

// A reduction without a barrier has another result in every order; with one it has
// one.
func TestOrdersShowAMissingBarrier(t *testing.T) {
	for missing, want := range map[bool]int{true: 2, false: 1} {
		seen := map[float32]bool{}
		for _, o := range []Order{Forward, Reverse, Scattered} {
			seen[launchSum(o, missing)] = true
		}
		if (missing && len(seen) < want) || (!missing && (len(seen) != 1 || !seen[64])) {
			t.Errorf("barrier missing %v: results %v", missing, seen)
		}
	}
}

// Shared memory that nobody wrote reads as NaN.
func TestSharedMemoryIsPoisoned(t *testing.T) {
	if v := launchPoison(); v == v {
		t.Errorf("unwritten shared memory reads as %v", v)
	}
}
