package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/durable"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

// leader is rank 0 of a run with several ranks: what its learner does that needs weights
// or moments, the others are told to do, too (order.go, follower.go). It alone writes
// files, publishes weights and knows of Temporal.
//
// A rank that is gone ends what is under way with an error that names it. The memory of
// all then counts for nothing (Intact), and when the trainer loads a checkpoint, or the
// first weights, the ranks meet again.
type leader struct {
	*learner
	meet   func(ctx context.Context) (collective.Group, error)
	parted error // why the ranks that met last are no longer together
}

var (
	_ memory            = (*leader)(nil)
	_ activities.Intact = (*leader)(nil)
)

// Intact reports whether all ranks are there.
func (l *leader) Intact() bool { return l.group != nil && l.group.Err() == nil }

// join meets the ranks unless they are there.
func (l *leader) join(ctx context.Context) error {
	if l.Intact() {
		return nil
	}
	l.end()
	g, err := l.meet(ctx)
	if err != nil && l.parted != nil {
		err = grouse.Errorf(grouse.KindOf(err), "%w; their last meeting ended: %w", err, l.parted).WithFix("%s", grouse.FixOf(err))
	}
	if err != nil {
		return err
	}
	l.group, l.parted = g, nil
	return nil
}

// end leaves the group.
func (l *leader) end() {
	if l.group != nil {
		l.parted = l.group.Err()
		l.group.Close()
	}
	l.group = nil
}

// together gives an order and does it with the others. do returns what must be the same
// at all ranks.
func (l *leader) together(ctx context.Context, o *order, do func() (string, error)) (err error) {
	if l.group == nil {
		return grouse.Errorf(grouse.Unavailable, "the ranks have not met")
	}
	g := l.group
	defer func() {
		if p := recover(); p != nil { // of a device: the others must not wait
			g.Fail(grouse.Errorf(grouse.Unavailable, "rank 0: %v", p))
			panic(p)
		}
		if err != nil {
			g.Fail(grouse.Errorf(grouse.Unavailable, "rank 0: %w", err))
		}
	}()
	raw, err := o.encode()
	if err != nil {
		return err
	}
	if _, err := g.Broadcast(ctx, raw); err != nil {
		return err
	}
	mine, err := do()
	if err != nil {
		return err
	}
	answers, err := g.Gather(ctx, []byte(mine))
	if err != nil {
		return err
	}
	for r, a := range answers {
		if string(a) != mine {
			return grouse.Errorf(grouse.Invalid, "to %s, rank %d came to another result than rank 0: %.200q, want %.200q", o.Do, r, a, mine).
				WithFix("all ranks need the same model and data files")
		}
	}
	return nil
}

// LoadInitial is the learner's at all ranks.
func (l *leader) LoadInitial(ctx context.Context) (digest string, err error) {
	if err := l.join(ctx); err != nil {
		return "", err
	}
	err = l.together(ctx, &order{Do: doInitial}, func() (string, error) {
		digest, err = l.learner.LoadInitial(ctx)
		return digest, err
	})
	return digest, err
}

// Load is the learner's at all ranks.
func (l *leader) Load(ctx context.Context, rec grouse.CheckpointRecord) error {
	if err := l.join(ctx); err != nil {
		return err
	}
	return l.together(ctx, &order{Do: doLoad, Checkpoint: rec}, func() (string, error) {
		if err := l.learner.Load(ctx, rec); err != nil {
			return "", err
		}
		return l.loadedState()
	})
}

// Begin is the learner's at all ranks.
func (l *leader) Begin(ctx context.Context, stage int) error {
	return l.together(ctx, &order{Do: doBegin, Stage: stage}, func() (string, error) { return "", l.learner.Begin(ctx, stage) })
}

// Step is the learner's at all ranks.
func (l *leader) Step(ctx context.Context, req activities.StepRequest, progress func(int)) (out activities.StepResult, err error) {
	o, err := stepOrder(req)
	if err != nil {
		return out, err
	}
	err = l.together(ctx, o, func() (string, error) {
		if out, err = l.learner.Step(ctx, req, progress); err != nil {
			return "", err
		}
		return l.counters()
	})
	return out, err
}

// SFT is the learner's at all ranks.
func (l *leader) SFT(ctx context.Context, req activities.SFTRequest, progress func(int)) (out activities.SFTResult, err error) {
	settings, err := json.Marshal(req.Settings)
	if err != nil {
		return out, err
	}
	err = l.together(ctx, &order{Do: doSFT, Stage: req.Stage, First: req.First, Last: req.Last, Settings: settings}, func() (string, error) {
		if out, err = l.learner.SFT(ctx, req, progress); err != nil {
			return "", err
		}
		return l.sftState(out)
	})
	return out, err
}

// Save is the learner's; when it reads the moments, all ranks hand theirs over.
func (l *leader) Save(ctx context.Context, req activities.SaveRequest) (grouse.CheckpointRecord, error) {
	return l.save(req, func(yield func(string, []int, []float32) error) error { return l.moments(ctx, yield) })
}

// moments calls yield with all moments. An error of yield, a disk that is full, is no
// matter of the ranks'.
func (l *leader) moments(ctx context.Context, yield func(name string, shape []int, data []float32) error) error {
	var failed error
	err := l.together(ctx, &order{Do: doMoments}, func() (string, error) {
		return "", l.tr.Moments(ctx, func(name string, shape []int, data []float32) error {
			if failed == nil {
				failed = yield(name, shape, data)
			}
			return nil
		})
	})
	return errors.Join(err, failed)
}

// ranksFile is where rank 0 says how it is reached, in the run's folder, for the user's
// eyes only.
const ranksFile = "ranks.json"

// meetWait is how long an attempt to meet waits for the ranks that are missing.
const meetWait = time.Minute

// lead makes the rank 0 of a run's processes; stop ends it. say is told who is waited for.
func lead(l *learner, say func(text string)) (_ *leader, stop func(), err error) {
	me, err := l.hello(0)
	if err != nil {
		return nil, nil, err
	}
	host, err := collective.Listen(me)
	if err != nil {
		return nil, nil, err
	}
	raw, err := json.Marshal(host.Place())
	path := filepath.Join(l.dir, ranksFile)
	if err == nil {
		err = durable.WriteFile(path, nil)
	}
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o600)
	}
	if err != nil {
		host.Close()
		return nil, nil, grouse.Errorf(grouse.Unavailable, "ranks: %w", err)
	}
	ld := &leader{learner: l}
	ld.meet = func(ctx context.Context) (collective.Group, error) {
		others := "rank 1"
		if me.Size > 2 {
			others = fmt.Sprintf("ranks 1 to %d", me.Size-1)
		}
		say(fmt.Sprintf("waiting for %s: grouse worker --train %s --rank R", others, l.spec.Name))
		ctx, cancel := context.WithTimeout(ctx, meetWait)
		defer cancel()
		star, err := host.Meet(ctx)
		if err != nil {
			return nil, err
		}
		return devices.Group(ctx, l.dev, star)
	}
	return ld, func() {
		_ = os.Remove(path)
		ld.end()
		host.Close()
	}, nil
}
