package activities

import (
	"context"
	"fmt"

	"github.com/grouse-rl/grouse"
)

// mark is one thing that changed the weights, with what they were after it.
// The first of a stage is its beginning.
type mark struct {
	after grouse.PolicyRef
	stage *grouse.StageRecord
	sft   *grouse.SFTRecord
	step  *grouse.StepRecord
}

// timeline returns everything that changed the weights, in order.
func (t *Trainer) timeline() ([]mark, error) {
	stages, err := list[grouse.StageRecord](t.Ledger)
	if err != nil {
		return nil, err
	}
	sfts, err := list[grouse.SFTRecord](t.Ledger)
	if err != nil {
		return nil, err
	}
	steps, err := list[grouse.StepRecord](t.Ledger)
	if err != nil {
		return nil, err
	}
	var marks []mark
	for i := range stages {
		s := &stages[i]
		marks = append(marks, mark{stage: s, after: grouse.PolicyRef{Stage: s.Stage, Chain: s.Chain}})
		for ; len(sfts) > 0 && sfts[0].Stage == s.Stage; sfts = sfts[1:] {
			r := &sfts[0]
			marks = append(marks, mark{sft: r, after: grouse.PolicyRef{Stage: s.Stage, Version: r.Last, Chain: r.Chain}})
		}
		for ; len(steps) > 0 && steps[0].Stage == s.Stage; steps = steps[1:] {
			r := &steps[0]
			marks = append(marks, mark{step: r, after: grouse.PolicyRef{Stage: s.Stage, Version: r.Step, Chain: r.Chain}})
		}
	}
	return marks, nil
}

// ensure makes the weights in memory those named by want, if need be from a
// checkpoint and the ledger.
func (t *Trainer) ensure(ctx context.Context, want grouse.PolicyRef) error {
	if t.loaded && t.at == want && t.intact() {
		return nil
	}
	return t.restore(ctx, want, want.Version)
}

// intact reports whether the trainer still has all of what it had in memory.
func (t *Trainer) intact() bool {
	p, ok := t.Policy.(Intact)
	return !ok || p.Intact()
}

// restore loads the newest usable checkpoint that is not after want, or the
// initial weights, and replays the ledger up to want; the chain of hashes is
// checked at every step. Weights of want's stage from version publishFrom on
// are published as they pass. Corrupt if the replay comes out differently.
func (t *Trainer) restore(ctx context.Context, want grouse.PolicyRef, publishFrom int64) error {
	marks, err := t.timeline()
	if err != nil {
		return err
	}
	last := -1 // of marks to be replayed
	for i, m := range marks {
		if m.after == want {
			last = i
		}
	}
	if last < 0 && want.Stage >= 0 {
		return grouse.Errorf(grouse.Corrupt, "the ledger of run %s does not know stage %d, version %d, chain %.12s", t.Run, want.Stage, want.Version, want.Chain).
			WithFix("the run's folder is older than its history: put the right folder back, or start the run under another name")
	}
	from, err := t.loadNewest(ctx, marks[:last+1], want, publishFrom)
	if err != nil {
		return err
	}
	if err := t.publishAt(ctx, want.Stage, publishFrom); err != nil {
		return err
	}
	for _, m := range marks[from : last+1] {
		if err := t.replay(ctx, m); err != nil {
			t.loaded = false
			return err
		}
		if err := t.publishAt(ctx, want.Stage, publishFrom); err != nil {
			return err
		}
	}
	if t.at != want {
		t.loaded = false
		return grouse.Errorf(grouse.Corrupt, "run %s: restored stage %d, version %d, chain %.12s, want %d, %d, %.12s", t.Run,
			t.at.Stage, t.at.Version, t.at.Chain, want.Stage, want.Version, want.Chain)
	}
	return nil
}

func (t *Trainer) publishAt(ctx context.Context, stage int, from int64) error {
	if t.at.Stage != stage || stage < 0 || t.at.Version < from || t.spec.Stages[stage].Kind == grouse.StageSFT {
		return nil
	}
	return t.Policy.Publish(ctx, t.at)
}

// loadNewest loads a checkpoint and returns the index of the first mark after it.
func (t *Trainer) loadNewest(ctx context.Context, marks []mark, want grouse.PolicyRef, publishFrom int64) (int, error) {
	t.loaded = false
	saved, err := list[grouse.CheckpointRecord](t.Ledger)
	if err != nil {
		return 0, err
	}
	for i := len(saved) - 1; i >= 0; i-- {
		c := saved[i]
		if c.Stage == want.Stage && c.Step > publishFrom {
			continue // versions before it are wanted too
		}
		for j, m := range marks {
			if m.after.Stage != c.Stage || m.after.Version != c.Step || m.after.Chain != c.Chain {
				continue
			}
			err := t.Checkpoints.Load(ctx, c)
			if err == nil {
				t.at, t.loaded = m.after, true
				t.observe(ctx, Event{Kind: "restore", Stage: c.Stage, Step: c.Step, Policy: t.at, Text: fmt.Sprintf("checkpoint %s, %d records to replay", c.Dir, len(marks)-j-1)})
				return j + 1, nil
			}
			if k := grouse.KindOf(err); k != grouse.NotFound && k != grouse.Corrupt {
				return 0, err
			}
			t.observe(ctx, Event{Kind: "warning", Stage: c.Stage, Step: c.Step, Text: fmt.Sprintf("checkpoint %s cannot be used, an earlier one is: %v", c.Dir, err)})
		}
	}
	return 0, t.loadInitial(ctx, len(marks))
}

