package cuda

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// fakeMemory hands out addresses.
type fakeMemory struct {
	next  driver.Ptr
	left  int64
	given map[driver.Ptr]int64
}

func (f *fakeMemory) alloc(n int64) (driver.Ptr, error) {
	if n > f.left {
		return 0, errors.New("no more")
	}
	f.left -= n
	f.next += 1 << 40
	f.given[f.next] = n
	return f.next, nil
}

func (f *fakeMemory) free(p driver.Ptr) {
	f.left += f.given[p]
	delete(f.given, p)
}

// Random calls against the obvious bookkeeping: pieces do not overlap, lie in
// slabs, are joined again when they are free.
func TestArenaHandsOutDisjointPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	mem := &fakeMemory{left: 1 << 40, given: map[driver.Ptr]int64{}}
	a := newArena(1<<16, mem.alloc, mem.free)
	type used struct {
		p driver.Ptr
		n int64
	}
	var live []used
	sum, most := int64(0), int64(0)
	for range 20000 {
		if len(live) > 0 && r.IntN(100) < 48 {
			i := r.IntN(len(live))
			a.free(live[i].p)
			sum -= aligned(live[i].n)
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
			continue
		}
		n := int64(r.IntN(3000))
		if r.IntN(50) == 0 {
			n = 1<<16 + int64(r.IntN(1<<16)) // larger than a slab
		}
		p, err := a.get(n)
		if err != nil {
			t.Fatal(err)
		}
		if p%align != 0 {
			t.Fatalf("address %#x", p)
		}
		inside := false
		for base, size := range mem.given {
			inside = inside || p >= base && p+driver.Ptr(n) <= base+driver.Ptr(size)
		}
		if !inside {
			t.Fatalf("%d bytes at %#x are in no slab", n, p)
		}
		for _, u := range live {
			if p < u.p+driver.Ptr(aligned(u.n)) && u.p < p+driver.Ptr(aligned(n)) {
				t.Fatalf("%d bytes at %#x overlap %d at %#x", n, p, u.n, u.p)
			}
		}
		live = append(live, used{p, n})
		sum += aligned(n)
		most = max(most, sum)
	}
	if a.inUse != sum || a.highWater != most {
		t.Errorf("in use %d, at most %d; want %d and %d", a.inUse, a.highWater, sum, most)
	}
	for _, u := range live {
		a.free(u.p)
	}
	for _, s := range a.slabs {
		if len(s.free) != 1 || s.free[0] != (piece{s.base, s.size}) {
			t.Errorf("a slab is in pieces: %+v", s)
		}
		if s.size > 1<<16 {
			t.Errorf("a slab of %d bytes was kept", s.size)
		}
	}
}

func TestArenaSaysWhatIsInUse(t *testing.T) {
	mem := &fakeMemory{left: 1000, given: map[driver.Ptr]int64{}}
	a := newArena(1<<20, mem.alloc, mem.free) // no slab fits, a piece does
	if _, err := a.get(600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.get(600); err == nil || !strings.Contains(err.Error(), "768 bytes for a buffer, with 768 in use (768 at most so far): no more") {
		t.Errorf("%v", err)
	}
}

func TestGroups(t *testing.T) {
	different, offsets, order := groups([]int32{7, 3, 7, 7, 0, 3})
	for name, c := range map[string][2][]int32{"keys": {different, {7, 3, 0}}, "offsets": {offsets, {0, 3, 5, 6}}, "order": {order, {0, 2, 3, 1, 5, 4}}} {
		for i, w := range c[1] {
			if c[0][i] != w {
				t.Errorf("%s %v, want %v", name, c[0], c[1])
				break
			}
		}
	}
}
