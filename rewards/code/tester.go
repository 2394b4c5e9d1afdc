package code

import (
	"context"
	"errors"
	"sync"

	"github.com/grouse-rl/grouse/rewards/sandbox"
)

// testers keeps sandboxes with an interpreter that waits for tests. It forks for each
// job, so that a job starts in a millisecond and leaves nothing behind in memory.
// Programs never get here: each has a sandbox of its own.
type testers struct {
	sandbox sandbox.Sandbox
	ctx     context.Context // ends with close
	cancel  context.CancelFunc

	mu   sync.Mutex
	idle []*tester
}

// tester is one sandbox that waits, or has a job.
type tester struct {
	*sandbox.Process
	said bool // the job has its result
	done bool // and its process has ended: the tester can have another
}

func newTesters(s sandbox.Sandbox) *testers {
	ctx, cancel := context.WithCancel(context.Background())
	return &testers{sandbox: s, ctx: ctx, cancel: cancel}
}

// take gives a tester the job.
func (t *testers) take(job []byte) (*tester, error) {
	for {
		t.mu.Lock()
		var one *tester
		if n := len(t.idle); n > 0 {
			one, t.idle = t.idle[n-1], t.idle[:n-1]
		}
		t.mu.Unlock()
		fresh := one == nil
		if fresh {
			p, err := t.sandbox.Start(t.ctx, nil)
			if err != nil {
				return nil, err
			}
			one = &tester{Process: p}
		}
		err := writeFrame(one.Stdin, job)
		if err == nil {
			one.said, one.done = false, false
			return one, nil
		}
		if endErr := one.end(); fresh { // an old one may have been killed meanwhile
			return nil, errors.Join(err, endErr)
		}
	}
}

// put keeps a tester whose job has ended, and ends another.
func (t *testers) put(one *tester) {
	if one.finish() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.ctx.Err() == nil {
			t.idle = append(t.idle, one)
			return
		}
	}
	one.end()
}

// Close ends the testers that wait.
func (t *testers) Close() error {
	t.cancel()
	t.mu.Lock()
	idle := t.idle
	t.idle = nil
	t.mu.Unlock()
	for _, one := range idle {
		one.end()
	}
	return nil
}

// read reads a frame of the tests.
func (t *tester) read() (frame []byte, v any, err error) {
	if frame, err = readFrame(t.Stdout); err != nil {
		return nil, nil, err
	}
	if v, err = parseFrame(frame, fromTests); err != nil {
		return nil, nil, err
	}
	switch frame[0] {
	case 'R', 'K':
		t.said = true
	case 'D':
		t.done = true
	}
	return frame, v, nil
}

// finish waits for the job's end after its result. A job without a result may go on
// for long: then its tester is no use.
func (t *tester) finish() bool {
	if t.done {
		return true
	}
	if !t.said {
		return false
	}
	_, _, err := t.read()
	return err == nil && t.done
}

func (t *tester) end() error {
	t.Kill(sandbox.Cancelled)
	_, err := t.Wait()
	return err
}
