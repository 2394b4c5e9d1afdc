package cuda

import (
	"math"

	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// maxTopK is how many candidates draw_kept can sort.
const maxTopK = 1024

// Draw draws tokens from logits that stay on the device: what comes back is a few
// numbers a row, and the kept set. Top-p or min-p over the whole vocabulary, without a
// top-k of at most 1024, is left to the host.
func (d *Device) Draw(h, w tensor.Buffer, rows, dim, vocab int, s tensor.Sampling, u [][]float32, draw func(i, j int, t tensor.Draw)) bool {
	if s.Temperature == 0 {
		s = tensor.Sampling{Temperature: 1, TopK: 1, TopP: 1} // ties to the lower id, and a logprob of 0
	}
	full := s.TopK == 0 && s.TopP == 1 && s.MinP == 0
	if !full && (s.TopK == 0 || s.TopK > maxTopK) {
		return false
	}
	defer d.begin()()
	if rows == 0 {
		return true
	}
	x, weight := d.operand(h, rows, dim), d.weight(w, dim)
	chunk, blocks := min(rows, d.vocabRows(vocab)), logprob.NumBlocks(vocab)
	exps := driver.Ptr(0)
	if full {
		chunk = min(rows, max(1, d.vocabRows(vocab)/2))
		exps = d.floats(chunk * vocab)
	}
	z, sums := d.floats(chunk*vocab), d.floats(3*chunk*blocks)
	hostSums := make([]float32, 3*rows*blocks)
	var all []drawn
	for r := 0; r < rows; r += chunk {
		m := min(chunk, rows-r)
		d.mulForward(z, row(x, r), weight, m, vocab, dim)
		d.vocabSums(sums, exps, z, 1/s.Temperature, m, vocab)
		c := &candidates{z: z, exps: exps, sums: sums, rows: m, vocab: vocab, u: u[r : r+m]}
		if full {
			all = append(all, d.drawFull(c)...)
		} else {
			all = append(all, d.drawKept(c, &s)...)
		}
		check(d.drv.Download(bytes(hostSums[3*r*blocks:3*(r+m)*blocks]), sums))
	}
	entropy, ok := make([]float32, rows), make([]bool, rows)
	handOver(rows, func(i int) {
		list := make([]logprob.BlockSum, blocks)
		blockSums(list, hostSums[3*i*blocks:])
		top, logSum, e := logprob.Combine(list)
		entropy[i], ok[i] = float32(e), !math.IsNaN(logSum) && !math.IsInf(float64(top), 0)
		if full {
			all[i].logprob = func(logit float32) float32 { return logprob.FullFrom(top, logSum, logit, s.Temperature) }
		}
	})
	for _, good := range ok {
		if !good {
			return false
		}
	}
	for i, row := range all {
		for j, token := range row.tokens {
			draw(i, j, tensor.Draw{Token: token, Logprob: row.logprob(row.logits[j]), Entropy: entropy[i], Kept: row.kept})
		}
	}
	return true
}

// candidates is a chunk of rows to draw from.
type candidates struct {
	z, exps, sums driver.Ptr
	rows, vocab   int
	u             [][]float32 // of each row's draws
}

// drawn is what came of a row.
type drawn struct {
	tokens  []int32
	logits  []float32 // of the tokens
	kept    []int32
	logprob func(logit float32) float32
}

// flat lists the uniform numbers of all rows, each draw's row, and where a row's begin.
func (c *candidates) flat() (u []float32, rows, first []int32) {
	for i, list := range c.u {
		first = append(first, int32(len(u)))
		for range list {
			rows = append(rows, int32(i))
		}
		u = append(u, list...)
	}
	return u, rows, append(first, int32(len(u)))
}

// split gives each row its draws.
func split(first []int32, tokens []int32, logits []float32) []drawn {
	out := make([]drawn, len(first)-1)
	for i := range out {
		out[i].tokens, out[i].logits = tokens[first[i]:first[i+1]], logits[first[i]:first[i+1]]
	}
	return out
}

// answer is lists of numbers of 32 bits that lie one after the other on the device, so
// that they come back in one transfer.
type answer struct {
	d     *Device
	at    driver.Ptr
	sizes []int
	words []int32
}

func (d *Device) newAnswer(sizes ...int) *answer {
	a := &answer{d: d, sizes: sizes}
	a.words = make([]int32, a.from(len(sizes)))
	a.at = d.floats(len(a.words))
	return a
}

func (a *answer) from(i int) int {
	sum := 0
	for _, n := range a.sizes[:i] {
		sum += n
	}
	return sum
}

// list is where list i lies.
func (a *answer) list(i int) driver.Ptr { return a.at + driver.Ptr(4*a.from(i)) }

// fetch waits for all of it.
func (a *answer) fetch() { check(a.d.drv.Download(bytes(a.words), a.at)) }

func (a *answer) ints(i int) []int32 { return a.words[a.from(i):a.from(i+1)] }

func (a *answer) floats(i int) []float32 {
	out := make([]float32, a.sizes[i])
	for j, w := range a.ints(i) {
		out[j] = math.Float32frombits(uint32(w))
	}
	return out
}

// double is number j of a list of float64.
func (a *answer) double(i, j int) float64 {
	w := a.ints(i)[2*j:]
	return math.Float64frombits(uint64(uint32(w[0])) | uint64(uint32(w[1]))<<32)
}

// drawFull draws from the whole vocabulary.
func (d *Device) drawFull(c *candidates) []drawn {
	u, rows, first := c.flat()
	n, blocks := len(u), logprob.NumBlocks(c.vocab)
	masses, weighted := d.doubles(c.rows*blocks), d.doubles(n*blocks)
	d.drv.Launch("block_masses", driver.Dims{Grid: [3]int{blocks, c.rows}, Block: [3]int{256}}, masses, c.exps, i32(c.vocab))
	a := d.newAnswer(n, n)
	d.blocks("draw_full", n, 256, 0, a.list(0), a.list(1), weighted, c.z, c.exps, c.sums, masses, d.ints(rows), d.upload(u), i32(c.vocab), i32(blocks))
	a.fetch()
	return split(first, a.ints(0), a.floats(1))
}

// drawKept draws from what the filters leave of the largest logits.
func (d *Device) drawKept(c *candidates, s *tensor.Sampling) []drawn {
	u, _, first := c.flat()
	n, k := len(u), s.TopK
	looks := make([]int32, 0, 4*c.rows) // select.cu's SelectRow
	for i := range c.rows {
		looks = append(looks, int32(i), 0, int32(c.vocab), int32(i*k))
	}
	list, filters := d.floats(c.rows*k), d.doubles(2)
	d.drv.Launch("select_top", driver.Dims{Grid: [3]int{c.rows}, Block: [3]int{256}}, list, c.z, d.ints(looks), i32(k), i32(c.vocab))
	d.drv.Upload(filters, bytes([]float64{s.TopP, s.MinP}))
	const masses, tokens, logits, tops, counts, kept = 0, 1, 2, 3, 4, 5
	a := d.newAnswer(2*c.rows, n, n, c.rows, c.rows, c.rows*k)
	d.blocks("draw_kept", c.rows, 256, 0, a.list(tokens), a.list(logits), a.list(tops), a.list(masses), a.list(counts), a.list(kept),
		list, c.z, d.upload(u), d.ints(first), filters, s.Temperature, i32(k), i32(c.vocab))
	a.fetch()
	out, top := split(first, a.ints(tokens), a.floats(logits)), a.floats(tops)
	tau := float64(s.Temperature)
	for i := range out {
		top, mass := float64(top[i])/tau, a.double(masses, i)
		out[i].kept = a.ints(kept)[i*k : i*k+int(a.ints(counts)[i])]
		out[i].logprob = func(logit float32) float32 { return logprob.KeptFrom(top, mass, logit, tau) }
	}
	return out
}
