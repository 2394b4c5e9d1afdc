package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
)

// Sandbox runs programs of one Spec, each on its own.
type Sandbox interface {
	// Start starts a program; file is what Spec.File is to hold, nil if it names
	// none. When ctx ends the program is killed with all its descendants. An error
	// says that there is no sandbox, never that a program is bad.
	Start(ctx context.Context, file []byte) (*Process, error)
	Level() string // in words, how programs are isolated
	Limits() Limits
	Close() error
}

// Process is a program at work.
type Process struct {
	Stdin  io.WriteCloser // the caller closes it
	Stdout io.ReadCloser  // the caller reads it to the end, or calls Kill
	Kill   func(why End)  // ends the whole tree; the first reason is the result's
	wait   func() (Result, error)
}

// Wait returns how the program ended, once all of its tree has: a deadline is part
// of the sandbox. An error says that the sandbox failed.
func (p *Process) Wait() (Result, error) {
	r, err := p.wait()
	p.Stdin.Close()
	p.Stdout.Close()
	return r, err
}

// Run runs a program on an input and collects its output.
func Run(ctx context.Context, s Sandbox, file, stdin []byte) (Result, error) {
	p, err := s.Start(ctx, file)
	if err != nil {
		return Result{}, err
	}
	var group sync.WaitGroup
	group.Go(func() {
		p.Stdin.Write(stdin) // a program need not read it
		p.Stdin.Close()
	})
	limit := s.Limits().Output
	var out []byte
	group.Go(func() {
		out, _ = io.ReadAll(io.LimitReader(p.Stdout, int64(limit)+1))
		if len(out) > limit {
			p.Kill(TooMuchSaid)
			out = out[:limit]
		}
	})
	r, err := p.wait()
	// The tree is gone: what is left in the pipe is read, and a write to it fails.
	group.Wait()
	if e := p.Stdout.Close(); e != nil && !errors.Is(e, os.ErrClosed) && err == nil {
		err = e
	}
	if len(out) >= limit && r.End == Exited {
		r.End = TooMuchSaid
	}
	r.Stdout = out
	return r, err
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p[max(0, len(p)-keptStderr):]...)
	if n := len(t.data) - keptStderr; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.data
}
