package tensor

import (
	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/rng"
)

// Buffer is memory of a device, float32 unless it was made by NewBF16.
type Buffer interface{ Len() int }

// Device runs the kernels. Sizes are in elements. A kernel named Grad adds to
// the gradients it is given; the others overwrite. Weights of linear layers are
// matrices in a layout of the device's own, made by NewMatrix.
type Device interface {
	// Name says what computes, as checkpoints record it: "cpu/avx2".
	Name() string

	New(n int) Buffer                                // zeroed activations or vector
	NewMatrix(out, in int) Buffer                    // zeroed weight [out, in]
	Free(b Buffer)                                   // b is not used again
	Zero(b Buffer)                                   //
	Read(dst []float32, b Buffer)                    // activations or vector to the host
	Write(b Buffer, src []float32)                   // and back
	ReadMatrix(dst []float32, b Buffer, out, in int) // row-major
	WriteMatrix(b Buffer, src []float32, out, in int)
	NewBF16(n int) Buffer // zeroed bfloat16 memory, for moments: AdamW and Copy take it
	Copy(dst, src Buffer) // rounds to the nearest, ties to even, if dst is bfloat16 and src is not
	// View returns elements from..from+n-1 of b, in the device's layout: the same memory,
	// which lives as long as either. It is never freed itself. What works on every element
	// alone, sums of squares and gradients to add to may be views; other operations may not.
	View(b Buffer, from, n int) Buffer

	// Embed sets y[i] = w[ids[i]], w a matrix [vocab, dim].
	Embed(y, w Buffer, ids []int32, dim int)
	EmbedGrad(dw, dy Buffer, ids []int32, dim int)

	// Linear sets y [rows, out] = x [rows, in] wᵀ (+ bias, if not nil).
	Linear(y, x, w, bias Buffer, rows, out, in int)
	// Linears is Linear for several weights of one x; biases may be nil.
	Linears(y []Buffer, x Buffer, w, bias []Buffer, rows int, out []int, in int)
	// LinearsGrad sets dx to the sum of dy[i] w[i], the last one first (add: adds it to
	// dx), adds dy[i]ᵀ x to dw[i], and the sum of dy[i]'s rows to dbias[i]. Any of dw and
	// dbias may be nil; x is not read if all are.
	LinearsGrad(dx Buffer, dw, dbias, dy []Buffer, x Buffer, w []Buffer, rows int, out []int, in int, add bool)

	// RMSNorm sets y = x / sqrt(mean(x²) + eps) * w for each of n rows of dim.
	RMSNorm(y, x, w Buffer, eps float32, n, dim int)
	RMSNormGrad(dx, dw, dy, x, w Buffer, eps float32, n, dim int)

	// LayerNorm sets y = (x - mean) / sqrt(variance + eps) * w + b.
	LayerNorm(y, x, w, b Buffer, eps float32, n, dim int)
	LayerNormGrad(dx, dw, db, dy, x, w Buffer, eps float32, n, dim int)

	// Rope rotates each row's heads in place by its position, backwards if inverse.
	Rope(x Buffer, t *RopeTable, pos []int32, rows, heads, headDim int, inverse bool)

	Add(y, a, b Buffer)
	// SwiGLU sets y = silu(gate) * up.
	SwiGLU(y, gate, up Buffer)
	SwiGLUGrad(dgate, dup, dy, gate, up Buffer, add bool) // sets both, or adds to both

	// Gather sets y[i] = x[rows[i]]; its gradient adds back.
	Gather(y, x Buffer, rows []int32, dim int)
	GatherGrad(dx, dy Buffer, rows []int32, dim int)

	// CopyHeads sets n columns in each head of y to those of the same head of x, or
	// of x's only head. The gradient adds dy's back, in order of heads.
	CopyHeads(y, x Buffer, to, from HeadBlock, n, rows int)
	CopyHeadsGrad(dx, dy Buffer, to, from HeadBlock, n, rows int)

	// Route chooses experts and computes their gates, as Router says: z is [rows,
	// E], bias [E] or nil. A row of experts [rows, TopK] that begins with -1 is
	// chosen and written back, others are forced. gates [rows, TopK]; nil: only
	// the choice is made.
	Route(gates Buffer, experts []int32, z, bias Buffer, r *Router, rows, E int)
	RouteGrad(dz, dgates, z Buffer, experts []int32, r *Router, rows, E int)

	// DispatchGrad is the gradient of Gather by an Assignment's Tokens: dx[t] +=
	// sum_j dy[slots[t*k+j]], in order of j.
	DispatchGrad(dx, dy Buffer, slots []int32, rows, k, dim int)
	// GroupedLinear is Linear with a matrix for each group of rows: rows
	// offsets[e]..offsets[e+1]-1 of x are multiplied with w[e].
	GroupedLinear(y, x Buffer, w []Buffer, offsets []int, out, in int)
	GroupedLinearGradInput(dx, dy Buffer, w []Buffer, offsets []int, out, in int)
	GroupedLinearGradWeight(dw []Buffer, dy, x Buffer, offsets []int, out, in int)
	// Combine sets y[t] = sum_j gates[t,j] x[slots[t*k+j]], in order of j.
	Combine(y, x, gates Buffer, slots []int32, rows, k, dim int)
	CombineGrad(dx, dgates, dy, x, gates Buffer, slots []int32, rows, k, dim int)

	// Attention is causal softmax attention within the sequences. lse [rows,
	// heads] receives the log-sum-exp of the scores for the gradient; nil: not kept.
	Attention(o, lse, q, k, v Buffer, shape AttentionShape, seqs *Seqs)
	AttentionGrad(dq, dk, dv, do, o, lse, q, k, v Buffer, shape AttentionShape, seqs *Seqs)

	// Select runs a lightning indexer, see IndexShape.
	Select(q, k, w Buffer, shape IndexShape, seqs *Seqs) Selection
	// SparseAttention is Attention over the selected positions of each row.
	SparseAttention(o, lse, q, k, v Buffer, shape AttentionShape, seqs *Seqs, sel Selection)
	SparseAttentionGrad(dq, dk, dv, do, o, lse, q, k, v Buffer, shape AttentionShape, seqs *Seqs, sel Selection)

	// IndexLossGrad adds the gradients of IndexTraining's loss to the indexer's q, k
	// and w, and writes the KL of each row. lse is the main attention's.
	IndexLossGrad(loss []float64, dq, dk, dw, q, k, w Buffer, index IndexShape, coef float32, mainQ, mainK, lse Buffer, shape AttentionShape, seqs *Seqs, sel Selection)

	// Logprob sets lp[i] = log p(targets[i]) of softmax(h[i] wᵀ / temperature)
	// over the kept ids of row i (nil: all), as internal/logprob defines it, and
	// lse[i] to the log-sum-exp.
	Logprob(lp []float32, lse []float64, h, w Buffer, t *Targets, rows, dim, vocab int)
	// LogprobGrad adds the gradient of sum_i coef[i]*lp[i]; dw may be nil.
	LogprobGrad(dh, dw Buffer, coef []float32, lse []float64, h, w Buffer, t *Targets, rows, dim, vocab int)
	// Logits computes the logits of each row and their masses at the temperature,
	// and hands them over; the slices are valid during the call only. Several
	// rows may be handed over at the same time.
	Logits(h, w Buffer, rows, dim, vocab int, temperature float32, row func(i int, logits []float32, m *logprob.Masses))

	// AdamW updates p by one step; see AdamWStep for the constants.
	AdamW(p, grad, m, v Buffer, step AdamWStep)
	SumSquares(b Buffer) float64
	// BlockSquares sets dst[i] to the sum of the squares of elements i*block..(i+1)*block-1
	// of b, the last block of fewer, in order, in float64: on every device the same bits.
	BlockSquares(dst []float64, b Buffer, block int)

	// NewCache makes the key-value cache of an engine.
	NewCache(shape AttentionShape, layers, blocks int) Cache
	// CacheWrite stores rows of k and v at their slots; v is nil where the shape
	// has no values of their own.
	CacheWrite(c Cache, layer int, k, v Buffer, slots []Slot)
	// CacheAttend is Attention over cached keys and values, SparseAttention if sel
	// is not nil.
	CacheAttend(o, q Buffer, c Cache, layer int, views []View, sel Selection)
	// CacheSelect is Select over the keys in a cache of one head without values.
	CacheSelect(q, w Buffer, shape IndexShape, c Cache, layer int, views []View) Selection
}

