package activities

import (
	"context"

	"github.com/grouse-rl/grouse"
)

// BatchDigest returns the digest that a batch's record must have, hex.
func BatchDigest(r grouse.BatchRecord) string { return digest(r.Groups, r.Scores, r.Settings) }

// SFTDigest returns what stands for a batch in the chain of supervised updates.
func SFTDigest(r grouse.SFTRecord) string { return digest(r.DataSHA256, r.Settings) }

// Replayed is one record that was done again with the same result.
type Replayed struct {
	Done, Of int
	At       grouse.PolicyRef // the weights in memory
	Kind     grouse.RecordKind
}

// Replay makes the weights of the whole run again, from those it began with, by
// what the ledger says was trained on. The chain of hashes is checked at every
// record: Corrupt, naming the step, if one comes out differently. each is called
// after each record and may end the replay with an error or by saying stop.
//
// Replay is for a Trainer of its own: nothing is appended and nobody is told.
func (t *Trainer) Replay(ctx context.Context, each func(Replayed) (stop bool, err error)) error {
	if err := t.recall(); err != nil {
		return err
	}
	marks, err := t.timeline()
	if err != nil {
		return err
	}
	if err := t.loadInitial(ctx, 0); err != nil {
		return err
	}
	for i, m := range marks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.replay(ctx, m); err != nil {
			return err
		}
		if t.at != m.after {
			return t.diverged("a record", m.after, t.at.Chain)
		}
		kind := grouse.RecordStage
		switch {
		case m.sft != nil:
			kind = grouse.RecordSFT
		case m.step != nil:
			kind = grouse.RecordStep
		}
		stop, err := each(Replayed{Done: i + 1, Of: len(marks), At: t.at, Kind: kind})
		if err != nil || stop {
			return err
		}
	}
	return nil
}
