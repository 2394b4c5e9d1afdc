//go:build cuda && cgo

package gpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/cudashim/fake"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/kernels/ptx"
)

// The tests run against the stand-ins of NVIDIA's libraries.
func TestMain(m *testing.M) {
	os.Exit(fake.Main(m, cudashim.EnvFolders))
}

var testKernels = Kernels{
	Files: os.DirFS("testdata"), Main: "test.cu", Names: []string{"axpy"}, Flags: ptx.Flags,
	PTX: ptx.Set{FS: os.DirFS("testdata/ptx")}.Read, Archs: ptx.Set{FS: os.DirFS("testdata/ptx")}.Archs(),
}

func open(t *testing.T) *Device {
	t.Helper()
	d, err := Open(0, Options{Kernels: testKernels, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// logged runs f and returns the lines that the libraries logged meanwhile.
func logged(t *testing.T, d *Device, f func()) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	d.wait(func() { os.Setenv("FAKE_CUDA_LOG", path) })
	f()
	d.wait(func() { os.Unsetenv("FAKE_CUDA_LOG") })
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(raw), func(r rune) bool { return r == '\n' })
}

func alloc(t *testing.T, d *Device, bytes int) driver.Ptr {
	t.Helper()
	p, err := d.Alloc(int64(bytes))
	if err != nil {
		t.Fatal(err)
	}
	if p%256 != 0 {
		t.Errorf("Alloc returned %#x, not a multiple of 256", p)
	}
	return p
}

func floats(f ...float32) []byte {
	var out []byte
	for _, x := range f {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

func read(t *testing.T, d *Device, p driver.Ptr, n int) []float32 {
	t.Helper()
	raw := make([]byte, 4*n)
	if err := d.Download(raw, p); err != nil {
		t.Fatal(err)
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

func TestWhereKernelsComeFrom(t *testing.T) {
	cache := t.TempDir()
	source := func() string {
		t.Helper()
		d, err := Open(0, Options{Kernels: testKernels, CacheDir: cache})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if d.Name() != "cuda/sm_90a" {
			t.Errorf("the device's name is %s", d.Name())
		}
		return d.Kernels()
	}
	if s := source(); s != "NVRTC 12.4 for sm_90a" {
		t.Errorf("first: %s", s)
	}
	if s := source(); !strings.HasPrefix(s, "the cache, "+cache) {
		t.Errorf("second: %s", s)
	}
	files, err := filepath.Glob(cache + "/*-sm_90a.cubin")
	if err != nil || len(files) != 1 {
		t.Fatalf("cache: %q, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("garbage"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := source(); s != "NVRTC 12.4 for sm_90a" {
		t.Errorf("after the cache was spoilt: %s", s)
	}
	t.Setenv(EnvKernels, "nvrtc")
	if s := source(); s != "NVRTC 12.4 for sm_90a" {
		t.Errorf("forced: %s", s)
	}
	t.Setenv(EnvKernels, "ptx")
	if s := source(); s != "PTX for compute_90" {
		t.Errorf("forced: %s", s)
	}
	t.Setenv("FAKE_CUDA_CC", "8.6")
	d, err := Open(0, Options{Kernels: testKernels, CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	if d.Kernels() != "PTX for compute_80" || d.Name() != "cuda/sm_86" {
		t.Errorf("on sm_86: %s, %s", d.Kernels(), d.Name())
	}
	d.Close()
	t.Setenv("FAKE_CUDA_PTX", "80") // a driver that knows PTX up to 8.0
	if _, err := Open(0, Options{Kernels: testKernels, CacheDir: cache}); err == nil || !strings.Contains(grouse.FixOf(err), "550") {
		t.Errorf("an old driver: %v; %s", err, grouse.FixOf(err))
	}
	t.Setenv("FAKE_CUDA_CC", "7.5")
	if _, err := Open(0, Options{Kernels: testKernels, CacheDir: cache}); err == nil || !strings.Contains(err.Error(), "compute capability 7.5") {
		t.Errorf("an old GPU: %v", err)
	}
	t.Setenv(EnvKernels, "cubin")
	if _, err := Open(0, Options{Kernels: testKernels, CacheDir: cache}); err == nil {
		t.Error("GROUSE_KERNELS=cubin was taken")
	}
}

func TestAFaultInTheSourcesIsToldAndNotPaperedOver(t *testing.T) {
	k := testKernels
	k.Files = fstest.MapFS{"test.cu": {Data: []byte("#error\n")}}
	_, err := Open(0, Options{Kernels: k, CacheDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "#error directive") {
		t.Errorf("%v", err)
	}
	k = testKernels
	k.Names = []string{"axpy", "absent"}
	if _, err := Open(0, Options{Kernels: k, CacheDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "kernel absent") {
		t.Errorf("%v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(1, Options{Kernels: testKernels}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("the second of one GPU: %v", err)
	}
	for call, name := range map[string]string{"cuDevicePrimaryCtxRetain": "context", "cuStreamCreate": "stream", "cuMemHostAlloc": "pinned", "cublasLtCreate": "cublasLtCreate"} {
		t.Setenv("FAKE_CUDA_FAIL", call+"=3")
		if _, err := Open(0, Options{Kernels: testKernels, CacheDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s fails: %v", call, err)
		}
	}
}

// The caller's bytes may change at once, and the ring goes round.
func TestTransfers(t *testing.T) {
	d := open(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 3, 256, 257, smallBytes, smallBytes + 1, ringBytes / 4, ringBytes/4 + 1, 2*ringBytes + 12345} {
		p := alloc(t, d, n)
		src := make([]byte, n)
		for i := 0; i+8 <= n; i += 8 {
			binary.LittleEndian.PutUint64(src[i:], rng.Uint64())
		}
		src[n-1] = 7
		want := slices.Clone(src)
		d.Upload(p, src)
		clear(src)
		got := make([]byte, n)
		if err := d.Download(got, p); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d bytes came back changed", n)
		}
		d.Free(p)
	}
	// Many small ones without waiting between: more than the ring holds.
	const n = 3 * ringBytes / smallBytes
	p := alloc(t, d, n*smallBytes)
	buf := make([]byte, smallBytes)
	for i := range n {
		for j := range buf {
			buf[j] = byte(i + j)
		}
		d.Upload(p+driver.Ptr(i*smallBytes), buf)
	}
	got := make([]byte, n*smallBytes)
	if err := d.Download(got, p); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != byte(i/smallBytes+i%smallBytes) {
			t.Fatalf("byte %d is %d", i, got[i])
		}
	}
}

func TestMemory(t *testing.T) {
	d := open(t)
	before, total := d.Memory()
	p, q := alloc(t, d, 1000), alloc(t, d, 1000)
	if free, _ := d.Memory(); free != before-2000 || total != 4<<30 {
		t.Errorf("%d free of %d, before %d", free, total, before)
	}
	d.Upload(p, floats(1, 2, 3, 4))
	d.Copy(q+4, p, 12)
	d.Clear(q, 8)
	if got := read(t, d, q, 4); !slices.Equal(got, []float32{0, 0, 2, 3}) {
		t.Errorf("%v", got)
	}
	d.Free(q)
	if _, err := d.Alloc(5 << 30); grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "5.00 GiB asked for") || grouse.FixOf(err) == "" {
		t.Errorf("too much: %v", err)
	}
	if _, err := d.Alloc(0); err == nil {
		t.Error("Alloc of nothing")
	}
	if err := d.Sync(); err != nil {
		t.Errorf("a refused Alloc stuck: %v", err)
	}
	d.Free(q)
	if err := d.Sync(); err == nil || !strings.Contains(err.Error(), "was not allocated") {
		t.Errorf("Free of what was freed: %v", err)
	}
}

// Memory of the host goes to the device in order, and back on a stream of its own: a Store
// copies what was there when it was asked for, also if the host is far ahead, and what
// follows waits for it only where it is told to. The stand-in does nothing before it must.
func TestStoresGoBeside(t *testing.T) {
	d := open(t)
	const n = 1000
	host := make([]driver.Ptr, 3)
	for i := range host {
		var err error
		if host[i], err = d.AllocHost(4 * n); err != nil || host[i]%256 != 0 {
			t.Fatalf("%#x, %v", host[i], err)
		}
	}
	one, y, z := alloc(t, d, 4*n), alloc(t, d, 4*n), alloc(t, d, 4*n)
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	d.Upload(one, floats(ones...))
	add := func(y driver.Ptr, by float32) {
		d.Launch("axpy", driver.Dims{Block: [3]int{32}}, y, one, by, int64(n), int32(0))
	}
	lines := logged(t, d, func() {
		d.Clear(y, 4*n)
		add(y, 1)
		d.Store(host[0], y, 4*n) // 1
		d.Clear(z, 4*n)
		add(z, 2)
		d.Store(host[1], z, 4*n) // 2
		d.Settle(1)              // y may be changed, z not yet
		add(y, 10)
		d.Store(host[2], y, 4*n) // 11
		d.Settle(1)
		add(z, 20)
		d.Settle(0)
		d.Fetch(y, host[0], 4*n)
		add(y, 100)
		d.Store(host[0], y, 4*n) // 101
		d.Settle(0)
		d.Settle(0)
		d.Fetch(z, host[0], 4*n)
		d.Sync()
	})
	waits := 0
	for _, l := range lines {
		if l == "wait" {
			waits++
		}
	}
	if waits != 8 { // each Store for the compute stream, that for each Settle but the last
		t.Errorf("%d waits:\n%s", waits, strings.Join(lines, "\n"))
	}
	if got := read(t, d, z, n); got[0] != 101 || got[n-1] != 101 {
		t.Errorf("z is %v", got[0])
	}
	for i, want := range []float32{101, 2, 11} {
		d.Fetch(y, host[i], 4*n)
		if got := read(t, d, y, n); got[0] != want || got[n-1] != want {
			t.Errorf("host memory %d is %v, want %v", i, got[0], want)
		}
	}
	d.Store(host[0]+4, y, 4*n-4)
	d.FreeHost(host[0])
	d.Fetch(y, host[1], 4*n)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	d.FreeHost(host[0])
	if err := d.Sync(); err == nil || !strings.Contains(err.Error(), "was not allocated") {
		t.Errorf("FreeHost of what was freed: %v", err)
	}
}

// A machine that pins no memory is told of; that does not stick.
func TestNoHostMemory(t *testing.T) {
	d := open(t)
	t.Setenv("FAKE_CUDA_FAIL", "cuMemHostAlloc=2")
	if _, err := d.AllocHost(1 << 30); grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "1.00 GiB of pinned host memory") || !strings.Contains(grouse.FixOf(err), "trainer.offload_moments") {
		t.Errorf("%v; %s", err, grouse.FixOf(err))
	}
	if err := d.Sync(); err != nil {
		t.Errorf("a refused AllocHost stuck: %v", err)
	}
}

func TestLaunchPassesArguments(t *testing.T) {
	d := open(t)
	x, y := alloc(t, d, 16), alloc(t, d, 16)
	d.Upload(x, floats(1, 2, 3, 4))
	d.Upload(y, floats(10, 20, 30, 40))
	lines := logged(t, d, func() {
		d.Launch("axpy", driver.Dims{Grid: [3]int{3}, Block: [3]int{64, 2}, Shared: 100}, y, x, float32(-0.5), int64(3), int32(-2))
		d.Launch("axpy", driver.Dims{Block: [3]int{32}, Shared: 100 << 10}, y, x, float32(0), int64(0), uint32(0))
		d.Launch("axpy", driver.Dims{Block: [3]int{32}, Shared: 60 << 10}, y, x, float32(0), uint64(0), int32(0))
	})
	want := []string{
		fmt.Sprintf("launch axpy grid=3,1,1 block=64,2,1 shared=100 8:%x 8:%x 4:bf000000 8:3 4:fffffffe", y, x),
		"dynamic axpy 102400",
		fmt.Sprintf("launch axpy grid=1,1,1 block=32,1,1 shared=102400 8:%x 8:%x 4:0 8:0 4:0", y, x),
		fmt.Sprintf("launch axpy grid=1,1,1 block=32,1,1 shared=61440 8:%x 8:%x 4:0 8:0 4:0", y, x),
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if got := read(t, d, y, 4); !slices.Equal(got, []float32{7.5, 17, 26.5, 40}) {
		t.Errorf("%v", got)
	}
}

func TestErrorsStick(t *testing.T) {
	type step = func(d *Device, x driver.Ptr)
	launch := func(d *Device, x driver.Ptr) {
		d.Launch("axpy", driver.Dims{Block: [3]int{32}}, x, x, float32(1), int64(4), int32(0))
	}
	for _, c := range []struct {
		name, fail, sync string
		steps            []step
		want, not        string
	}{
		{name: "a kernel's fault is told later", fail: "run:axpy=700", steps: []step{launch, func(d *Device, x driver.Ptr) { d.Clear(x, 4) }}, want: "Sync: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered (it may be a fault of one before: axpy, Clear"},
		{name: "or at once", fail: "run:axpy=700", sync: "1", steps: []step{func(d *Device, x driver.Ptr) { d.Clear(x, 4) }, launch}, want: "Fake GPU 0: axpy: CUDA_ERROR_ILLEGAL_ADDRESS", not: "one before"},
		{name: "a launch that is refused", fail: "cuLaunchKernel=1", steps: []step{launch}, want: "axpy: grid [1 1 1], block [32 1 1]"},
		{name: "an unknown kernel", steps: []step{func(d *Device, x driver.Ptr) { d.Launch("nope", driver.Dims{}) }}, want: "nope: there is no such kernel"},
		{name: "an argument of another type", steps: []step{func(d *Device, x driver.Ptr) { d.Launch("axpy", driver.Dims{}, x, 3) }}, want: "kernel axpy: argument 1 is a int"},
		{name: "too large a block", steps: []step{func(d *Device, x driver.Ptr) {
			d.Launch("axpy", driver.Dims{Block: [3]int{2048}}, x, x, float32(1), int64(4), int32(0))
		}}, want: "INVALID_VALUE"},
		{name: "memory that is not ours", steps: []step{func(d *Device, x driver.Ptr) { d.Copy(x, 4096, 4) }}, want: "Copy: CUDA_ERROR_INVALID_VALUE"},
		{name: "a product of two types", steps: []step{func(d *Device, x driver.Ptr) {
			d.MatMul(driver.MatMul{M: 1, N: 1, K: 1, A: driver.Matrix{Data: x, Stride: 1}, B: driver.Matrix{Data: x, Stride: 1, Type: driver.BF16}, C: driver.Matrix{Data: x, Stride: 1}})
		}}, want: "two types"},
		{name: "a product that cuBLASLt refuses", fail: "cublasLtMatmul=13", steps: []step{func(d *Device, x driver.Ptr) {
			m := driver.Matrix{Data: x, Stride: 1}
			d.MatMul(driver.MatMul{M: 1, N: 1, K: 1, A: m, B: m, C: m, Alpha: 1})
		}}, want: "MatMul [1, 1] = [1, 1] [1, 1]: cublasLtMatmul: CUBLAS_STATUS_EXECUTION_FAILED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("GROUSE_CUDA_SYNC", c.sync)
			d := open(t)
			x := alloc(t, d, 16)
			d.Upload(x, floats(1, 2, 3, 4))
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			d.wait(func() { os.Setenv("FAKE_CUDA_FAIL", c.fail) })
			defer os.Unsetenv("FAKE_CUDA_FAIL")
			for _, s := range c.steps {
				s(d, x)
			}
			err := d.Sync()
			if err == nil || !strings.Contains(err.Error(), c.want) || c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			os.Unsetenv("FAKE_CUDA_FAIL")
			if lines := logged(t, d, func() { d.Clear(x, 4); launch(d, x); d.Upload(x, []byte{1}) }); len(lines) > 0 {
				t.Errorf("after the error: %q", lines)
			}
			if err2 := d.Download(make([]byte, 4), x); err2 == nil || err2.Error() != err.Error() {
				t.Errorf("Download: %v", err2)
			}
			if _, err2 := d.Alloc(4); err2 == nil || err2.Error() != err.Error() {
				t.Errorf("Alloc: %v", err2)
			}
			if err2 := d.Close(); err2 == nil || err2.Error() != err.Error() {
				t.Errorf("Close: %v", err2)
			}
			if err := open(t).Sync(); err != nil {
				t.Errorf("a new device: %v", err)
			}
		})
	}
}

func TestCapture(t *testing.T) {
	d := open(t)
	x, y, c := alloc(t, d, 16), alloc(t, d, 16), alloc(t, d, 16)
	product := driver.MatMul{M: 2, N: 2, K: 2, A: driver.Matrix{Data: x, Stride: 2}, B: driver.Matrix{Data: y, Stride: 2}, C: driver.Matrix{Data: c, Stride: 2}, Alpha: 1}
	d.Upload(x, floats(1, 2, 3, 4))
	d.Upload(y, floats(1, 0, 0, 1))
	g, err := d.Capture(func() {
		d.Launch("axpy", driver.Dims{Block: [3]int{32}}, y, x, float32(1), int64(4), int32(0)) // y += x
		d.MatMul(product)
		d.Clear(x, 4)
		d.Copy(x+4, c, 4)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, d, y, 4); !slices.Equal(got, []float32{1, 0, 0, 1}) {
		t.Fatalf("the capture ran: %v", got)
	}
	lines := logged(t, d, func() { g.Launch(); g.Launch() })
	if !slices.Equal(lines, []string{"graph 4", "graph 4"}) {
		t.Errorf("%q", lines)
	}
	// y = I + x = [2 2; 3 5], c = x y, x = [0 c0 3 4]; then once more.
	// c = [1 2; 3 4] [2 2; 3 5] = [8 12; 18 26], x = [0 8; 3 4]; y = [2 10; 6 9], c = [0 8; 3 4] y = [48 72; 30 66].
	if got := read(t, d, c, 4); !slices.Equal(got, []float32{48, 72, 30, 66}) {
		t.Errorf("%v", got)
	}
	if got := read(t, d, x, 4); !slices.Equal(got, []float32{0, 48, 3, 4}) {
		t.Errorf("%v", got)
	}
	g.Free()
	g.Free()
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

func TestWhatACaptureForbids(t *testing.T) {
	for name, f := range map[string]func(d *Device, x driver.Ptr){
		"Alloc":     func(d *Device, x driver.Ptr) { d.Alloc(4) },
		"Free":      func(d *Device, x driver.Ptr) { d.Free(x) },
		"Upload":    func(d *Device, x driver.Ptr) { d.Upload(x, []byte{1}) },
		"Download":  func(d *Device, x driver.Ptr) { d.Download([]byte{1}, x) },
		"AllocHost": func(d *Device, x driver.Ptr) { d.AllocHost(4) },
		"FreeHost":  func(d *Device, x driver.Ptr) { d.FreeHost(x) },
		"Fetch":     func(d *Device, x driver.Ptr) { d.Fetch(x, x, 4) },
		"Store":     func(d *Device, x driver.Ptr) { d.Store(x, x, 4) },
		"Settle":    func(d *Device, x driver.Ptr) { d.Settle(0) },
		"Sync":      func(d *Device, x driver.Ptr) { d.Sync() },
		"Capture":   func(d *Device, x driver.Ptr) { d.Capture(func() {}) },
	} {
		d := open(t)
		x := alloc(t, d, 16)
		g, err := d.Capture(func() { f(d, x) })
		if err == nil || g != nil || !strings.Contains(err.Error(), name+" within Capture") {
			t.Errorf("%s: %v", name, err)
		}
		d.Close()
	}
	d := open(t)
	x := alloc(t, d, 16)
	t.Setenv("FAKE_CUDA_FAIL", "cuLaunchKernel=1")
	if _, err := d.Capture(func() { d.Launch("axpy", driver.Dims{}, x, x, float32(1), int64(1), int32(0)) }); err == nil || !strings.Contains(err.Error(), "axpy") {
		t.Errorf("%v", err)
	}
}

// host is a matrix with its values here.
type host struct {
	v []float32
	driver.Matrix
}

func element(h host, i, j int, transposed bool) float32 {
	if transposed {
		i, j = j, i
	}
	return h.v[i*h.Stride+j]
}

func TestMatMul(t *testing.T) {
	d := open(t)
	rng := rand.New(rand.NewPCG(3, 4))
	const M, N, K = 5, 7, 6
	for _, types := range [][2]driver.Type{{driver.F32, driver.F32}, {driver.BF16, driver.F32}, {driver.BF16, driver.BF16}} {
		for i := range 8 {
			transA, transB := i&1 != 0, i&2 != 0
			beta := float32(i >> 2) // 0, 1
			alpha := float32(0.5)
			make := func(rows, cols int, typ driver.Type, offset int) host {
				stride := cols + 3
				v := make([]float32, rows*stride)
				for i := range v {
					v[i] = float32(rng.IntN(9) - 4) // sums are exact
				}
				size := elementSize(typ)
				p := alloc(t, d, len(v)*size+offset)
				var raw []byte
				for _, f := range v {
					if typ == driver.BF16 {
						raw = binary.LittleEndian.AppendUint16(raw, uint16(math.Float32bits(f)>>16))
					} else {
						raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
					}
				}
				d.Upload(p+driver.Ptr(offset), raw)
				return host{v, driver.Matrix{Data: p + driver.Ptr(offset), Type: typ, Stride: stride}}
			}
			dims := func(r, c int, transposed bool) (int, int) {
				if transposed {
					return c, r
				}
				return r, c
			}
			ar, ac := dims(M, K, transA)
			br, bc := dims(K, N, transB)
			a, b, c := make(ar, ac, types[0], 8), make(br, bc, types[0], 0), make(M, N, types[1], 16)
			lines := logged(t, d, func() {
				for range 2 {
					d.MatMul(driver.MatMul{M: M, N: N, K: K, A: a.Matrix, B: b.Matrix, C: c.Matrix, TransA: transA, TransB: transB, Alpha: alpha, Beta: beta})
				}
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
			})
			letter := map[bool]string{false: "N", true: "T"}
			want := []string{
				fmt.Sprintf("heuristic %s%s m=7 n=5 type=%d->%d workspace=33554432 reduction=2 align=256,8,16,16", letter[transB], letter[transA], 14*types[0], 14*types[1]),
				fmt.Sprintf("matmul %s%s m=7 n=5", letter[transB], letter[transA]), fmt.Sprintf("matmul %s%s m=7 n=5", letter[transB], letter[transA]),
			}
			if beta != 0 {
				want = want[1:] // the choice was made: it does not depend on alpha and beta
			}
			if !slices.Equal(lines, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
			}
			raw := append([]byte(nil), floats(c.v...)...)
			if types[1] == driver.BF16 {
				raw = raw[:2*len(c.v)]
			}
			if err := d.Download(raw, c.Data); err != nil {
				t.Fatal(err)
			}
			for i := range M {
				for j := range N + 3 {
					want := c.v[i*c.Stride+j]
					if j < N {
						var sum float32
						for k := range K {
							sum += element(a, i, k, transA) * element(b, k, j, transB)
						}
						for range 2 {
							want = alpha*sum + beta*want
						}
					}
					var got float32
					if at := i*c.Stride + j; types[1] == driver.BF16 {
						got = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*at:])) << 16)
					} else {
						got = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*at:]))
					}
					if got != want {
						t.Fatalf("types %v, transA %v, transB %v, beta %v: C[%d, %d] = %v, want %v", types, transA, transB, beta, i, j, got, want)
					}
				}
			}
		}
	}
}

func TestMatMulWithoutAnInnerSize(t *testing.T) {
	d := open(t)
	c := alloc(t, d, 24)
	d.Upload(c, floats(1, 2, 3, 4, 5, 6))
	m := driver.MatMul{M: 2, N: 2, A: driver.Matrix{Data: c}, B: driver.Matrix{Data: c, Stride: 2}, C: driver.Matrix{Data: c, Stride: 3}, Alpha: 1, Beta: 1}
	d.MatMul(m)
	if got := read(t, d, c, 6); !slices.Equal(got, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("%v", got)
	}
	m.Beta = 0
	d.MatMul(m)
	m.M, m.K, m.A.Stride = 0, 5, 5
	d.MatMul(m)
	if got := read(t, d, c, 6); !slices.Equal(got, []float32{0, 0, 3, 0, 0, 6}) {
		t.Errorf("%v", got)
	}
}
