package nccl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
)

// Hello is what a rank says of itself. All ranks must agree in all but Rank.
type Hello struct {
	Rank   int    `json:"rank"`
	Size   int    `json:"size"`   // how many ranks there are
	NCCL   string `json:"nccl"`   // its version
	Grouse string `json:"grouse"` // the program's version
	Device string `json:"device"` // tensor.Device.Name: "cuda/sm_90a"
	Run    string `json:"run"`    // name and recipe hash
}

// Agree checks that the ranks fit together; hellos are in the order in which they
// came. Invalid otherwise, naming who differs from rank 0 in what.
func Agree(hellos []Hello) error {
	sorted := slices.Clone(hellos)
	slices.SortStableFunc(sorted, func(a, b Hello) int { return a.Rank - b.Rank })
	for i, h := range sorted {
		if h.Rank != i {
			return grouse.Errorf(grouse.Invalid, "ranks %v met, want each of 0 to %d once", ranks(sorted), len(sorted)-1)
		}
	}
	var differ []string
	zero := sorted[0]
	for _, h := range sorted[1:] {
		for _, f := range []struct{ what, have, want string }{
			{"size", fmt.Sprint(h.Size), fmt.Sprint(zero.Size)}, {"NCCL", h.NCCL, zero.NCCL}, {"grouse", h.Grouse, zero.Grouse}, {"device", h.Device, zero.Device}, {"run", h.Run, zero.Run},
		} {
			if f.have != f.want {
				differ = append(differ, fmt.Sprintf("rank %d has %s %q, rank 0 %q", h.Rank, f.what, f.have, f.want))
			}
		}
	}
	if len(differ) > 0 {
		return grouse.Errorf(grouse.Invalid, "the ranks do not fit together: %s", strings.Join(differ, "; ")).
			WithFix("start all ranks with the same binary, recipe and libraries (`grouse doctor` shows them)")
	}
	if zero.Size != len(sorted) {
		return grouse.Errorf(grouse.Invalid, "%d ranks met, want %d", len(sorted), zero.Size)
	}
	return nil
}

func ranks(hellos []Hello) (out []int) {
	for _, h := range hellos {
		out = append(out, h.Rank)
	}
	return out
}

// answer is what rank 0 tells all others.
type answer struct {
	ID    []byte `json:"id,omitempty"`
	Error string `json:"error,omitempty"`
	Fix   string `json:"fix,omitempty"`
}

// Meet brings all ranks together at rank 0's address and returns what id returned
// there; every rank gets the same error if they do not agree. It waits for ranks
// that have not come until ctx ends.
func Meet(ctx context.Context, address string, me Hello, id func() (ID, error)) (ID, error) {
	if me.Size < 1 || me.Rank < 0 || me.Rank >= me.Size {
		return ID{}, grouse.Errorf(grouse.Invalid, "rank %d of %d", me.Rank, me.Size)
	}
	if me.Rank == 0 {
		return host(ctx, address, me, id)
	}
	return visit(ctx, address, me)
}

func host(ctx context.Context, address string, me Hello, id func() (ID, error)) (ID, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return ID{}, fmt.Errorf("rank 0 at %s: %w", address, err)
	}
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	hellos := []Hello{me}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for len(hellos) < me.Size {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return ID{}, grouse.Errorf(grouse.Unavailable, "%d of %d ranks came to %s: %v", len(hellos), me.Size, address, ranks(hellos)).WithFix("start the others, and look at their logs")
			}
			return ID{}, err
		}
		var h Hello
		c.SetDeadline(time.Now().Add(10 * time.Second)) // whoever says nothing is no rank
		if err := json.NewDecoder(c).Decode(&h); err != nil {
			c.Close()
			continue
		}
		conns = append(conns, c)
		hellos = append(hellos, h)
	}
	var a answer
	var out ID
	err = Agree(hellos)
	if err == nil {
		out, err = id()
	}
	if err != nil {
		a.Error, a.Fix = err.Error(), grouse.FixOf(err)
	} else {
		a.ID = out[:]
	}
	for i, c := range conns {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if e := json.NewEncoder(c).Encode(a); e != nil && err == nil {
			err = grouse.Errorf(grouse.Unavailable, "rank %d went away: %w", hellos[i+1].Rank, e)
		}
	}
	return out, err
}

func visit(ctx context.Context, address string, me Hello) (ID, error) {
	var dialer net.Dialer
	var c net.Conn
	for {
		var err error
		if c, err = dialer.DialContext(ctx, "tcp", address); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return ID{}, grouse.Errorf(grouse.Unavailable, "rank 0 at %s: %w", address, err).WithFix("start rank 0, and look at its log")
		case <-time.After(200 * time.Millisecond):
		}
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := json.NewEncoder(c).Encode(me); err != nil {
		return ID{}, fmt.Errorf("rank 0 at %s: %w", address, err)
	}
	var a answer
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return ID{}, grouse.Errorf(grouse.Unavailable, "rank 0 at %s ended before all ranks met: %w", address, errors.Join(err, ctx.Err()))
	}
	if a.Error != "" {
		return ID{}, grouse.Errorf(grouse.Invalid, "%s", a.Error).WithFix("%s", a.Fix)
	}
	var id ID
	if copy(id[:], a.ID) != len(id) {
		return ID{}, fmt.Errorf("rank 0 sent an id of %d bytes", len(a.ID))
	}
	return id, nil
}

// ID names a communicator; NCCL's rank 0 makes it.
type ID [128]byte
