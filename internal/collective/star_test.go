package collective

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

// local makes a group in this process that ends with the test.
func local(t *testing.T, size int) []*Star {
	t.Helper()
	g := Local(size)
	t.Cleanup(func() { closeAll(g) })
	return g
}

func closeAll(g []*Star) {
	var wg sync.WaitGroup
	for _, s := range g {
		if s != nil {
			wg.Go(s.Close)
		}
	}
	wg.Wait()
}

// all runs f as every rank and returns the errors.
func all(g []*Star, f func(s *Star) error) []error {
	errs := make([]error, len(g))
	var wg sync.WaitGroup
	for r, s := range g {
		wg.Go(func() { errs[r] = f(s) })
	}
	wg.Wait()
	return errs
}

func TestCollectives(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5} {
		const n = 7
		got := make([][]float32, size)
		errs := all(local(t, size), func(s *Star) error {
			ctx, dev, r := t.Context(), cpu.New(1), float32(s.Rank())
			for round := range 3 { // messages do not get mixed up
				parts, err := s.Gather(ctx, bytes.Repeat([]byte{byte(s.Rank())}, round*s.Rank()))
				if err != nil {
					return err
				}
				if (parts != nil) != (s.Rank() == 0) || parts != nil && len(parts) != size {
					return fmt.Errorf("gathered %v", parts)
				}
				for i, p := range parts {
					if !bytes.Equal(p, bytes.Repeat([]byte{byte(i)}, round*i)) {
						return fmt.Errorf("rank %d sent %v", i, p)
					}
				}
				b, err := s.Broadcast(ctx, []byte{byte(10*round + s.Rank())})
				if err != nil || len(b) != 1 || b[0] != byte(10*round) {
					return fmt.Errorf("broadcast %v, %v", b, err)
				}
			}
			row := dev.New(size * n)
			x := make([]float32, size*n)
			for i := range x {
				x[i] = float32(i) + 100*r
			}
			x[0] = []float32{1 << 24, 1, -1 << 24, 1, 1}[s.Rank()] // only in order of ranks: 0 for three
			dev.Write(row, x)
			if err := s.ReduceScatter(ctx, dev, row); err != nil {
				return err
			}
			if err := s.AllGather(ctx, dev, row); err != nil {
				return err
			}
			dev.Read(x, row)
			got[s.Rank()] = x
			return nil
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("%d ranks: %v", size, err)
		}
		for r, x := range got {
			for i := range x {
				want := float32(size*i + 100*size*(size-1)/2)
				if i == 0 {
					want = []float32{1 << 24, 1 << 24, 0, 0, 2}[size-1]
				}
				if x[i] != want {
					t.Fatalf("rank %d of %d: element %d is %v, want %v", r, size, i, x[i], want)
				}
			}
		}
	}
}

// Not-a-numbers and infinities pass as they are.
func TestNumbersPassUnchanged(t *testing.T) {
	x := []float32{float32(math.NaN()), float32(math.Inf(-1)), math.MaxFloat32, 1e-45}
	errs := all(local(t, 2), func(s *Star) error {
		dev := cpu.New(1)
		row := dev.New(8)
		dev.Write(dev.View(row, 4*s.Rank(), 4), x)
		if err := s.AllGather(t.Context(), dev, row); err != nil {
			return err
		}
		got := make([]float32, 8)
		dev.Read(got, row)
		for i, v := range got {
			if math.Float32bits(v) != math.Float32bits(x[i%4]) {
				return fmt.Errorf("element %d is %v", i, v)
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// A rank that ends, fails or is interrupted ends the calls of all others, who hear which.
func TestOneEndsAll(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(s *Star)
		want string // at rank 0 and rank 2, of what rank 1 does
	}{
		{"ends", func(s *Star) { s.Close() }, "rank 1: ended"},
		{"fails", func(s *Star) { s.Fail(grouse.Errorf(grouse.Internal, "out of memory")) }, "rank 1: out of memory"},
		{"dies", func(s *Star) { s.links[0].conn.Close() }, "rank 1 went away: its connection ended"},
		{"is interrupted", func(s *Star) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := s.Broadcast(ctx, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("interrupted: %v", err)
			}
		}, "rank 1: was interrupted"},
	} {
		errs := all(local(t, 3), func(s *Star) error {
			if s.Rank() == 1 {
				time.Sleep(20 * time.Millisecond) // the others are waiting
				c.do(s)
				<-s.Down()
				return nil
			}
			_, err := s.Gather(t.Context(), nil)
			if s.Rank() == 2 && err == nil {
				_, err = s.Broadcast(t.Context(), nil)
			}
			if _, again := s.Broadcast(t.Context(), nil); again == nil || again.Error() != s.Err().Error() {
				t.Errorf("%s: rank %d goes on: %v", c.name, s.Rank(), again)
			}
			return err
		})
		for _, r := range []int{0, 2} {
			if grouse.KindOf(errs[r]) != grouse.Unavailable || errs[r].Error() != c.want {
				t.Errorf("%s: rank %d: %v", c.name, r, errs[r])
			}
		}
	}
}

// Ranks that do not do the same are told so.
func TestRanksOutOfStep(t *testing.T) {
	errs := all(local(t, 2), func(s *Star) error {
		dev := cpu.New(1)
		return s.ReduceScatter(t.Context(), dev, dev.New(4+2*s.Rank()))
	})
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "sent 24 bytes, want 4 numbers") {
			t.Errorf("%v", err)
		}
	}
}

// What is no frame ends the link.
func TestRubbishEndsALink(t *testing.T) {
	for name, b := range map[string][]byte{
		"kind": binary.LittleEndian.AppendUint64([]byte{9}, 0),
		"size": binary.LittleEndian.AppendUint64([]byte{frameData}, 1<<50),
	} {
		a, c := net.Pipe()
		l := newLink(a, maxFrame)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := l.receive(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "a frame of") {
			t.Errorf("%s: %v", name, err)
		}
		l.wait()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection is open: %v", name, err)
		}
	}
}

// Frames of more than a chunk arrive whole.
func TestLongFrames(t *testing.T) {
	long := make([]byte, 3*chunk+17)
	for i := range long {
		long[i] = byte(i * 7)
	}
	errs := all(local(t, 2), func(s *Star) error {
		b, err := s.Broadcast(t.Context(), long)
		if err == nil && !slices.Equal(b, long) {
			err = errors.New("other bytes")
		}
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
