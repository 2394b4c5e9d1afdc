//go:build cuda && cgo

package nccl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/cudashim/fake"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
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
func together(t *testing.T, f func(d *gpu.Device, star *collective.Star) error) {
	t.Helper()
	files := os.DirFS("../gpu/testdata")
	var devices []*gpu.Device
	for rank := range 3 {
		d, err := gpu.Open(rank, gpu.Options{CacheDir: t.TempDir(), Kernels: gpu.Kernels{Files: files, Main: "test.cu", Flags: ptx.Flags}})
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, d)
	}
	stars := collective.Local(3)
	var wg sync.WaitGroup
	for rank, d := range devices {
		wg.Go(func() {
			if err := f(d, stars[rank]); err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		})
	}
	wg.Wait()
	for rank, d := range devices {
		stars[rank].Close()
		d.Close()
	}
}

// unique is rank 0's id at every rank.
func unique(star *collective.Star) (id ID, err error) {
	if star.Rank() == 0 {
		if id, err = UniqueID(); err != nil {
			return id, err
		}
	}
	raw, err := star.Broadcast(context.Background(), id[:])
	copy(id[:], raw)
	return id, err
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
	together(t, func(d *gpu.Device, star *collective.Star) error {
		rank := star.Rank()
		id, err := unique(star)
		if err != nil {
			return err
		}
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
	together(t, func(d *gpu.Device, star *collective.Star) error {
		id, err := unique(star)
		if err != nil {
			return err
		}
		_, err = Join(d, 3, star.Rank(), id)
		if err == nil || !strings.Contains(err.Error(), "join the other GPUs: ncclCommInitRank: NCCL: unhandled system error (the stand-in was told to fail)") {
			return fmt.Errorf("Join: %v", err)
		}
		return nil
	})
}

// A group adds up and gathers rows of a device in place.
func TestGroup(t *testing.T) {
	together(t, func(d *gpu.Device, star *collective.Star) error {
		g, err := NewGroup(t.Context(), d, star)
		if err != nil {
			return err
		}
		dev := cuda.New(d, cuda.Options{})
		rank := float32(star.Rank())
		row, got := dev.New(6), make([]float32, 6)
		dev.Write(row, []float32{1, rank, 2, 10 * rank, 3, 100 * rank})
		if err := g.ReduceScatter(t.Context(), dev, row); err != nil {
			return err
		}
		if err := g.AllGather(t.Context(), dev, row); err != nil {
			return err
		}
		if dev.Read(got, row); !slices.Equal(got, []float32{3, 3, 6, 30, 9, 300}) {
			return fmt.Errorf("%v", got)
		}
		_, err = g.Gather(t.Context(), nil)
		if err == nil {
			_, err = g.Broadcast(t.Context(), nil) // nobody leaves before
		}
		if err != nil {
			return err
		}
		<-time.After(10 * time.Millisecond)
		g.Close()
		if err := g.AllGather(t.Context(), dev, row); grouse.KindOf(err) != grouse.Unavailable {
			return fmt.Errorf("after the end: %v", err)
		}
		return nil
	})
}

// A rank that goes away while others wait for it within NCCL ends their wait.
func TestARankThatLeavesEndsNCCL(t *testing.T) {
	together(t, func(d *gpu.Device, star *collective.Star) error {
		g, err := NewGroup(t.Context(), d, star)
		if err != nil {
			return err
		}
		dev := cuda.New(d, cuda.Options{})
		row := dev.New(6)
		if star.Rank() == 2 {
			time.Sleep(20 * time.Millisecond)
			g.Fail(errors.New("out of memory"))
		} else if err := g.ReduceScatter(t.Context(), dev, row); err == nil || err.Error() != "rank 2: out of memory" {
			return fmt.Errorf("%v", err)
		}
		g.Close()
		return nil
	})
}
