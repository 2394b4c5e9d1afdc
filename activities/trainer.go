package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/grouse-rl/grouse"
)

// Trainer owns a run's folder: weights, ledger, checkpoints, data. There is one
// for a run; its activities work one at a time.
type Trainer struct {
	Run         string
	Policy      PolicyTrainer
	Checkpoints CheckpointStore
	Prompts     Prompts
	Ledger      Ledger
	Bus         Bus
	Codec       Codec
	Router      Router
	Observer    Observer // nil: nobody

	busy chan struct{} // held by the activity that works
	spec grouse.RunSpec
	at   grouse.PolicyRef // what is in memory; meaningless unless loaded
	// loaded is false before the first load, and after an error that left the
	// weights between two states.
	loaded bool
	solved solveRates
}

// NewTrainer returns t ready for use; t's fields are set.
func NewTrainer(t *Trainer) *Trainer {
	t.busy = make(chan struct{}, 1)
	return t
}

// lock waits for its turn. The returned function ends it.
func (t *Trainer) lock(ctx context.Context) (func(), error) {
	select {
	case t.busy <- struct{}{}:
		return func() { <-t.busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *Trainer) observe(ctx context.Context, e Event) {
	if t.Observer == nil {
		return
	}
	e.Run, e.Epoch = t.Run, t.Ledger.Epoch()
	t.Observer.Observe(ctx, e)
}

// alone runs work as an activity of this trainer: with heartbeats, one at a time.
func alone[Out any](ctx context.Context, t *Trainer, what string, of int, work func(ctx context.Context, progress func(int)) (Out, error)) (Out, error) {
	return beating(ctx, what, of, func(ctx context.Context, progress func(int)) (Out, error) {
		unlock, err := t.lock(ctx)
		if err != nil {
			var none Out
			return none, err
		}
		defer unlock()
		if err := t.recall(); err != nil {
			var none Out
			return none, err
		}
		return work(ctx, progress)
	})
}

// recall gets the recipe out of the ledger: a process that began anew is asked
// to go on in the middle of a run.
func (t *Trainer) recall() error {
	if len(t.spec.Stages) > 0 {
		return nil
	}
	run, ok, err := find[grouse.RunRecord](t.Ledger, t.Run)
	if err != nil || !ok {
		return err
	}
	if err := json.Unmarshal(run.Spec, &t.spec); err != nil {
		return grouse.Errorf(grouse.Corrupt, "the recipe in the ledger of run %s: %w", t.Run, err)
	}
	return nil
}

// find returns the record of that kind and key as its type; ok is false if
// there is none.
func find[T grouse.Record](l Ledger, key string) (rec T, ok bool, err error) {
	got, err := l.Find(rec.RecordKind(), key)
	if grouse.KindOf(err) == grouse.NotFound {
		return rec, false, nil
	}
	if err != nil {
		return rec, false, err
	}
	rec, ok = got.(T)
	if !ok {
		return rec, false, grouse.Errorf(grouse.Internal, "ledger: record %s is a %T", key, got)
	}
	return rec, true, nil
}

// list returns the records of T's kind, oldest first.
func list[T grouse.Record](l Ledger) ([]T, error) {
	var zero T
	recs, err := l.List(zero.RecordKind())
	if err != nil {
		return nil, err
	}
	out := make([]T, len(recs))
	for i, rec := range recs {
		var ok bool
		if out[i], ok = rec.(T); !ok {
			return nil, grouse.Errorf(grouse.Internal, "ledger: a %s record is a %T", zero.RecordKind(), rec)
		}
	}
	return out, nil
}

// shortHash returns eight hex digits of a text's SHA-256.
func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// digest returns the SHA-256, hex, of parts, each followed by a zero byte.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// settingsText is how records keep settings: "" for none.
func settingsText(s Settings) (string, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return "", grouse.Errorf(grouse.Invalid, "settings: %w", err)
	}
	if string(data) == "{}" {
		return "", nil
	}
	return string(data), nil
}

func parseSettings(text string) (Settings, error) {
	var s Settings
	if text == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, grouse.Errorf(grouse.Corrupt, "settings in the ledger: %w", err)
	}
	return s, nil
}

// RecipeDigest returns the SHA-256, hex, of what the recipe says about the
// weights: without names, texts, trackers, and what changes no result.
func RecipeDigest(spec grouse.RunSpec) (string, error) {
	spec.Name, spec.Recipe, spec.Description, spec.Preset = "", "", "", ""
	spec.Trackers = nil
	stages := make([]grouse.Stage, len(spec.Stages))
	copy(stages, spec.Stages)
	for i := range stages {
		stages[i].Rollout.GroupsPerShard = 0
	}
	spec.Stages = stages
	data, err := json.Marshal(spec)
	if err != nil {
		return "", grouse.Errorf(grouse.Invalid, "recipe: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
