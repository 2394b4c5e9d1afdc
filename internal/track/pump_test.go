package track

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
)

// flaky is a sink that keeps rows and fails when it is told to.
type flaky struct {
	mu     sync.Mutex
	rows   map[int64]float64
	calls  int
	fail   func(call int) error
	opened int
	closed bool
	done   bool
}

func (f *flaky) Open(_ context.Context, c cursor) (cursor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	return c, nil
}

func (f *flaky) Log(_ context.Context, points []Point) (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.fail != nil {
		if err := f.fail(f.calls); err != nil {
			return nil, err
		}
	}
	if f.rows == nil {
		f.rows = map[int64]float64{}
	}
	for _, p := range points {
		if v, ok := f.rows[p.Row]; ok && v != p.Metrics["reward"] {
			panic(fmt.Sprintf("row %d: %v after %v", p.Row, p.Metrics["reward"], v))
		}
		f.rows[p.Row] = p.Metrics["reward"]
	}
	return json.RawMessage(`{"kept":true}`), nil
}

func (f *flaky) Close(_ context.Context, finished bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.done = true, finished
	return nil
}

func (f *flaky) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows)
}

func newPump(t *testing.T, main, fallback *flaky, source *lines, warn func(string)) *pump {
	t.Helper()
	p := &pump{main: &delivery{name: "test", sink: main, source: source, path: filepath.Join(t.TempDir(), "c.json")}, warn: warn, pace: fast}
	if fallback != nil {
		p.fallback, p.where = &delivery{sink: fallback, source: source}, "HERE"
	}
	return p
}

func TestPumpDeliversWhatComes(t *testing.T) {
	source, sink := &lines{}, &flaky{}
	p := newPump(t, sink, nil, source, nil)
	p.start()
	for range 3 {
		source.add(7)
		p.wake <- struct{}{}
	}
	eventually(t, "21 rows", func() bool { return sink.count() == 21 })
	source.add(2)
	p.close(true)
	if sink.count() != 23 || !sink.done {
		t.Errorf("%d rows at the end, finished %v", sink.count(), sink.done)
	}
	c, err := loadCursor(p.main.path)
	if err != nil || c.Rows != 23 || string(c.State) != `{"kept":true}` {
		t.Errorf("cursor %+v, %v", c, err)
	}
	again := &flaky{} // the process that resumes
	q := newPump(t, again, nil, source, nil)
	q.main.path = p.main.path
	source.add(1)
	q.start()
	q.close(false)
	if again.count() != 1 || again.done {
		t.Errorf("resumed: %v, finished %v", again.rows, again.done)
	}
}

func TestPumpOutlastsAFailure(t *testing.T) {
	source, sink := &lines{}, &flaky{fail: func(call int) error {
		if call < 9 {
			return grouse.Errorf(grouse.Unavailable, "call %d", call)
		}
		return nil
	}}
	fallback := &flaky{}
	var warnings []string
	p := newPump(t, sink, fallback, source, func(s string) { warnings = append(warnings, s) })
	source.add(5)
	p.start()
	eventually(t, "delivery", func() bool { return sink.count() == 5 })
	p.close(true)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "tried again") || !strings.Contains(warnings[0], "HERE") {
		t.Errorf("warnings: %q", warnings)
	}
	if fallback.count() != 5 || !fallback.done {
		t.Errorf("the fallback has %d rows, finished %v", fallback.count(), fallback.done)
	}
	if sink.opened < 8 {
		t.Errorf("opened %d times: an error opens anew", sink.opened)
	}
}

// A short failure is nobody's business.
func TestPumpIsQuietAtFirst(t *testing.T) {
	source, sink, fallback := &lines{}, &flaky{fail: func(call int) error {
		if call < patience {
			return errors.New("away")
		}
		return nil
	}}, &flaky{}
	p := newPump(t, sink, fallback, source, func(s string) { t.Errorf("warned: %s", s) })
	source.add(5)
	p.start()
	eventually(t, "delivery", func() bool { return sink.count() == 5 })
	p.close(true)
	if fallback.opened != 0 {
		t.Error("the fallback was used")
	}
}

func TestPumpGivesUp(t *testing.T) {
	source, sink, fallback := &lines{}, &flaky{fail: func(int) error { return grouse.Errorf(grouse.Invalid, "the key is refused") }}, &flaky{}
	var warnings []string
	p := newPump(t, sink, fallback, source, func(s string) { warnings = append(warnings, s) })
	source.add(5)
	p.start()
	eventually(t, "the fallback", func() bool { return fallback.count() == 5 })
	source.add(1)
	p.close(true)
	if sink.calls != 1 || fallback.count() != 6 || !fallback.done {
		t.Errorf("%d calls, fallback %d rows, finished %v", sink.calls, fallback.count(), fallback.done)
	}
	if len(warnings) != 1 || strings.Contains(warnings[0], "tried again") {
		t.Errorf("warnings: %q", warnings)
	}
}

// stuck hangs until its context ends.
type stuck struct{ flaky }

func (s *stuck) Log(ctx context.Context, _ []Point) (json.RawMessage, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAStuckTrackerDoesNotHoldTheRun(t *testing.T) {
	source, fallback := &lines{}, &flaky{}
	p := &pump{main: &delivery{name: "stuck", sink: &stuck{}, source: source}, fallback: &delivery{sink: fallback, source: source}, pace: fast}
	p.pace.grace = 50 * time.Millisecond
	source.add(5)
	p.start()
	set := &Set{pumps: []*pump{p}}
	began := time.Now()
	for range 10_000 { // a run's steps never wait
		set.Wake()
	}
	if d := time.Since(began); d > 500*time.Millisecond {
		t.Errorf("10,000 wakes took %v", d)
	}
	set.Close(true)
	if d := time.Since(began); d > time.Second {
		t.Errorf("closing took %v", d)
	}
	if fallback.count() != 5 {
		t.Errorf("the fallback has %d rows", fallback.count())
	}
}
