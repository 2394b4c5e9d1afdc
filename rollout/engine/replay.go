package engine

import (
	"slices"
	"weak"

	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Passes that decode only, on a device that can repeat them (tensor.Replayer): recorded once
// for each number of rows, which few are (bucket), and repeated for later tokens. Rows that
// are missing are made up; they write to a block of the cache that nobody reads.

const (
	mostReplayed = 256 // rows of a recorded pass; larger ones are computed as others are
	keptReplays  = 16  // recorded passes: the one that was not used for longest is dropped
)

// bucket is the least number of rows of a recorded pass that n fit in: a power of two up to
// 8, then a multiple of 8. Fewer than tensor.BlockTokens are made up.
func bucket(n int) int {
	for _, b := range []int{1, 2, 4} {
		if n <= b {
			return b
		}
	}
	return (n + 7) / 8 * 8
}

// replays is what was recorded, of one model: the last that decoded.
type replays struct {
	dev   tensor.Recorder
	graph *tensor.Graph // passes share its memory
	most  int           // rows
	kept  []*replay     // the one used last is last
}

// replay is a recorded pass.
type replay struct {
	model  weak.Pointer[model.Model]
	rows   int
	pass   tensor.Recording
	hidden *tensor.Tensor // what it computes: [rows, d], until the next one
}

// newReplays returns nil if dev cannot.
func newReplays(dev tensor.Device, sequences int) *replays {
	d, ok := dev.(tensor.Replayer)
	if !ok {
		return nil
	}
	rec := d.Recorder()
	if rec == nil {
		return nil
	}
	r := &replays{dev: rec, graph: tensor.NewGraph(rec, tensor.Infer), most: min(mostReplayed, bucket(sequences))}
	r.graph.Reserve(r.most)
	return r
}

// take reports whether passes of n rows are recorded.
func (r *replays) take(n int) bool { return r != nil && n <= r.most }

// free drops everything.
func (r *replays) free() {
	if r == nil {
		return
	}
	for _, k := range r.kept {
		k.pass.Free()
	}
	r.kept = nil
}

// drop removes those that are.
func (r *replays) drop(are func(k *replay) bool) {
	r.kept = slices.DeleteFunc(r.kept, func(k *replay) bool {
		if are(k) {
			k.pass.Free()
			return true
		}
		return false
	})
}

// find takes the pass of a model and so many rows out of the list; nil: there is none.
func (r *replays) find(m weak.Pointer[model.Model], rows int) *replay {
	i := slices.IndexFunc(r.kept, func(k *replay) bool { return k.model == m && k.rows == rows })
	if i < 0 {
		return nil
	}
	k := r.kept[i]
	r.kept = slices.Delete(r.kept, i, i+1)
	return k
}

// makeRoom drops what is of other models, and the oldest if there are too many.
func (r *replays) makeRoom(m weak.Pointer[model.Model]) {
	r.drop(func(k *replay) bool { return k.model != m })
	if len(r.kept) == keptReplays {
		oldest := r.kept[0]
		r.drop(func(k *replay) bool { return k == oldest })
	}
}

// replayable reports whether a pass decodes only, in the trainer's form, by a model that asks
// for the same operations each time.
func (p *pass) replayable(pol *policy) bool {
	return p.prefills == nil && pol.absorbed == nil && pol.model.Repeats()
}

// padded is a pass of rows rows. Those that are made up are at position 0 of the block scratch
// and write to different places of it.
func (p *pass) padded(rows int, scratch int32) *tensor.Decode {
	in := &tensor.Decode{IDs: p.ids, Pos: p.pos, Slots: p.slots, Views: p.views}
	for i := 0; len(in.IDs) < rows; i++ {
		in.Views = append(in.Views, tensor.View{Row: len(in.IDs), Len: 1, Blocks: []int32{scratch}})
		in.IDs, in.Pos = append(in.IDs, 0), append(in.Pos, 0)
		in.Slots = append(in.Slots, tensor.Slot{Block: scratch, Offset: int32(i)})
	}
	return in
}

// replayed is computed for a pass that is recorded: its rows come first, followed by those
// that were made up.
func (s *scheduler) replayed(m *model.Model, p *pass) *tensor.Tensor {
	r, in := s.replays, p.padded(bucket(len(p.ids)), int32(len(s.refs)))
	var weights []tensor.Buffer
	for _, w := range m.Params() {
		weights = append(weights, w.Data)
	}
	of, rows := weak.Make(m), len(in.IDs)
	k := r.find(of, rows)
	if k != nil && !k.pass.Replay(in, weights) {
		k.pass.Free()
		k = nil
	}
	if k == nil {
		r.makeRoom(of)
		k = &replay{model: of, rows: rows}
		k.pass = r.dev.Record(in, weights, func() {
			r.graph.Reset()
			attend := &cached{s: s, g: r.graph, slots: in.Slots, views: in.Views}
			k.hidden = m.Forward(r.graph, model.Input{IDs: in.IDs, Pos: in.Pos, Attend: attend})
		})
		k.hidden = k.hidden.As(k.hidden.Rows, k.hidden.Cols) // the graph may reset its own
	}
	r.kept = append(r.kept, k)
	return k.hidden
}
