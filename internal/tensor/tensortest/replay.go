package tensortest

import (
	"math"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor"
)

// replays: passes of decoding that are repeated are, bit for bit, those that are asked for
// one operation after the other: with other tokens, positions and places, with weights that
// were written or are others, with longer tables of blocks, with positions beyond the table
// of angles. What follows a pass sees what it computed.
func replays(t *testing.T, d device) [][]float32 {
	plain := newDecoding(d).all(t, nil)
	r, ok := d.(tensor.Replayer)
	if !ok {
		return plain
	}
	rec := r.Recorder()
	if rec == nil {
		return plain
	}
	repeated := newDecoding(d).all(t, rec)
	for i, want := range plain {
		for j, got := range repeated[i] {
			if math.Float32bits(got) != math.Float32bits(want[j]) {
				t.Fatalf("pass %d: element %d is %v if it is repeated, else %v", i, j, got, want[j])
			}
		}
	}
	return repeated
}

// decoding is one layer of attention over a cache, of three sequences.
type decoding struct {
	d           device
	shape       tensor.AttentionShape
	cache       tensor.Cache
	rope        *tensor.RopeTable
	weights     []buf // embed [vocab, dim], norm [dim], q, k, v, o
	x, n, q     buf
	k, v, at, y buf
	head, z     buf
	rec         tensor.Recording
	have        [decodeRows]int // positions in the cache
}

const decodeRows, decodeDim, decodeVocab, decodeBlocks = 3, 24, 11, 24

func newDecoding(d device) *decoding {
	c := &decoding{d: d, shape: tensor.AttentionShape{Heads: 4, KVHeads: 2, KeyDim: 8, ValueDim: 6, Scale: 0.4}, rope: ropeTable(4, 0, false)}
	c.cache = d.NewCache(c.shape, 1, decodeRows*decodeBlocks)
	c.weights = []buf{nil, upload(d, Ramp(decodeDim, 2)), nil, nil, nil, nil}
	for i, out := range map[int]int{0: decodeVocab, 2: 32, 3: 16, 4: 12} {
		c.weights[i] = matrix(out, decodeDim, uint32(3+i)).buffer(d, Ramp(out*decodeDim, uint32(3+i)))
	}
	c.weights[5] = matrix(decodeDim, 24, 9).buffer(d, Ramp(decodeDim*24, 9))
	for b, cols := range map[*buf]int{&c.x: decodeDim, &c.n: decodeDim, &c.q: 32, &c.k: 16, &c.v: 12, &c.at: 24, &c.y: decodeDim, &c.z: 5} {
		*b = d.New(decodeRows * cols)
	}
	c.head = matrix(5, decodeDim, 10).buffer(d, Ramp(5*decodeDim, 10))
	return c
}

// blocks are the first n of a sequence.
func (c *decoding) blocks(i, n int) []int32 {
	var b []int32
	for j := range n {
		b = append(b, int32(j*decodeRows+i))
	}
	return b
}

// fill writes the positions of a sequence before p that are not in the cache.
func (c *decoding) fill(i, p int) {
	if n := p - c.have[i]; n > 0 {
		c.d.CacheWrite(c.cache, 0, upload(c.d, Ramp(n*16, uint32(20+i))), upload(c.d, Ramp(n*12, uint32(30+i))), slots(c.blocks(i, decodeBlocks), c.have[i], n))
	}
	c.have[i] = p + 1
}

// ask asks for a pass.
func (c *decoding) ask(d device, in *tensor.Decode) {
	w := c.weights
	d.Embed(c.x, w[0], in.IDs, decodeDim)
	d.RMSNorm(c.n, c.x, w[1], 1e-6, decodeRows, decodeDim)
	d.Linears([]buf{c.q, c.k, c.v}, c.n, w[2:5], []buf{nil, nil, nil}, decodeRows, []int{32, 16, 12}, decodeDim)
	d.Rope(c.q, c.rope, in.Pos, decodeRows, 4, 8, false)
	d.Rope(c.k, c.rope, in.Pos, decodeRows, 2, 8, false)
	d.CacheWrite(c.cache, 0, c.k, c.v, in.Slots)
	d.CacheAttend(c.at, c.q, c.cache, 0, in.Views, nil)
	d.Linear(c.y, c.at, w[5], nil, decodeRows, decodeDim, 24)
}

// pass computes a pass, repeating the last if rec is not nil and it can be.
func (c *decoding) pass(rec tensor.Recorder, ids []int32, pos []int32, blocks int) (result []float32, repeated bool) {
	in := &tensor.Decode{IDs: ids, Pos: pos}
	for i, p := range pos {
		c.fill(i, int(p))
		b := c.blocks(i, blocks)
		in.Slots = append(in.Slots, slots(b, int(p), 1)...)
		in.Views = append(in.Views, tensor.View{Row: i, Len: 1, Pos: int(p), Blocks: b})
	}
	switch {
	case rec == nil:
		c.ask(c.d, in)
	case c.rec != nil && c.rec.Replay(in, c.weights):
		repeated = true
	default:
		if c.rec != nil {
			c.rec.Free()
		}
		c.rec = rec.Record(in, c.weights, func() { c.ask(rec, in) })
	}
	c.d.Linear(c.z, c.y, c.head, nil, decodeRows, 5, decodeDim)
	return append(download(c.d, c.y), download(c.d, c.z)...), repeated
}

func (c *decoding) all(t *testing.T, rec tensor.Recorder) [][]float32 {
	var out [][]float32
	for i, p := range []struct {
		ids, pos []int32
		blocks   int
		before   func()
		repeats  bool
	}{
		{[]int32{1, 7, 3}, []int32{5, 20, 0}, 3, func() {}, false},
		{[]int32{9, 7, 10}, []int32{6, 21, 1}, 3, func() {}, true},
		{[]int32{0, 2, 4}, []int32{16, 31, 15}, 2, func() {}, true},
		{[]int32{0, 2, 4}, []int32{17, 32, 16}, 4, func() { c.d.WriteMatrix(c.weights[2], Ramp(32*decodeDim, 40), 32, decodeDim) }, true},
		{[]int32{5, 5, 6}, []int32{200, 230, 40}, decodeBlocks, func() {}, false}, // the table of blocks has outgrown its room
		{[]int32{5, 6, 6}, []int32{201, 231, 41}, decodeBlocks, func() {}, true},
		{[]int32{5, 8, 6}, []int32{202, 300, 42}, decodeBlocks, func() {}, false}, // 256 angles are there first
		{[]int32{1, 8, 6}, []int32{203, 301, 43}, decodeBlocks, func() {}, true},
		{[]int32{1, 8, 7}, []int32{203, 301, 43}, decodeBlocks, func() { c.weights[5] = matrix(decodeDim, 24, 9).buffer(c.d, Ramp(decodeDim*24, 50)) }, false},
		{[]int32{2, 8, 6}, []int32{204, 302, 44}, decodeBlocks, func() {}, true},
	} {
		p.before()
		result, repeated := c.pass(rec, p.ids, p.pos, p.blocks)
		if rec != nil && repeated != p.repeats {
			t.Errorf("pass %d: repeated %v, want %v", i, repeated, p.repeats)
		}
		out = append(out, result)
	}
	if c.rec != nil {
		c.rec.Free()
	}
	return out
}
