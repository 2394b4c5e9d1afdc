//go:build cuda && cgo

package nccl

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/cudashim/fake"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/gpu"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/kernels/ptx"
)

// The tests run against the stand-ins of NVIDIA's libraries.
func TestMain(m *testing.M) {
	os.Setenv("FAKE_CUDA_DEVICES", "3")
	os.Exit(fake.Main(m, cudashim.EnvFolders))
}

// together runs f as three ranks.
func together(t *testing.T, f func(d *gpu.Device, rank int, id ID) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	at := address(t)
	version, err := Version()
	if err != nil {
		t.Fatal(err)
	}
	files := os.DirFS("../gpu/testdata")
	var devices []*gpu.Device
	for rank := range 3 {
		d, err := gpu.Open(rank, gpu.Options{CacheDir: t.TempDir(), Kernels: gpu.Kernels{Files: files, Main: "test.cu", Flags: ptx.Flags}})
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, d)
	}
	var wg sync.WaitGroup
	for rank, d := range devices {
		wg.Go(func() {
			id, err := Meet(ctx, at, Hello{Rank: rank, Size: 3, NCCL: version, Device: d.Name()}, UniqueID)
			if err == nil {
				err = f(d, rank, id)
			}
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		})
	}
	wg.Wait()
	for _, d := range devices {
		d.Close()
	}
}

func put(d *gpu.Device, values ...float32) driver.Ptr {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	p, err := d.Alloc(int64(len(raw)))
	if err != nil {
		panic(err)
	}
	d.Upload(p, raw)
	return p
}

func expect(d *gpu.Device, what string, p driver.Ptr, want ...float32) error {
	raw := make([]byte, 4*len(want))
	if err := d.Download(raw, p); err != nil {
		return err
	}
	got := make([]float32, len(want))
	for i := range got {
		got[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s: %v, want %v", what, got, want)
	}
	return nil
}

func TestCollectives(t *testing.T) {
	together(t, func(d *gpu.Device, rank int, id ID) error {
		c, err := Join(d, 3, rank, id)
		if err != nil {
			return err
		}
		r := float32(rank)
		a := put(d, r, 2*r, 3*r, 4, 5, 6*r)
		sum, part, all, first, most := put(d, 0, 0, 0, 0, 0, 0), put(d, 0, 0), put(d, 0, 0, 0, 0, 0, 0), put(d, 9, 9), put(d, 0)
		c.AllReduce(a, sum, 6, Float32, Sum)
		c.Group(func() {
			c.ReduceScatter(a, part, 2, Float32, Sum)
			c.AllGather(a, all, 2, Float32)
		})
		c.Broadcast(a, first, 2, Float32, 1)
		c.AllReduce(a+4, most, 1, Float32, Max)
		for _, err := range []error{
			expect(d, "AllReduce", sum, 3, 6, 9, 12, 15, 18),
			expect(d, "ReduceScatter", part, [][]float32{{3, 6}, {9, 12}, {15, 18}}[rank]...),
			expect(d, "AllGather", all, 0, 0, 1, 2, 2, 4),
			expect(d, "Broadcast", first, 1, 2),
			expect(d, "AllReduce, Max", most, 4),
			c.Err(),
		} {
			if err != nil {
				return err
			}
		}
		return c.Close()
	})
}

func TestErrorsHaveText(t *testing.T) {
	t.Setenv("FAKE_CUDA_FAIL", "ncclCommInitRank=2")
	together(t, func(d *gpu.Device, rank int, id ID) error {
		_, err := Join(d, 3, rank, id)
		if err == nil || !strings.Contains(err.Error(), "join the other GPUs: ncclCommInitRank: NCCL: unhandled system error (the stand-in was told to fail)") {
			return fmt.Errorf("Join: %v", err)
		}
		return nil
	})
}