// AttentionShape is what attention needs to know of a layer. Query head h reads
// key-value head h / (Heads/KVHeads).
type AttentionShape struct {
	Heads, KVHeads   int
	KeyDim, ValueDim int     // of one head
	ValuesInKeys     bool    // the values are the first ValueDim numbers of the keys; caches only
	Scale            float32 // of the scores: 1/sqrt(KeyDim) unless the model says otherwise
}

// Targets is what Logprob needs for each row besides the hidden state.
type Targets struct {
	IDs         []int32
	Kept        [][]int32 // ascending ids that softmax runs over; nil or a nil row: all
	Temperature float32   // > 0
}

// AdamWStep holds the constants of one AdamW update of one weight (decoupled
// weight decay; Loshchilov and Hutter, arXiv:1711.05101); trainer/optim computes
// them:
//
//	g = Scale * grad
//	m = Beta1 m + OneSubBeta1 g
//	v = Beta2 v + OneSubBeta2 g²
//	p = Shrink p - Rate m / (sqrt(v) InvRootBias2 + Eps)
type AdamWStep struct {
	Scale              float32
	Beta1, OneSubBeta1 float32
	Beta2, OneSubBeta2 float32
	Shrink             float32
	Rate               float32
	InvRootBias2       float32
	Eps                float32
}

