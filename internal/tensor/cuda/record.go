package cuda

import (
	"fmt"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Passes of decoding as graphs of the driver. A graph repeats launches with the same
// arguments: so what is another in each pass, the lists of tensor.Decode and what is made of
// them, lies in memory of the recording that is written before each launch, and every
// address in the arguments must still be what it was.

// recorder is a device whose operations are recorded.
type recorder struct {
	*Device
	main *Device
}

var _ tensor.Recorder = recorder{}

// Recorder returns a recorder with operands and temporaries of its own; nil if
// Options.NoGraphs.
func (d *Device) Recorder() tensor.Recorder {
	if d.opts.NoGraphs {
		return nil
	}
	return recorder{&Device{common: d.common}, d}
}

// recording is a recorded pass.
type recording struct {
	r     recorder
	graph driver.Graph

	lists   []*givenList
	ropes   []referredRope
	weights []referredWeight
	rooms   []*buffer // that its temporaries lie in: kept from the garbage collector

	// While it is being recorded:
	in        *tensor.Decode
	used      int  // of rooms, by the operation under way
	capturing bool // the second time
}

// givenList is a list that a pass is given, or what is made of it.
type givenList struct {
	what      string
	per, most int // of tiles
	at        *buffer
	length    int // it always has; 0: as much as there is room for
	make      func(in *tensor.Decode) []int32
}

type referredRope struct {
	table *tensor.RopeTable
	there *ropeTable
}

type referredWeight struct {
	id       uint64
	at, half driver.Ptr
}

// Record does f, which makes the memory that it needs and loads its kernels, captures it,
// and launches what was captured.
func (r recorder) Record(in *tensor.Decode, weights []tensor.Buffer, f func()) tensor.Recording {
	defer r.begin()()
	rec := &recording{r: r, in: in}
	r.recording = rec
	defer func() { r.recording, rec.in = nil, nil }()
	r.forget()
	f()
	for _, w := range weights {
		m := w.(*buffer).memory
		rec.weights = append(rec.weights, referredWeight{m.id, m.at, m.half})
	}
	r.forget()
	rec.capturing = true
	graph, err := r.drv.Capture(f)
	if err != nil {
		check(fmt.Errorf("record a pass of decoding (GROUSE_CUDA_GRAPHS=0 decodes without): %w", err))
	}
	rec.graph = graph
	graph.Launch()
	r.main.forget()
	return rec
}

// Replay writes the lists and launches the graph.
func (rec *recording) Replay(in *tensor.Decode, weights []tensor.Buffer) bool {
	r := rec.r
	defer r.begin()()
	lists, ok := rec.fill(in)
	if !ok || !rec.stands(in, weights) {
		return false
	}
	for _, w := range weights {
		if m := w.(*buffer); m.half != 0 && !m.fresh {
			r.weight(w, 1)
		}
	}
	for i, l := range rec.lists {
		r.drv.Upload(l.at.at, bytes(lists[i]))
	}
	rec.graph.Launch()
	r.main.forget()
	return true
}

// Free gives the graph back; the garbage collector does so with its memory.
func (rec *recording) Free() {
	defer rec.r.begin()()
	rec.graph.Free()
}

// fill makes the lists of another pass; false if they do not fit.
func (rec *recording) fill(in *tensor.Decode) (lists [][]int32, ok bool) {
	for _, l := range rec.lists {
		x := l.make(in)
		if len(x) > l.at.cap || (l.length > 0 && len(x) != l.length) {
			return nil, false
		}
		lists = append(lists, x)
	}
	return lists, true
}

// stands reports whether everything lies where it lay.
func (rec *recording) stands(in *tensor.Decode, weights []tensor.Buffer) bool {
	if len(weights) != len(rec.weights) {
		return false
	}
	for i, w := range rec.weights {
		m := weights[i].(*buffer).memory
		if m.id != w.id || m.at != w.at || (w.half != 0 && m.half != w.half) {
			return false
		}
	}
	for _, p := range rec.ropes {
		if rec.r.ropeTable(p.table, in.Pos) != p.there {
			return false
		}
	}
	return true
}

// refuse panics if f asks for what cannot be repeated.
func (rec *recording) refuse(wrong bool, what string) {
	if wrong {
		panic(fmt.Sprintf("cuda: %s within Record would be repeated as now: not a pass of decoding that can be recorded", what))
	}
}

// refer notes a table that the graph reads.
func (rec *recording) refer(t *tensor.RopeTable, c *ropeTable) {
	rec.ropes = append(rec.ropes, referredRope{t, c})
}

// Rooms are numbered: the recorder's operands, then an operation's temporaries in order. All
// recordings of a recorder share them; one that is too small is replaced by a larger one.

func (rec *recording) temporary(bytes int64) driver.Ptr {
	rec.used++
	return rec.room(rec.used-1, bytes)
}

func (rec *recording) room(i int, bytes int64) driver.Ptr {
	d := rec.r.Device
	for len(d.rooms) <= i {
		d.rooms = append(d.rooms, nil)
	}
	if b := d.rooms[i]; b == nil || 4*int64(b.cap) < bytes {
		d.rooms[i] = d.newBuffer(roomy(int((bytes+3)/4)), 4)
	}
	for len(rec.rooms) <= i {
		rec.rooms = append(rec.rooms, nil)
	}
	rec.rooms[i] = d.rooms[i]
	return d.rooms[i].at
}

// roomy is the power of two that is n or more.
func roomy(n int) int {
	c := 64
	for c < n {
		c *= 2
	}
	return c
}

// Lists.

// is reports whether two slices are one.
func is[T any](a, b []T) bool { return len(a) > 0 && len(a) == len(b) && &a[0] == &b[0] }

// given is where a list of the pass lies.
func (rec *recording) given(x []int32) driver.Ptr {
	if is(x, rec.in.IDs) {
		return rec.list(givenList{what: "ids", length: len(x), make: func(in *tensor.Decode) []int32 { return in.IDs }})
	}
	rec.refuse(!is(x, rec.in.Pos), "a list that is not the pass's")
	return rec.list(givenList{what: "positions", length: len(x), make: func(in *tensor.Decode) []int32 { return in.Pos }})
}

func (rec *recording) slots(x []tensor.Slot) driver.Ptr {
	rec.refuse(!is(x, rec.in.Slots), "slots that are not the pass's")
	return rec.list(givenList{what: "slots", length: len(x), make: func(in *tensor.Decode) []int32 { return slotRows(in.Slots) }})
}

// tiles are attention's of the pass. Their number depends on that of the rows alone.
func (rec *recording) tiles(views []tensor.View, per, most int) tilesThere {
	rec.refuse(!is(views, rec.in.Views), "views that are not the pass's")
	made := func(in *tensor.Decode) *tiles { return viewTiles(in.Views, nil, per, most) }
	n := made(rec.in).n()
	return tilesThere{
		n:     n,
		list:  rec.list(givenList{what: "tiles", per: per, most: most, length: 6 * n, make: func(in *tensor.Decode) []int32 { return made(in).list }}),
		table: rec.list(givenList{what: "table", make: func(in *tensor.Decode) []int32 { return made(in).table }}),
	}
}

// list is where a list lies, made and uploaded when it is first asked for.
func (rec *recording) list(l givenList) driver.Ptr {
	for _, have := range rec.lists {
		if have.what == l.what && have.per == l.per && have.most == l.most {
			return have.at.at
		}
	}
	d, x := rec.r.Device, l.make(rec.in)
	l.at = d.newBuffer(roomy(len(x)), 4)
	d.drv.Upload(l.at.at, bytes(x))
	rec.lists = append(rec.lists, &l)
	return l.at.at
}
