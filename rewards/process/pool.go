package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Spec says how a child is started.
type Spec struct {
	Args      []string // program and arguments
	Dir       string   // working directory; "": the caller's
	Env       []string // added to the caller's environment
	MemoryMB  int      // address space of a child; 0: no limit
	MaxOutput int      // bytes of one answer; 0: DefaultMaxOutput
	Workers   int      // children at the same time; 0: 1
}

// DefaultMaxOutput bounds an answer: a group's scores are a few kilobytes.
const DefaultMaxOutput = 4 << 20

// keptStderr is how much of a child's last words an error shows.
const keptStderr = 2000

// Pool is a set of children of one Spec. It is safe for concurrent use.
type Pool struct {
	spec  Spec
	slots chan struct{} // one token a child that may run

	mu     sync.Mutex
	idle   []*child
	closed bool
}

// NewPool checks that the program exists. No child is started before it is needed.
func NewPool(spec Spec) (*Pool, error) {
	if len(spec.Args) == 0 || spec.Args[0] == "" {
		return nil, grouse.Errorf(grouse.Invalid, "no command").WithFix("set command: [PROGRAM, ARGUMENT, ...]")
	}
	if _, err := exec.LookPath(spec.Args[0]); err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "command %q: %w", spec.Args[0], err).WithFix("install it, or give its whole path")
	}
	if spec.MemoryMB < 0 || spec.MaxOutput < 0 || spec.Workers < 0 {
		return nil, grouse.Errorf(grouse.Invalid, "memory_mb %d, max_output %d, workers %d", spec.MemoryMB, spec.MaxOutput, spec.Workers).WithFix("set them to numbers of at least 0")
	}
	if err := supported(spec); err != nil {
		return nil, err
	}
	if spec.MaxOutput == 0 {
		spec.MaxOutput = DefaultMaxOutput
	}
	return &Pool{spec: spec, slots: make(chan struct{}, max(spec.Workers, 1))}, nil
}

// Call sends a line to a child and returns its answer, without the newline. When ctx
// ends the child and its descendants are killed. The error is a *rewards.Error or
// ctx's.
func (p *Pool) Call(ctx context.Context, line []byte) ([]byte, error) {
	leave, err := rewards.Enter(ctx, p.slots)
	if err != nil {
		return nil, err
	}
	defer leave()
	for {
		c, reused, err := p.take()
		if err != nil {
			return nil, err
		}
		answer, err := p.once(ctx, c, line)
		if reused && errors.Is(err, errGone) {
			continue // it answered one group and left, as a plain command does: start another
		}
		return answer, err
	}
}

// Slots has a slot for each child that may run; see rewards.Queued.
func (p *Pool) Slots() chan struct{} { return p.slots }

// errGone is a child that ended, with success, without an answer.
var errGone = errors.New("the process ended without an answer (exit status 0)")

// once has one exchange with a child, and keeps or kills it.
func (p *Pool) once(ctx context.Context, c *child, line []byte) ([]byte, error) {
	type reply struct {
		line []byte
		err  error
	}
	done := make(chan reply, 1)
	go func() {
		out, err := c.exchange(line, p.spec.MaxOutput)
		done <- reply{out, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			if errors.Is(r.err, errTooLong) {
				c.kill()
				return nil, c.explain(r.err, false)
			}
			byItself := c.settle()
			c.kill()
			return nil, c.explain(r.err, byItself)
		}
		p.put(c)
		return r.line, nil
	case <-ctx.Done():
		c.kill()
		<-done
		return nil, ctx.Err()
	}
}

// Close kills every idle child. Children at work are killed by their calls' contexts.
func (p *Pool) Close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.kill()
	}
	return nil
}

// take returns an idle child, or a new one.
func (p *Pool) take() (c *child, reused bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, rewards.Fail(errors.New("the reward is closed"))
	}
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if c.alive() {
			p.mu.Unlock()
			c.stderr.forget() // what it said of an earlier group explains nothing of this one
			return c, true, nil
		}
		c.kill()
	}
	p.mu.Unlock()
	c, err = start(p.spec)
	return c, false, err
}