// Drawer is a Device that draws tokens itself: rows of logits stay where they are.
type Drawer interface {
	Device
	// Draw draws len(u[i]) tokens from the logits of row i, h[i] wᵀ, one with each
	// uniform number, and hands them over in order of rows and numbers. From the same
	// logits and masses a sampler of package rollout/sampling draws the same, bit for
	// bit. It returns false, and has drawn nothing, if it has no way for the settings,
	// or if a row is not a distribution: Logits shows it.
	Draw(h, w Buffer, rows, dim, vocab int, s Sampling, u [][]float32, draw func(i, j int, d Draw)) bool
}

// Sampling says how a token is drawn: temperature, top-k, top-p over the renormalized
// survivors, min-p.
type Sampling struct {
	Temperature float32 // 0: greedy
	TopK        int     // 0: off; below the size of the vocabulary
	TopP        float64 // 1: off
	MinP        float64 // 0: off
}

// Draw is a token with what sampling records of it.
type Draw struct {
	Token            int32
	Logprob, Entropy float32
	Kept             []int32 // ascending; nil: the whole vocabulary
}

// Replayer is a Device that can do a pass of decoding again without being asked for each
// of its operations.
type Replayer interface {
	Device
	// Recorder returns a device with the same memory for what is to be recorded; nil: it
	// was turned off.
	Recorder() Recorder
}

// Recorder is a Device for what Record's f asks for, and for nothing else but memory. One
// goroutine uses it.
type Recorder interface {
	Device
	// Record does what f asks for and remembers it. f is called once or twice and asks for
	// the same each time; lists among its arguments are those of in themselves, not copies,
	// and nothing that it asks for comes back to the host. The memory that f uses lives as
	// long as the recording and is f's own, but for weights, which others write and may
	// free.
	Record(in *Decode, weights []Buffer, f func()) Recording
}

// Recording is a pass of decoding that was recorded.
type Recording interface {
	// Replay repeats it with the lists of another pass of as many rows. It returns false,
	// and has done nothing, if memory that it refers to has moved: other weights, or lists
	// and tables that have outgrown their room. Then it is to be recorded anew.
	Replay(in *Decode, weights []Buffer) bool
	Free()
}

// Decode is the lists of a pass that decodes, a row a sequence: Views[i] is row i alone.
type Decode struct {
	IDs, Pos []int32
	Slots    []Slot
	Views    []View
}

// Rounder is a Device that trains matrices without float32 masters: memory of
// NewBF16 may be the matrix in Embed and in every product, and is read and written
// by ReadMatrix and WriteMatrix.
type Rounder interface {
	Device
	// AdamWRounded is AdamW of such a matrix. The new weight is rounded to one of the
	// two bfloat16 numbers around it, at random, with the probability that makes it
	// the mean: updates too small for a bfloat16 weight to take up are not lost.
	// Moments are float32 or bfloat16.
	AdamWRounded(p, grad, m, v Buffer, step AdamWStep, noise Noise)
}

// Offloader is a Device with memory of its own that can leave moments in the host's.
type Offloader interface {
	Device
	// NewOffloaded returns n zeros in the host's memory, float32 or bfloat16. AdamW and
	// AdamWRounded take it for both moments, and pass them through the device a part at a
	// time, with the same result; Copy, View and Free take it, nothing else does.
	NewOffloaded(n int, bf16 bool) Buffer
}

// Noise names the random numbers of one AdamWRounded: weight i of the matrix is rounded
// with the lower 16 bits of word i%4 of rng.Philox(Key, {i/4, Param, Update's lower word,
// its upper word}).
type Noise struct {
	Key    rng.Key
	Param  uint32 // place among the model's weights
	Update int64  // of the stage's, from 1
	First  int64  // weight of the matrix that the buffer begins with, a multiple of 4: 0, but for a View
}

// BlockTokens is the number of positions in a block of a cache.
const BlockTokens = 16

// Cache is a device's key-value memory in blocks of BlockTokens positions.
type Cache interface {
	// CopyBlock copies a block in all layers.
	CopyBlock(dst, src int32)
}

// Slot is where a token's key and value lie.
type Slot struct {
	Block  int32
	Offset int32 // 0..BlockTokens-1: position mod BlockTokens
}

// View is one sequence's part of a CacheAttend: its query rows and where the
// keys of positions 0..Pos+Len-1 lie.
type View struct {
	Row, Len int // query rows Row..Row+Len-1
	Pos      int // position of the first
	Blocks   []int32
}
