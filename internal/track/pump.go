package track

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/grouse-rl/grouse"
)

// sink is one tracker. Its methods are called one at a time. An error of kind
// Invalid is final: it would come again.
type sink interface {
	// Open begins, or goes on where c says, and returns where it really goes on.
	// It comes again after an error of Log, and then drops what it held.
	Open(ctx context.Context, c cursor) (cursor, error)
	// Log reports points that follow the last ones and returns the state to go on
	// with. The same points come again if the process ends before that is kept:
	// they must then replace themselves.
	Log(ctx context.Context, points []Point) (json.RawMessage, error)
	// Close ends: the run is finished, or it may go on later.
	Close(ctx context.Context, finished bool) error
}

// beater is a sink that wants to be called when there is nothing to report.
type beater interface {
	Beat(ctx context.Context) error
}

// batch is how many points are reported at once: a resumed run catches up in few
// requests.
const batch = 500

// delivery brings a source's points to one sink.
type delivery struct {
	name   string
	sink   sink
	source Source
	path   string // of the cursor; "": the sink begins anew each time
	open   bool
	at     cursor
}

// catchUp reports everything that there is.
func (d *delivery) catchUp(ctx context.Context) error {
	if !d.open {
		c, err := loadCursor(d.path)
		if err == nil {
			d.at, err = d.sink.Open(ctx, c)
		}
		if err == nil {
			err = d.at.save(d.path) // what Open made is not made again
		}
		if err != nil {
			return err
		}
		d.open = true
	}
	for {
		points, err := d.source.Points(d.at.Rows, batch)
		if err != nil || len(points) == 0 {
			return err
		}
		state, err := d.sink.Log(ctx, points)
		if err != nil {
			d.open = false
			return err
		}
		d.at = cursor{Rows: d.at.Rows + int64(len(points)), State: state}
		if err := d.at.save(d.path); err != nil {
			return err
		}
	}
}

// pump drives a tracker in a goroutine of its own, and its replacement once the
// tracker fails for good or for long.
type pump struct {
	main     *delivery
	fallback *delivery // nil: there is none
	where    string    // of the fallback, for the warning
	warn     func(string)
	pace     pace

	wake   chan struct{} // there are new points
	closed chan struct{}
	ended  chan struct{}
	finish bool // the run is finished; set before closed

	failures int // in a row
	gaveUp   bool
	warned   bool
}

// pace is how fast a pump works.
type pace struct {
	between time.Duration // of two deliveries: points gather meanwhile
	retry   time.Duration // after the first failure; doubled after each, up to most
	most    time.Duration
	beat    time.Duration // without a delivery
	grace   time.Duration // for what is left at the end
}

var usual = pace{between: time.Second, retry: time.Second, most: time.Minute, beat: 30 * time.Second, grace: 5 * time.Second}

// patience is how often in a row a tracker may fail before anybody is told.
const patience = 3

func (p *pump) start() {
	p.wake, p.closed, p.ended = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go p.run()
}

// close delivers what is left, for the pace's grace at most, and waits for it.
func (p *pump) close(finished bool) {
	p.finish = finished
	close(p.closed)
	<-p.ended
}

func (p *pump) run() {
	defer close(p.ended)
	defer func() {
		for _, d := range []*delivery{p.main, p.fallback} {
			if d != nil {
				_ = d.source.Close() // it was only read
			}
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-p.closed
		select {
		case <-p.ended:
		case <-time.After(p.pace.grace):
			cancel()
		}
	}()
	for delay := time.Duration(0); !p.isClosed(); {
		if p.deliver(ctx) != nil {
			delay = min(max(p.pace.retry, 2*delay), p.pace.most)
			p.sleep(delay)
			continue
		}
		delay = 0
		p.sleep(p.pace.between)
		p.idle(ctx)
	}
	p.end(ctx)
}

func (p *pump) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// sleep waits that long, or until the end.
func (p *pump) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.closed:
	}
}

// idle waits for points, or until the end.
func (p *pump) idle(ctx context.Context) {
	tick := time.NewTicker(p.pace.beat)
	defer tick.Stop()
	for {
		select {
		case <-p.wake:
			return
		case <-p.closed:
			return
		case <-tick.C:
			if b, ok := p.main.sink.(beater); ok && p.main.open {
				_ = b.Beat(ctx) // the next delivery tells whether the tracker is there
			}
		}
	}
}

// deliver reports what there is. The error says that it is to be tried again.
func (p *pump) deliver(ctx context.Context) error {
	if !p.gaveUp {
		err := p.main.catchUp(ctx)
		if err == nil {
			p.failures = 0
			return nil
		}
		p.failures++
		if p.gaveUp = grouse.KindOf(err) == grouse.Invalid; !p.gaveUp && p.failures < patience {
			return err
		}
		p.tell(err)
		if !p.gaveUp {
			p.replace(ctx)
			return err
		}
	}
	p.replace(ctx)
	return nil
}

// replace reports to the fallback. Its failure is told like the tracker's own.
func (p *pump) replace(ctx context.Context) {
	if p.fallback == nil {
		return
	}
	if err := p.fallback.catchUp(ctx); err != nil {
		p.tell(err)
	}
}

// tell warns, once.
func (p *pump) tell(err error) {
	if p.warned || p.warn == nil {
		return
	}
	p.warned = true
	text := fmt.Sprintf("tracker %s: %v", p.main.name, err)
	if fix := grouse.FixOf(err); fix != "" {
		text += " (" + fix + ")"
	}
	if p.fallback != nil {
		text += "; what it misses is in " + p.where
	}
	if !p.gaveUp && !p.isClosed() {
		text += "; it is tried again"
	}
	p.warn(text + ". The run goes on")
}

// end is the last delivery.
func (p *pump) end(ctx context.Context) {
	var err error
	if !p.gaveUp {
		for delay := p.pace.retry; ; delay *= 2 {
			if err = p.main.catchUp(ctx); err == nil {
				err = p.main.sink.Close(ctx, p.finish)
			}
			if p.failures++; err == nil || p.failures >= patience || grouse.KindOf(err) == grouse.Invalid {
				break // one that was away before is not waited for
			}
			select {
			case <-time.After(delay):
			case <-ctx.Done():
			}
		}
		if err != nil {
			p.tell(err)
		}
	}
	if p.fallback == nil || err == nil && !p.gaveUp && !p.fallback.open {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.pace.grace) // of its own: the tracker may have used up the other
	defer cancel()
	if err := p.fallback.catchUp(ctx); err != nil {
		p.tell(err)
		return
	}
	if err := p.fallback.sink.Close(ctx, p.finish); err != nil {
		p.tell(err)
	}
}
