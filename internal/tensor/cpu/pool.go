package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// pool runs the tasks of one operation on all threads. Tasks are taken from a
// counter, so a thread that the machine takes away does not hold up the rest;
// results never depend on who runs a task, because no task splits a reduction.
type pool struct {
	threads int
	mu      sync.Mutex // one operation at a time
	job     atomic.Pointer[job]
	wake    chan struct{}
	once    sync.Once
}

type job struct {
	n    int64
	next atomic.Int64
	left atomic.Int64 // tasks not finished
	fn   func(thread, task int)
	ids  atomic.Int64 // threads that joined
}

func newPool(threads int) *pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &pool{threads: threads, wake: make(chan struct{}, threads)}
}

// spin is how long a helper looks for the next job before it sleeps: longer
// than the gap between two operations of a forward pass.
const spin = 50 * time.Microsecond

func (p *pool) helper() {
	var last *job
	for range p.wake {
		for idle := time.Now(); time.Since(idle) < spin; {
			for range 64 {
				if j := p.job.Load(); j != nil && j != last {
					last = j
					j.work()
					idle = time.Now()
				}
				relax()
			}
		}
	}
}

func (j *job) work() {
	thread := int(j.ids.Add(1) - 1)
	for {
		i := j.next.Add(1) - 1
		if i >= j.n {
			return
		}
		j.fn(thread, int(i))
		j.left.Add(-1)
	}
}

// run calls fn for every task in 0..n-1 and returns when all are done. thread
// is below p.threads and names the scratch memory a task may use.
func (p *pool) run(n int, fn func(thread, task int)) {
	if n <= 0 {
		return
	}
	if p.threads == 1 || n == 1 {
		for i := range n {
			fn(0, i)
		}
		return
	}
	p.once.Do(func() {
		for range p.threads - 1 {
			go p.helper()
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	j := &job{n: int64(n), fn: fn}
	j.left.Store(int64(n))
	p.job.Store(j)
	for range min(p.threads, n) - 1 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	j.work()
	for i := 0; j.left.Load() > 0; i++ {
		if i&255 == 255 {
			runtime.Gosched() // the helper may have been taken off its core
		}
		relax()
	}
	p.job.Store(nil)
}

// relax is a short wait of a spinning thread.
func relax() {
	if hasPause {
		pauseAVX2(4)
	}
}

// split runs fn over the range 0..n-1 in blocks, at least about grain long. Blocks
// get shorter towards the end, each half of a thread's even share of what is left:
// threads that are not equally fast still end at nearly the same time.
func (p *pool) split(n, grain int, fn func(thread, lo, hi int)) {
	grain = max(grain, 1)
	if n <= grain || p.threads == 1 {
		if n > 0 {
			fn(0, 0, n)
		}
		return
	}
	blocks := (n + grain - 1) / grain
	grain = (n + blocks - 1) / blocks
	ends := make([]int, 0, 32)
	for at := 0; at < n; {
		at += min(n-at, max(grain, (n-at+2*p.threads-1)/(2*p.threads)))
		ends = append(ends, at)
	}
	p.run(len(ends), func(thread, i int) {
		lo := 0
		if i > 0 {
			lo = ends[i-1]
		}
		fn(thread, lo, ends[i])
	})
}
