package collective

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
)

func hello(rank, size int) Hello {
	return Hello{Rank: rank, Size: size, Program: "p1", NCCL: "2.28.9", Device: "cuda/sm_90a/bf16", Run: "r", Recipe: "d1"}
}

func listen(t *testing.T, size int) *Host {
	t.Helper()
	h, err := Listen(hello(0, size))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// visit comes as a rank that does not wait for ever.
func visit(t *testing.T, h *Host, me Hello) (*Star, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return Visit(ctx, h.Place(), me)
}

func soon(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Ranks meet in any order, before and after rank 0 waits; when the group has ended they
// meet again.
func TestRanksMeetAgain(t *testing.T) {
	h := listen(t, 3)
	for round := range 3 {
		g := make([]*Star, 3)
		errs := make([]error, 3)
		var wg sync.WaitGroup
		for _, r := range []int{2, 1, 0} {
			wg.Go(func() {
				if r == 0 {
					g[0], errs[0] = h.Meet(soon(t, 10*time.Second))
				} else {
					g[r], errs[r] = visit(t, h, hello(r, 3))
				}
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		errs = all(g, func(s *Star) error {
			b, err := s.Broadcast(t.Context(), []byte("go"))
			if err == nil && string(b) != "go" {
				err = errors.New(string(b))
			}
			return err
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		closeAll(g)
	}
}

// Who does not fit is told why, and so is rank 0 when its time is up; those that fit may
// still come.
func TestRanksThatDoNotFit(t *testing.T) {
	h := listen(t, 3)
	for _, c := range []struct {
		change func(*Hello)
		want   string
	}{
		{func(h *Hello) { h.Program = "p2" }, `rank 1 does not fit: it has program "p2", rank 0 "p1"`},
		{func(h *Hello) { h.Recipe, h.NCCL = "d2", "2.10" }, `rank 1 does not fit: it has NCCL "2.10", rank 0 "2.28.9"; recipe "d2", rank 0 "d1"`},
		{func(h *Hello) { h.Size = 4 }, `ranks "4", rank 0 "3"`},
		{func(h *Hello) { h.Device = "cpu/avx2" }, `device "cpu/avx2"`},
		{func(h *Hello) { h.Rank = 3 }, "there is no rank 3 to be taken: rank 0 expects 1 to 2"},
		{func(h *Hello) { h.Rank = 0 }, "there is no rank 0 to be taken"},
	} {
		me := hello(1, 3)
		c.change(&me)
		if _, err := visit(t, h, me); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), c.want) || grouse.FixOf(err) == "" {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	_, err := h.Meet(soon(t, 50*time.Millisecond))
	if grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), `1 of 3 ranks are there, missing: 1, 2; sent away: rank 1 does not fit: it has program "p2"`) ||
		!strings.Contains(grouse.FixOf(err), "grouse worker --train r --rank") {
		t.Errorf("%v; %s", err, grouse.FixOf(err))
	}

	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := visit(t, h, hello(1, 3)); grouse.KindOf(err) != grouse.Unavailable {
			t.Errorf("rank 1, whose rank 0 ends: %v", err)
		}
	})
	for h.here(1) == nil {
		time.Sleep(time.Millisecond)
	}
	if _, err := visit(t, h, hello(1, 3)); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "rank 1 is there already") {
		t.Errorf("a second rank 1: %v", err)
	}
	if _, err := h.Meet(soon(t, 50*time.Millisecond)); err == nil || !strings.HasPrefix(err.Error(), "2 of 3 ranks are there, missing: 2") {
		t.Errorf("%v", err)
	}
	h.Close()
	wg.Wait()
}

func (h *Host) here(r int) *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.links[r]
}

// A rank that went away before all met has its place taken by the next.
func TestARankIsReplaced(t *testing.T) {
	h := listen(t, 2)
	conn, err := net.Dial("tcp", h.Place().Address)
	if err != nil {
		t.Fatal(err)
	}
	me := hello(1, 2)
	me.Token = h.Place().Token
	raw, err := json.Marshal(me)
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(conn, maxFrame)
	if err := l.send(raw); err != nil {
		t.Fatal(err)
	}
	for h.here(1) == nil {
		time.Sleep(time.Millisecond)
	}
	first := h.here(1)
	l.end(errors.New("killed"))
	<-first.dead
	var wg sync.WaitGroup
	wg.Go(func() {
		s, err := visit(t, h, hello(1, 2))
		if err != nil {
			t.Error(err)
			return
		}
		s.Close()
	})
	s, err := h.Meet(soon(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	<-s.Down()
	s.Close()
}

// Who does not know the token is nobody: it gets no answer and takes no place.
func TestStrangersAreSentAway(t *testing.T) {
	h := listen(t, 2)
	place := h.Place()
	place.Token = "guessed"
	if _, err := Visit(soon(t, 10*time.Second), place, hello(1, 2)); grouse.KindOf(err) != grouse.Unavailable {
		t.Errorf("%v", err)
	}
	if h.here(1) != nil {
		t.Error("a stranger is rank 1")
	}
	if _, err := h.Meet(soon(t, 20*time.Millisecond)); err == nil || strings.Contains(err.Error(), "sent away") {
		t.Errorf("%v", err)
	}
}

// Without rank 0 a rank is told that it is not there.
func TestNobodyIsThere(t *testing.T) {
	h := listen(t, 2)
	h.Close()
	if _, err := Visit(soon(t, 10*time.Second), h.Place(), hello(1, 2)); grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "rank 0") {
		t.Errorf("%v", err)
	}
}