func (p *Pool) put(c *child) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if closed {
		c.kill()
	}
}

// child is one running process.
type child struct {
	cmd     *exec.Cmd
	limitMB int    // of address space; 0: none
	mark    string // in its environment: finds descendants that left the process group
	in      io.WriteCloser
	out     *bufio.Reader
	pipe    io.Closer // under out
	stderr  *tail
	exited  chan struct{} // closed when the process has been waited for
	status  error         // of it; valid once exited is closed
}

// start starts a child. Its life is tied to a goroutine on a thread of its own,
// because Linux kills it when that thread ends (so it dies with us).
func start(spec Spec) (*child, error) {
	c := &child{limitMB: spec.MemoryMB, mark: newMark(), stderr: &tail{}, exited: make(chan struct{})}
	c.cmd = exec.Command(spec.Args[0], spec.Args[1:]...)
	c.cmd.Dir = spec.Dir
	c.cmd.Env = append(append(os.Environ(), spec.Env...), c.mark)
	c.cmd.Stderr = c.stderr
	setAttributes(c.cmd)
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, rewards.TryAgain(fmt.Errorf("start %s: %w", spec.Args[0], err))
	}
	// A pipe of our own: Wait must not close it before the last answer was read.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, rewards.TryAgain(fmt.Errorf("start %s: %w", spec.Args[0], err))
	}
	c.cmd.Stdout = w
	c.in, c.out, c.pipe = in, bufio.NewReaderSize(r, 1<<16), r
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := c.cmd.Start()
		w.Close()
		started <- err
		if err == nil {
			c.status = c.cmd.Wait()
		}
		close(c.exited)
	}()
	if err := <-started; err != nil {
		r.Close()
		return nil, rewards.TryAgain(fmt.Errorf("start %s: %w", spec.Args[0], err))
	}
	if spec.MemoryMB > 0 {
		if err := limitMemory(c.cmd.Process.Pid, spec.MemoryMB); err != nil {
			c.kill()
			return nil, rewards.Fail(fmt.Errorf("limit the memory of %s: %w", spec.Args[0], err))
		}
	}
	return c, nil
}

func (c *child) alive() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// errTooLong is an answer over the limit.
var errTooLong = errors.New("the answer is too long")

// exchange writes a line and reads one.
func (c *child) exchange(line []byte, limit int) ([]byte, error) {
	wrote := make(chan error, 1)
	go func() { // a child may answer before it has read everything
		_, err := c.in.Write(append(slices.Clip(line), '\n')) // a retry writes the same line: its memory is not ours
		wrote <- err
	}()
	var out []byte
	for {
		part, err := c.out.ReadSlice('\n')
		if out = append(out, part...); len(out) > limit {
			return nil, errTooLong
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return nil, err
		}
		if text := strings.TrimSpace(string(out)); text != "" {
			return []byte(text), nil
		}
		out = out[:0] // an empty line is no answer
	}
}

// settle gives a child whose output ended a moment to end too, and reports whether
// it did so by itself.
func (c *child) settle() bool {
	select {
	case <-c.exited:
		return true
	case <-time.After(2 * time.Second):
		return false
	}
}

// explain says what an exchange's error means, once the child is dead. byItself: it
// ended before it was killed.
func (c *child) explain(err error, byItself bool) error {
	words := strings.TrimSpace(c.stderr.String())
	if words != "" {
		words = "; it said: " + words
	}
	switch {
	case errors.Is(err, errTooLong):
		return rewards.Failf(grouse.BadOutput, "%w%s", err, words)
	case !byItself:
		return rewards.Failf(grouse.Errored, "the process closed its output without an answer%s", words)
	case c.status == nil:
		return rewards.Failf(grouse.Errored, "%w%s", errGone, words)
	case outOfMemory(c.status, words, c.limitMB):
		return rewards.Failf(grouse.OOM, "the process ran out of memory (%v)%s", c.status, words)
	}
	return rewards.Failf(grouse.Errored, "the process ended without an answer: %v%s", c.status, words)
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if n := len(t.data) - keptStderr; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(p), nil
}

func (t *tail) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = t.data[:0]
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
