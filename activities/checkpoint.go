package activities

import (
	"context"
	"fmt"

	"github.com/grouse-rl/grouse"
)

// CheckpointInput asks for a checkpoint of the weights.
type CheckpointInput struct {
	Policy grouse.PolicyRef `json:"policy"`
	Last   bool             `json:"last"` // of its stage: kept for ever
}

// CheckpointOutput names it.
type CheckpointOutput struct {
	Checkpoint grouse.CheckpointRecord `json:"checkpoint"`
	Span       Span                    `json:"span"`
}

// Checkpoint saves the weights and removes checkpoints that the recipe does
// not keep: the newest ones and the last of each stage stay.
func (t *Trainer) Checkpoint(ctx context.Context, in CheckpointInput) (CheckpointOutput, error) {
	return alone(ctx, t, "checkpoint", 0, func(ctx context.Context, _ func(int)) (CheckpointOutput, error) {
		out := CheckpointOutput{Span: Span{What: "checkpoint", Start: now()}}
		if err := t.ensure(ctx, in.Policy); err != nil {
			return out, err
		}
		rec, err := t.Checkpoints.Save(ctx, SaveRequest(in))
		if err != nil {
			return out, fmt.Errorf("checkpoint stage %d, step %d: %w", in.Policy.Stage, in.Policy.Version, err)
		}
		if rec.Stage != in.Policy.Stage || rec.Step != in.Policy.Version || rec.Chain != in.Policy.Chain {
			return out, grouse.Errorf(grouse.Internal, "the checkpoint store saved stage %d, step %d, asked for %+v", rec.Stage, rec.Step, in.Policy)
		}
		if err := t.Ledger.Append(ctx, rec); err != nil {
			return out, err
		}
		if err := t.prune(ctx); err != nil {
			return out, err
		}
		out.Checkpoint, out.Span.End = rec, now()
		t.observe(ctx, Event{Kind: "checkpoint", Stage: rec.Stage, Step: rec.Step, Policy: in.Policy, Text: rec.Dir})
		return out, nil
	})
}

func (t *Trainer) prune(ctx context.Context) error {
	keep := t.spec.Checkpoint.Keep
	saved, err := list[grouse.CheckpointRecord](t.Ledger)
	if err != nil || keep <= 0 || len(saved) <= keep {
		return err
	}
	var stay []grouse.CheckpointRecord
	for i, c := range saved {
		lastOfStage := i+1 == len(saved) || saved[i+1].Stage != c.Stage
		if lastOfStage || i >= len(saved)-keep {
			stay = append(stay, c)
		}
	}
	return t.Checkpoints.Prune(ctx, stay)
}
