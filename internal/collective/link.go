package collective

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A frame on the wire: kind u8, length u64 little-endian, payload.
const (
	framePing byte = iota
	frameData
	frameEnd // payload: why the other side ends the group
)

// Silence is how long a rank may be silent before it counts as gone. Its process says
// every pingEvery that it is there, whatever it computes.
const (
	Silence   = 30 * time.Second
	pingEvery = time.Second
)

const (
	maxFrame = 1 << 40 // bytes: what is longer is no frame of ours
	maxHello = 1 << 16 // of a stranger
	chunk    = 1 << 20 // bytes that have Silence to be written or read
)

// link is a connection to another rank.
type link struct {
	conn  net.Conn
	in    chan []byte
	write sync.Mutex
	work  sync.WaitGroup
	limit atomic.Uint64 // bytes of a frame that is read

	once sync.Once
	dead chan struct{} // closed when the link has ended
	err  error         // why; valid once dead is closed
}

var errDown = errors.New("the group is down")

// newLink takes conn over; end closes it. Frames of more than limit bytes end it, until
// limit is raised.
func newLink(conn net.Conn, limit uint64) *link {
	l := &link{conn: conn, in: make(chan []byte, 4), dead: make(chan struct{})}
	l.limit.Store(limit)
	l.work.Go(func() { l.end(l.read()) })
	l.work.Go(l.ping)
	return l
}

// end closes the link for a reason, the first of which stays.
func (l *link) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.dead)
		l.conn.Close()
	})
}

// tell ends the link and tells the other side why, if it listens.
func (l *link) tell(err error) {
	if l.write.TryLock() { // a frame that is under way cannot be finished
		l.conn.SetWriteDeadline(time.Now().Add(time.Second))
		_ = l.frame(frameEnd, []byte(err.Error())) // the other side then sees the connection end
		l.write.Unlock()
	}
	l.end(err)
}

// lost ends the link after a write failed. What the other side said before it left, if
// anything, is still being read.
func (l *link) lost() {
	select {
	case <-l.dead:
	case <-time.After(time.Second):
		l.end(errors.New("its connection ended"))
	}
}

// wait returns when the link's goroutines have ended, after end.
func (l *link) wait() { l.work.Wait() }

func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

func (l *link) read() error {
	head := make([]byte, 9)
	for {
		if err := l.fill(head); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint64(head[1:])
		if n > l.limit.Load() {
			return fmt.Errorf("a frame of %d bytes", n)
		}
		body := make([]byte, n)
		if err := l.fill(body); err != nil {
			return err
		}
		switch head[0] {
		case framePing:
		case frameData:
			select {
			case l.in <- body:
			case <-l.dead:
				return l.err
			}
		case frameEnd:
			return &ended{string(body)}
		default:
			return fmt.Errorf("a frame of kind %d", head[0])
		}
	}
}

// ended is the reason that the other side gave.
type ended struct{ why string }

func (e *ended) Error() string { return e.why }

func (l *link) fill(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), chunk)
		l.conn.SetReadDeadline(time.Now().Add(Silence))
		if _, err := io.ReadFull(l.conn, b[:n]); err != nil {
			var slow net.Error
			if errors.As(err, &slow) && slow.Timeout() {
				return fmt.Errorf("silent for %v", Silence)
			}
			return errors.New("its connection ended")
		}
		b = b[n:]
	}
	return nil
}

func (l *link) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.dead:
			return
		case <-tick.C:
		}
		if l.write.TryLock() { // else a frame is on its way, which says as much
			l.conn.SetWriteDeadline(time.Now().Add(Silence))
			err := l.frame(framePing, nil)
			l.write.Unlock()
			if err != nil {
				l.lost()
			}
		}
	}
}

// frame writes a frame; the caller holds the write lock.
func (l *link) frame(kind byte, body []byte) error {
	head := binary.LittleEndian.AppendUint64([]byte{kind}, uint64(len(body)))
	_, err := l.conn.Write(head)
	return errors.Join(err, l.body(body, kind == frameData))
}

func (l *link) body(b []byte, extend bool) error {
	for len(b) > 0 {
		n := min(len(b), chunk)
		if extend {
			l.conn.SetWriteDeadline(time.Now().Add(Silence))
		}
		if _, err := l.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// send writes a message.
func (l *link) send(b []byte) error {
	l.write.Lock()
	defer l.write.Unlock()
	l.conn.SetWriteDeadline(time.Now().Add(Silence))
	if err := l.frame(frameData, b); err != nil {
		l.lost()
		return l.err
	}
	return nil
}

// receive waits for a message, or until the group is down.
func (l *link) receive(ctx context.Context, down <-chan struct{}) ([]byte, error) {
	select {
	case b := <-l.in: // also what came before the link ended
		return b, nil
	default:
	}
	select {
	case b := <-l.in:
		return b, nil
	case <-l.dead:
		return nil, l.err
	case <-down:
		return nil, errDown
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
