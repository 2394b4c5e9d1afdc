package collective

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/shard"
)

// Star is a Group in which every rank has a connection to rank 0.
type Star struct {
	rank, size int
	links      []*link // at rank 0 [size], the first nil; elsewhere [1], to rank 0

	work sync.WaitGroup
	once sync.Once
	down chan struct{}
	err  error // why; valid once down is closed
}

var _ Group = (*Star)(nil)

func newStar(rank, size int, links []*link) *Star {
	s := &Star{rank: rank, size: size, links: links, down: make(chan struct{})}
	for i, l := range links {
		if l == nil {
			continue
		}
		s.work.Go(func() {
			<-l.dead
			s.Fail(s.from(i, l.err))
		})
	}
	return s
}

// from says which rank an error came from.
func (s *Star) from(i int, err error) error {
	var told *ended
	switch {
	case errors.As(err, &told) && s.rank != 0:
		return grouse.Errorf(grouse.Unavailable, "%s", told.why) // rank 0 says who
	case errors.As(err, &told):
		return grouse.Errorf(grouse.Unavailable, "rank %d: %s", i, told.why)
	}
	return grouse.Errorf(grouse.Unavailable, "rank %d went away: %w", i, err).WithFix("look at its log, and start it again")
}

// Local returns the ends of a group within this process.
func Local(size int) []*Star {
	zero, out := make([]*link, size), make([]*Star, size)
	for r := 1; r < size; r++ {
		a, b := net.Pipe()
		zero[r] = newLink(a, maxFrame)
		out[r] = newStar(r, size, []*link{newLink(b, maxFrame)})
	}
	out[0] = newStar(0, size, zero)
	return out
}

// Rank is this end's.
func (s *Star) Rank() int { return s.rank }

// Size is how many ranks there are.
func (s *Star) Size() int { return s.size }

// Down is closed when the group has ended.
func (s *Star) Down() <-chan struct{} { return s.down }

// Err says why the group has ended, nil if it has not.
func (s *Star) Err() error {
	select {
	case <-s.down:
		return s.err
	default:
		return nil
	}
}

// Fail ends the group.
func (s *Star) Fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.down)
		for _, l := range s.links {
			if l != nil {
				l.tell(err)
			}
		}
	})
}

// Close ends the group without an error of its own and waits for its goroutines.
func (s *Star) Close() {
	s.Fail(s.of("ended"))
	for _, l := range s.links {
		if l != nil {
			l.wait()
		}
	}
	s.work.Wait()
}

// of is what this rank says of itself. What rank 0 says goes to all others as it is;
// before what others say rank 0 puts who.
func (s *Star) of(what string) error {
	if s.rank == 0 {
		what = "rank 0 " + what
	}
	return grouse.Errorf(grouse.Unavailable, "%s", what)
}

// broken ends the group over an error of a call, and returns why it has ended.
func (s *Star) broken(i int, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		s.Fail(s.of("was interrupted"))
		return err
	}
	s.Fail(s.from(i, err))
	return s.err
}

func (s *Star) send(i int, b []byte) error {
	if err := s.Err(); err != nil {
		return err
	}
	if err := s.links[i].send(b); err != nil {
		return s.broken(i, err)
	}
	return nil
}

func (s *Star) receive(ctx context.Context, i int) ([]byte, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	b, err := s.links[i].receive(ctx, s.down)
	if err != nil {
		return nil, s.broken(i, err)
	}
	return b, nil
}

// Gather implements Group.
func (s *Star) Gather(ctx context.Context, mine []byte) ([][]byte, error) {
	if s.rank != 0 {
		return nil, s.send(0, mine)
	}
	all := make([][]byte, s.size)
	all[0] = mine
	for r := 1; r < s.size; r++ {
		var err error
		if all[r], err = s.receive(ctx, r); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Broadcast implements Group.
func (s *Star) Broadcast(ctx context.Context, b []byte) ([]byte, error) {
	if s.rank != 0 {
		return s.receive(ctx, 0)
	}
	for r := 1; r < s.size; r++ {
		if err := s.send(r, b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// ReduceScatter implements Group: rank 0 adds up, in order of ranks.
func (s *Star) ReduceScatter(ctx context.Context, dev tensor.Device, row tensor.Buffer) error {
	n := row.Len() / s.size
	mine := dev.View(row, s.rank*n, n)
	sum := make([]float32, row.Len())
	dev.Read(sum, row)
	if s.rank != 0 {
		if err := s.send(0, packed(sum)); err != nil {
			return err
		}
		b, err := s.receive(ctx, 0)
		if err == nil {
			err = s.unpack(0, sum[:n], b)
		}
		if err == nil {
			dev.Write(mine, sum[:n])
		}
		return err
	}
	part := make([]float32, row.Len())
	for r := 1; r < s.size; r++ {
		b, err := s.receive(ctx, r)
		if err == nil {
			err = s.unpack(r, part, b)
		}
		if err != nil {
			return err
		}
		shard.Reduce(sum, [][]float32{sum, part})
	}
	for r := 1; r < s.size; r++ {
		if err := s.send(r, packed(sum[r*n:(r+1)*n])); err != nil {
			return err
		}
	}
	dev.Write(mine, sum[:n])
	return nil
}

// AllGather implements Group.
func (s *Star) AllGather(ctx context.Context, dev tensor.Device, row tensor.Buffer) error {
	n := row.Len() / s.size
	all := make([]float32, row.Len())
	mine := all[s.rank*n : (s.rank+1)*n]
	dev.Read(mine, dev.View(row, s.rank*n, n))
	parts, err := s.Gather(ctx, packed(mine))
	if err != nil {
		return err
	}
	for r := 1; r < len(parts); r++ {
		if err := s.unpack(r, all[r*n:(r+1)*n], parts[r]); err != nil {
			return err
		}
	}
	var whole []byte
	if s.rank == 0 {
		whole = packed(all)
	}
	if whole, err = s.Broadcast(ctx, whole); err != nil {
		return err
	}
	if s.rank != 0 {
		if err := s.unpack(0, all, whole); err != nil {
			return err
		}
	}
	dev.Write(row, all)
	return nil
}

func packed(x []float32) []byte {
	b := make([]byte, 4*len(x))
	_, _ = binary.Encode(b, binary.LittleEndian, x) // it fits
	return b
}

// unpack reads numbers that rank i sent.
func (s *Star) unpack(i int, dst []float32, b []byte) error {
	if len(b) != 4*len(dst) {
		return s.broken(i, fmt.Errorf("it sent %d bytes, want %d numbers: it is in another place of the run", len(b), len(dst)))
	}
	_, err := binary.Decode(b, binary.LittleEndian, dst)
	return err
}
