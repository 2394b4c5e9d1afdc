package collective

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/grouse-rl/grouse"
)

// Hello is what a rank says of itself. All ranks must agree in all but Rank.
type Hello struct {
	Rank    int    `json:"rank"`
	Size    int    `json:"size"`    // how many ranks there are
	Program string `json:"program"` // SHA-256 of the binary
	Device  string `json:"device"`  // tensor.Device.Name: "cuda/sm_90a/bf16"
	NCCL    string `json:"nccl"`    // its version; empty: it is not used
	Run     string `json:"run"`     // name
	Recipe  string `json:"recipe"`  // digest
	Token   string `json:"token"`   // of the meeting: who does not know it is nobody
}

// Fits checks a rank against rank 0: Invalid, naming all that differs.
func (zero *Hello) Fits(h *Hello) error {
	if h.Rank < 1 || h.Rank >= zero.Size {
		return grouse.Errorf(grouse.Invalid, "there is no rank %d to be taken: rank 0 expects 1 to %d", h.Rank, zero.Size-1).WithFix("trainer.ranks says how many there are")
	}
	var differ []string
	for _, f := range []struct{ what, have, want string }{
		{"ranks", fmt.Sprint(h.Size), fmt.Sprint(zero.Size)}, {"program", h.Program, zero.Program}, {"device", h.Device, zero.Device},
		{"NCCL", h.NCCL, zero.NCCL}, {"run", h.Run, zero.Run}, {"recipe", h.Recipe, zero.Recipe},
	} {
		if f.have != f.want {
			differ = append(differ, fmt.Sprintf("%s %q, rank 0 %q", f.what, short(f.have), short(f.want)))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return grouse.Errorf(grouse.Invalid, "rank %d does not fit: it has %s", h.Rank, strings.Join(differ, "; ")).
		WithFix("start all ranks with the same binary, recipe and libraries (`grouse doctor` shows them)")
}

// short is enough of a hash to tell it from others.
func short(s string) string {
	if len(s) == 64 {
		return s[:12]
	}
	return s
}

// answer is what rank 0 tells who came: nothing of an error is "go".
type answer struct {
	Error string `json:"error,omitempty"`
	Fix   string `json:"fix,omitempty"`
}

// Place is where rank 0 waits for the others. It is a secret of the user's: whoever
// knows it may be a rank.
type Place struct {
	Address string `json:"address"`
	Token   string `json:"token"`
}

// Host is rank 0's door, on this machine's loopback.
type Host struct {
	me       Hello
	listener net.Listener
	work     sync.WaitGroup

	mu      sync.Mutex
	links   []*link       // of the ranks that are here, [Size]
	refused []string      // who came and did not fit, since the last meeting
	changed chan struct{} // somebody came
}

const helloWait = 10 * time.Second // whoever says nothing for so long is no rank

// Listen opens the door; me.Rank is 0.
func Listen(me Hello) (*Host, error) {
	secret := make([]byte, 16)
	rand.Read(secret)
	me.Token = hex.EncodeToString(secret)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "rank 0: %w", err)
	}
	h := &Host{me: me, listener: l, links: make([]*link, me.Size), changed: make(chan struct{}, 1)}
	h.work.Go(h.accept)
	return h, nil
}

// Place is where Visit finds this host.
func (h *Host) Place() Place { return Place{h.listener.Addr().String(), h.me.Token} }

// Close shuts the door and sends everybody away, also a group that was met.
func (h *Host) Close() {
	h.listener.Close()
	h.mu.Lock()
	for _, l := range h.links {
		if l != nil {
			l.tell(errors.New("rank 0 ended"))
		}
	}
	h.mu.Unlock()
	h.work.Wait()
}

func (h *Host) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return // closed
		}
		h.work.Go(func() { h.welcome(conn) })
	}
}

func (h *Host) welcome(conn net.Conn) {
	l := newLink(conn, maxHello)
	ctx, cancel := context.WithTimeout(context.Background(), helloWait)
	defer cancel()
	var hello Hello
	raw, err := l.receive(ctx, nil)
	if err == nil {
		err = json.Unmarshal(raw, &hello)
	}
	if err != nil || subtle.ConstantTimeCompare([]byte(hello.Token), []byte(h.me.Token)) != 1 {
		l.end(errors.New("no rank"))
		return
	}
	if err := h.take(&hello, l); err != nil {
		raw, _ := json.Marshal(answer{err.Error(), grouse.FixOf(err)}) // strings
		_ = l.send(raw)                                                // it is gone then
		l.tell(err)
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// take gives a rank its place, unless somebody has it.
func (h *Host) take(hello *Hello, l *link) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.me.Fits(hello); err != nil {
		h.refused = append(h.refused, err.Error())
		return err
	}
	if have := h.links[hello.Rank]; have != nil && have.alive() {
		return grouse.Errorf(grouse.Invalid, "rank %d is there already", hello.Rank).WithFix("give each process a --rank of its own")
	}
	l.limit.Store(maxFrame)
	h.links[hello.Rank] = l
	return nil
}

// Meet waits until all ranks are there and lets them go on together. Unavailable when
// ctx ends before, saying who is missing and who was sent away.
func (h *Host) Meet(ctx context.Context) (*Star, error) {
	for {
		if links := h.all(); links != nil {
			raw, _ := json.Marshal(answer{})
			var err error
			for r := 1; r < len(links) && err == nil; r++ {
				err = links[r].send(raw)
			}
			if err == nil {
				return newStar(0, h.me.Size, links), nil
			}
			for _, l := range links[1:] { // one went away just now: they come again
				l.end(errors.New("rank 0 waits for others"))
			}
			continue
		}
		select {
		case <-h.changed:
		case <-ctx.Done():
			return nil, h.missing()
		}
	}
}

// all returns the links if everybody is there.
func (h *Host) all() []*link {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.links[1:] {
		if l == nil || !l.alive() {
			return nil
		}
	}
	h.refused = nil
	return append([]*link(nil), h.links...)
}

func (h *Host) missing() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var missing []string
	for r, l := range h.links {
		if r > 0 && (l == nil || !l.alive()) {
			missing = append(missing, fmt.Sprint(r))
		}
	}
	text := fmt.Sprintf("%d of %d ranks are there, missing: %s", h.me.Size-len(missing), h.me.Size, strings.Join(missing, ", "))
	if len(h.refused) > 0 {
		text += "; sent away: " + strings.Join(h.refused, "; ")
	}
	h.refused = nil
	return grouse.Errorf(grouse.Unavailable, "%s", text).WithFix("start each: grouse worker --train %s --rank R", h.me.Run)
}

// Visit comes to rank 0 and waits until all ranks are there. Invalid if this rank does
// not fit; Unavailable if rank 0 is not there, or ends first.
func Visit(ctx context.Context, place Place, me Hello) (*Star, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", place.Address)
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "rank 0: %w", err).WithFix("start rank 0, the run itself, and look at its log")
	}
	me.Token = place.Token
	l := newLink(conn, maxFrame)
	raw, err := json.Marshal(me)
	if err == nil {
		err = l.send(raw)
	}
	if err == nil {
		raw, err = l.receive(ctx, nil)
	}
	var a answer
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err == nil && a.Error == "" {
		return newStar(me.Rank, me.Size, []*link{l}), nil
	}
	l.end(errors.New("no meeting"))
	l.wait()
	if a.Error != "" {
		return nil, grouse.Errorf(grouse.Invalid, "%s", a.Error).WithFix("%s", a.Fix)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, grouse.Errorf(grouse.Unavailable, "rank 0 ended before all ranks met: %w", err)
}
