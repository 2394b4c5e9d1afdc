package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

// FollowOptions say which rank of which run.
type FollowOptions struct {
	Home    string
	Rank    int
	Threads int               // of a processor device; 0: all cores
	Retry   time.Duration     // until rank 0 is looked for again; 0: a second
	Say     func(text string) // is told what happens
}

// Follow is one of a run's further ranks until the run is done or ctx ends: it does what
// rank 0, the run's trainer, does. It needs the run's folder and rank 0's machine, and
// nothing else. When rank 0 or another rank goes away it meets them again, and when it has
// failed itself: patience times in a row with the same order, then it returns the error.
// Invalid if it does not fit.
func Follow(ctx context.Context, r *config.Resolved, o FollowOptions) error {
	size := ranksOf(&r.Spec)
	if o.Rank < 1 || o.Rank >= size {
		fix := fmt.Sprintf("rank 0 is the run itself, and %d the last", size-1)
		if size == 1 {
			fix = "set trainer.ranks in the recipe"
		}
		return grouse.Errorf(grouse.Invalid, "run %s has trainer.ranks: %d, so there is no rank %d to follow", r.Spec.Name, size, o.Rank).WithFix("%s", fix)
	}
	if err := Supported(&r.Spec); err != nil {
		return err
	}
	dev, err := OpenDevice(&r.Spec, o.Threads)
	if err != nil {
		return err
	}
	dir := RunDir(o.Home, r.Spec.Name)
	l, err := newLearner(dev, r.Spec, dir, r.Base, o.Home, &store{})
	if err != nil {
		return err
	}
	me, err := l.hello(o.Rank)
	if err != nil {
		return err
	}
	if o.Retry == 0 {
		o.Retry = time.Second
	}
	said := ""
	for ctx.Err() == nil {
		if _, err := os.Stat(filepath.Join(dir, DoneFile)); err == nil {
			o.Say("run " + r.Spec.Name + " is done")
			return nil
		}
		err := l.visit(ctx, filepath.Join(dir, ranksFile), me, o.Say)
		if l.fault.times == patience {
			return err
		}
		if k := grouse.KindOf(err); ctx.Err() == nil && k != grouse.Unavailable && k != grouse.NotFound {
			return err
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			o.Say(said + "; waiting for rank 0")
		}
		select {
		case <-time.After(o.Retry):
		case <-ctx.Done():
		}
	}
	return nil
}

// visit meets the other ranks once and follows until something ends the group.
func (l *learner) visit(ctx context.Context, path string, me collective.Hello, say func(string)) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return grouse.Errorf(grouse.NotFound, "run %s is not running", me.Run)
	}
	var place collective.Place
	if err == nil {
		err = json.Unmarshal(raw, &place)
	}
	if err != nil || place.Address == "" {
		return grouse.Errorf(grouse.Unavailable, "%s is not there yet: %v", path, err)
	}
	star, err := collective.Visit(ctx, place, me)
	if err != nil {
		return err
	}
	g, err := devices.Group(ctx, l.dev, star)
	if err != nil {
		star.Close()
		return err
	}
	defer g.Close()
	say(fmt.Sprintf("all %d ranks of run %s are there", me.Size, me.Run))
	return l.follow(ctx, g)
}

// follow does what rank 0 orders until the group ends, and returns why: an error of its
// own is told to the others.
func (l *learner) follow(ctx context.Context, g collective.Group) error {
	l.group, l.stage, l.tr = g, -1, nil
	for {
		raw, err := g.Broadcast(ctx, nil)
		if err != nil {
			return err
		}
		o, err := decodeOrder(raw)
		var answer string
		if err == nil {
			answer, err = l.obey(ctx, &o)
		}
		if err != nil && g.Err() == nil {
			err = l.fault.count(&o, err)
			g.Fail(err)
			return err
		}
		if err != nil {
			return grouse.Errorf(grouse.Unavailable, "%w", g.Err()) // another's, which came first
		}
		if _, err := g.Gather(ctx, []byte(answer)); err != nil {
			return err
		}
	}
}

// patience is how often a rank fails with the same in a row before it ends: what did not
// change by then will not, and somebody has to look.
const patience = 3

// fault is how a rank failed last, by no fault of the others.
type fault struct {
	text  string
	times int // in a row
}

// count notes an error and returns it with what was to be done: Unavailable, as the ranks
// may meet again, unless it is the last one.
func (f *fault) count(o *order, err error) error {
	what := fmt.Sprintf("failed to %v: %v", o, err)
	if what != f.text {
		*f = fault{text: what}
	}
	f.times++
	kind, last := grouse.Unavailable, ""
	if f.times == patience {
		kind, last = grouse.KindOf(err), fmt.Sprintf(", %d times in a row, and ends", patience)
	}
	told := grouse.Errorf(kind, "failed to %v%s: %w", o, last, err)
	if fix := grouse.FixOf(err); fix != "" {
		return told.WithFix("%s", fix)
	}
	return told
}
