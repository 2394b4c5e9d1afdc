package cuda

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Logits computes rows of logits with their masses, a chunk of rows at a time:
// both are downloaded, and the rows handed over by several goroutines.
func (d *Device) Logits(h, w tensor.Buffer, rows, dim, vocab int, temperature float32, fn func(i int, logits []float32, m *logprob.Masses)) {
	defer d.begin()()
	if rows == 0 {
		return
	}
	scale := float32(1)
	if temperature > 0 {
		scale = 1 / temperature
	}
	x, weight := d.operand(h, rows, dim), d.weight(w, dim)
	chunk, blocks := min(rows, max(1, d.vocabRows(vocab)/2)), logprob.NumBlocks(vocab)
	z, exps, sums := d.floats(chunk*vocab), d.floats(chunk*vocab), d.floats(3*chunk*blocks)
	logits, masses, hostSums := make([]float32, chunk*vocab), make([]float32, chunk*vocab), make([]float32, 3*chunk*blocks)
	for r := 0; r < rows; r += chunk {
		m := min(chunk, rows-r)
		d.mulForward(z, row(x, r), weight, m, vocab, dim)
		d.vocabSums(sums, exps, z, scale, m, vocab)
		check(d.drv.Download(bytes(logits[:m*vocab]), z))
		check(d.drv.Download(bytes(masses[:m*vocab]), exps))
		check(d.drv.Download(bytes(hostSums[:3*m*blocks]), sums))
		handOver(m, func(i int) {
			out := logprob.Masses{Exp: masses[i*vocab : (i+1)*vocab], Blocks: make([]logprob.BlockSum, blocks)}
			blockSums(out.Blocks, hostSums[3*i*blocks:])
			fn(r+i, logits[i*vocab:(i+1)*vocab], &out)
		})
	}
}

// handOver calls fn for 0..n-1, from as many goroutines as there are cores.
func handOver(n int, fn func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				fn(i)
			}
		})
	}
	wg.Wait()
}