func (t *Trainer) loadInitial(ctx context.Context, toReplay int) error {
	run, ok, err := find[grouse.RunRecord](t.Ledger, t.Run)
	if err != nil {
		return err
	}
	if !ok {
		return t.unprepared(-1)
	}
	weights, err := t.Policy.LoadInitial(ctx)
	if err != nil {
		return err
	}
	if weights != run.WeightsSHA256 {
		return grouse.Errorf(grouse.Corrupt, "run %s began with weights of SHA-256 %s, its model is now %s", t.Run, run.WeightsSHA256, weights).
			WithFix("put the model's files back as they were, or start the run under another name")
	}
	t.at, t.loaded = grouse.PolicyRef{Stage: -1, Chain: run.Chain}, true
	if toReplay > 0 {
		t.observe(ctx, Event{Kind: "restore", Stage: -1, Policy: t.at, Text: fmt.Sprintf("initial weights, %d records to replay", toReplay)})
	}
	return nil
}

// replay does again what a record says was done.
func (t *Trainer) replay(ctx context.Context, m mark) error {
	var err error
	switch {
	case m.stage != nil:
		var rec grouse.StageRecord
		if rec, err = t.enterStage(ctx, m.stage.Stage); err == nil && rec.Chain != m.stage.Chain {
			err = t.diverged("the beginning of the stage", m.after, rec.Chain)
		}
	case m.sft != nil:
		err = t.replaySFT(ctx, *m.sft)
	case m.step != nil:
		err = t.replayStep(ctx, *m.step)
	}
	return err
}

func (t *Trainer) diverged(what string, want grouse.PolicyRef, chain string) error {
	return grouse.Errorf(grouse.Corrupt, "run %s, stage %d, step %d: replaying %s gives chain %.12s, recorded %.12s",
		t.Run, want.Stage, want.Version, what, chain, want.Chain).
		WithFix("another kernel set, build or model file than before: run it where it began (grouse show %s says where), or check memory and hardware", t.Run)
}

// enterStage prepares the weights in memory for a stage and returns its record.
// The weights are those of the stage before, the run's model, or an earlier
// stage's last.
func (t *Trainer) enterStage(ctx context.Context, stage int) (grouse.StageRecord, error) {
	if stage >= len(t.spec.Stages) {
		return grouse.StageRecord{}, t.unprepared(stage)
	}
	s := t.spec.Stages[stage]
	switch s.Model {
	case "":
	case "base":
		if err := t.loadInitial(ctx, 0); err != nil {
			return grouse.StageRecord{}, err
		}
	default:
		if err := t.loadStage(ctx, s.Model, stage); err != nil {
			return grouse.StageRecord{}, err
		}
	}
	t.loaded = false
	if err := t.Policy.Begin(ctx, stage); err != nil {
		return grouse.StageRecord{}, err
	}
	t.at, t.loaded = grouse.PolicyRef{Stage: stage, Chain: t.at.Chain}, true
	return grouse.StageRecord{Stage: stage, Name: s.Name, Kind: s.Kind, Chain: t.at.Chain}, nil
}

// loadStage loads the last weights of an earlier stage.
func (t *Trainer) loadStage(ctx context.Context, name string, before int) error {
	saved, err := list[grouse.CheckpointRecord](t.Ledger)
	if err != nil {
		return err
	}
	for i := len(saved) - 1; i >= 0; i-- {
		c := saved[i]
		if c.Stage < before && t.spec.Stages[c.Stage].Name == name {
			if err := t.Checkpoints.Load(ctx, c); err != nil {
				return err
			}
			t.at, t.loaded = grouse.PolicyRef{Stage: c.Stage, Version: c.Step, Chain: c.Chain}, true
			return nil
		}
	}
	return grouse.Errorf(grouse.Invalid, "stage %d begins with the weights of stage %q, which has no checkpoint before it", before, name).
		WithFix("name an earlier stage, \"base\", or nothing for the stage before")
}

// PublishInput asks for the weights of a version.
type PublishInput struct {
	Policy grouse.PolicyRef `json:"policy"` // the newest that exists
	From   int64            `json:"from"`   // oldest version of the stage that samplers need
}

// PublishOutput says what is published.
type PublishOutput struct {
	Policy grouse.PolicyRef `json:"policy"`
}

// Publish makes the versions From to Policy.Version available to samplers,
// from memory or out of checkpoint and ledger.
func (t *Trainer) Publish(ctx context.Context, in PublishInput) (PublishOutput, error) {
	return alone(ctx, t, "restore", 0, func(ctx context.Context, _ func(int)) (PublishOutput, error) {
		if t.loaded && t.at == in.Policy && in.From >= in.Policy.Version {
			return PublishOutput{t.at}, t.Policy.Publish(ctx, t.at)
		}
		if err := t.restore(ctx, in.Policy, in.From); err != nil {
			return PublishOutput{}, err
		}
		return PublishOutput{t.at}, nil
	})
}
