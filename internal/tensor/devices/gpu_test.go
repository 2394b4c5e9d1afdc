//go:build cuda && cgo && linux && amd64

package devices

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/cudashim/fake"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/gpu"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/nccl"
	"github.com/grouse-rl/grouse/internal/tensor/tensortest"
)

// onGPU skips unless scripts/cuda/check.sh runs the test.
func onGPU(t *testing.T) {
	if os.Getenv("GROUSE_TEST_GPU") != "1" {
		t.Skip("needs an NVIDIA GPU: set GROUSE_TEST_GPU=1 on a machine that has one (make gpu-check)")
	}
}

// realGPU opens the GPU.
func realGPU(t *testing.T) *gpu.Device {
	t.Helper()
	set, err := kernelSet()
	if err != nil {
		t.Fatal(err)
	}
	g, err := gpu.Open(0, gpu.Options{Kernels: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, %s, kernels from %s", g.Info().Name, g.Name(), g.Kernels())
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// The bounds are those of the emulation (internal/tensor/cuda/emu_test.go).
func TestTheSuiteOnTheGPU(t *testing.T) {
	onGPU(t)
	t.Run("float32", func(t *testing.T) {
		tensortest.Run(t, cuda.New(realGPU(t), cuda.Options{Float32: true, OffloadBytes: 4096}), 1e-5)
	})
	t.Run("bf16", func(t *testing.T) {
		tensortest.Run(t, cuda.New(realGPU(t), cuda.Options{ChunkBytes: 20000, OffloadBytes: 4096}), 2e-2)
	})
}

// Products of float32 keep float32's digits (TF32 would not), and a graph repeats
// what it recorded.
func TestTheDriverOnTheGPU(t *testing.T) {
	onGPU(t)
	g := realGPU(t)
	p, err := g.Alloc(3 * 256)
	if err != nil {
		t.Fatal(err)
	}
	x := float32(1 + 1.0/4096)
	g.Upload(p, binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
	g.Clear(p+256, 4)
	one := func(at driver.Ptr) driver.Matrix { return driver.Matrix{Data: at, Stride: 1} }
	product := driver.MatMul{M: 1, N: 1, K: 1, A: one(p), B: one(p), C: one(p + 256), Alpha: 1, Beta: 1}
	read := func() float32 {
		raw := make([]byte, 4)
		if err := g.Download(raw, p+256); err != nil {
			t.Fatal(err)
		}
		return math.Float32frombits(binary.LittleEndian.Uint32(raw))
	}
	g.MatMul(product)
	if got := read(); got != x*x {
		t.Errorf("%v² is %v, want %v", x, got, x*x)
	}
	graph, err := g.Capture(func() { g.MatMul(product); g.Copy(p+512, p+256, 4) })
	if err != nil {
		t.Fatal(err)
	}
	if got := read(); got != x*x {
		t.Errorf("the capture ran: %v", got)
	}
	for range 3 {
		graph.Launch()
	}
	if got := read(); got != 4*x*x {
		t.Errorf("after three launches: %v, want %v", got, 4*x*x)
	}
	graph.Free()
	src := make([]byte, 100<<20)
	for i := range src {
		src[i] = byte(i * 7)
	}
	q, err := g.Alloc(int64(len(src)))
	if err != nil {
		t.Fatal(err)
	}
	g.Upload(q, src)
	got := make([]byte, len(src))
	if err := g.Download(got, q); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, src) {
		t.Error("100 MiB came back changed")
	}
}

// What Describe and Open say as a machine gets a driver, a GPU and cuBLASLt, by the
// stand-ins of the libraries. The order matters: what was opened stays open.
func TestAMachineByStandIns(t *testing.T) {
	if os.Getenv("GROUSE_TEST_GPU") == "1" {
		t.Skip("this process uses the real libraries")
	}
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", dir)
	if err := fake.Build(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(cudashim.EnvFolders, dir)
	t.Setenv("FAKE_CUDA_DEVICES", "0")
	if r := Describe(); !r.Built || r.Usable || len(r.GPUs) > 0 || !strings.Contains(r.Problem, "no GPU") || r.Fix == "" {
		t.Errorf("without a GPU: %+v", r)
	}
	t.Setenv("FAKE_CUDA_DEVICES", "2")
	t.Setenv(gpu.EnvKernels, "ptx") // the stand-in of NVRTC knows only the tests' kernel
	t.Setenv("FAKE_CUDA_CC", "7.5")
	if r := Describe(); r.Usable || len(r.GPUs) != 2 || !strings.Contains(r.Problem, "7.5") {
		t.Errorf("an old GPU: %+v", r)
	}
	t.Setenv("FAKE_CUDA_CC", "9.0")
	r := Describe()
	if !r.Usable || r.Kernels != "PTX for compute_90" || r.GPUs[1] != (GPU{Index: 1, Name: "Fake GPU 1", MemoryBytes: 4 << 30, ComputeCapability: "9.0"}) {
		t.Errorf("all there: %+v", r)
	}
	for _, l := range r.Libraries {
		if l.Path == "" || l.Version == "" {
			t.Errorf("%+v", l)
		}
	}
	d, err := Open(CUDA, 0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(CUDA, 0)
	if err != nil || again != d || Beside(d) != d || d.Name() != "cuda/sm_90a/bf16" {
		t.Errorf("%v, %v: %s", again, err, d.Name())
	}
	// Memory and products work on the stand-in, kernels do nothing.
	b := d.New(3)
	d.Write(b, []float32{1, 2, 3})
	got := make([]float32, 3)
	if d.Read(got, b); !slices.Equal(got, []float32{1, 2, 3}) {
		t.Errorf("%v", got)
	}
	// What is recorded asks for nothing that a stream being captured does not allow.
	in := &tensor.Decode{IDs: []int32{1, 0}, Pos: []int32{3, 4}, Slots: []tensor.Slot{{Block: 0, Offset: 3}, {Block: 1, Offset: 4}},
		Views: []tensor.View{{Row: 0, Len: 1, Pos: 3, Blocks: []int32{0}}, {Row: 1, Len: 1, Pos: 4, Blocks: []int32{1}}}}
	sh := tensor.AttentionShape{Heads: 1, KVHeads: 1, KeyDim: 64, ValueDim: 64, Scale: 1}
	cache, rope := d.NewCache(sh, 1, 2), tensor.NewRopeTable(make([]float64, 32), 1)
	w, square, x, y := d.NewMatrix(2, 64), d.NewMatrix(64, 64), d.New(2*64), d.New(2*64)
	rec := d.(tensor.Replayer).Recorder()
	pass := rec.Record(in, []tensor.Buffer{w, square}, func() {
		rec.Embed(x, w, in.IDs, 64)
		rec.Linear(y, x, square, nil, 2, 64, 64)
		rec.Rope(y, rope, in.Pos, 2, 1, 64, false)
		rec.CacheWrite(cache, 0, y, y, in.Slots)
		rec.CacheAttend(x, y, cache, 0, in.Views, nil)
	})
	if !pass.Replay(in, []tensor.Buffer{w, square}) {
		t.Error("nothing has moved, and the pass is not repeated")
	}
	pass.Free()
	d.Read(got, b) // panics if anything failed
	for _, c := range []struct {
		set  string
		none bool
	}{{"1", false}, {"0", true}} {
		t.Setenv(EnvGraphs, c.set)
		if none := construct(openedGPU).(tensor.Replayer).Recorder() == nil; none != c.none {
			t.Errorf("%s=%s: no recorder %v, want %v", EnvGraphs, c.set, none, c.none)
		}
	}
	// A group on it is NCCL's.
	if v, err := Collectives(d); err != nil || v == "" {
		t.Errorf("NCCL %q, %v", v, err)
	}
	g, err := Group(t.Context(), d, collective.Local(1)[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := g.(*nccl.Group); !ok {
		t.Errorf("%T", g)
	}
	if err := errors.Join(g.ReduceScatter(t.Context(), d, b), g.AllGather(t.Context(), d, b)); err != nil {
		t.Error(err)
	}
	if d.Read(got, b); !slices.Equal(got, []float32{1, 2, 3}) {
		t.Errorf("alone in a group: %v", got)
	}
	g.Close()
}
