package nccl

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
)

func address(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// meet lets all ranks meet and returns what each got.
func meet(t *testing.T, timeout time.Duration, hellos ...Hello) ([]ID, []error) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	at := address(t)
	ids, errs := make([]ID, len(hellos)), make([]error, len(hellos))
	var wg sync.WaitGroup
	for i, h := range hellos {
		wg.Go(func() {
			ids[i], errs[i] = Meet(ctx, at, h, func() (ID, error) { return ID{1, 2, 3}, nil })
		})
	}
	wg.Wait()
	return ids, errs
}

func hello(rank, size int) Hello {
	return Hello{Rank: rank, Size: size, NCCL: "2.28.9", Grouse: "0.1.0", Device: "cuda/sm_90a", Run: "r"}
}

func TestAllRanksGetTheID(t *testing.T) {
	ids, errs := meet(t, 10*time.Second, hello(2, 3), hello(1, 3), hello(0, 3))
	for i := range ids {
		if errs[i] != nil || ids[i] != (ID{1, 2, 3}) {
			t.Errorf("%v, %v", ids[i][:4], errs[i])
		}
	}
	if _, err := Meet(t.Context(), "", hello(3, 3), nil); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("rank 3 of 3: %v", err)
	}
}

func TestAllRanksAreToldOfAMismatch(t *testing.T) {
	other := hello(1, 3)
	other.NCCL = "2.27.3"
	other.Run = "s"
	_, errs := meet(t, 10*time.Second, hello(0, 3), other, hello(2, 3))
	for i, err := range errs {
		if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), `rank 1 has NCCL "2.27.3", rank 0 "2.28.9"; rank 1 has run "s"`) || grouse.FixOf(err) == "" {
			t.Errorf("rank %d: %v", i, err)
		}
	}
	_, errs = meet(t, 10*time.Second, hello(0, 3), hello(1, 3), hello(1, 3))
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "ranks [0 1 1] met") {
			t.Errorf("rank %d: %v", i, err)
		}
	}
}

func TestWhoDoesNotComeIsMissed(t *testing.T) {
	_, errs := meet(t, 300*time.Millisecond, hello(0, 3), hello(2, 3))
	if grouse.KindOf(errs[0]) != grouse.Unavailable || !strings.Contains(errs[0].Error(), "2 of 3 ranks came") {
		t.Errorf("rank 0: %v", errs[0])
	}
	if grouse.KindOf(errs[1]) != grouse.Unavailable {
		t.Errorf("rank 2: %v", errs[1])
	}
	_, errs = meet(t, 300*time.Millisecond, hello(1, 2))
	if grouse.KindOf(errs[0]) != grouse.Unavailable || !strings.Contains(errs[0].Error(), "rank 0 at") {
		t.Errorf("without rank 0: %v", errs[0])
	}
}

// Who says nothing, or nonsense, is passed over.
func TestAStrangerIsPassedOver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	at := address(t)
	done := make(chan error, 2)
	go func() {
		_, err := Meet(ctx, at, hello(0, 2), func() (ID, error) { return ID{}, nil })
		done <- err
	}()
	var c net.Conn
	for c == nil {
		c, _ = net.Dial("tcp", at)
	}
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	go func() { _, err := Meet(ctx, at, hello(1, 2), nil); done <- err }()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	c.Close()
}
