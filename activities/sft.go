package activities

import (
	"context"
	"fmt"

	"github.com/grouse-rl/grouse"
)

// TrainSFTInput asks for some updates of an sft stage.
type TrainSFTInput struct {
	Stage    int              `json:"stage"`
	First    int64            `json:"first"` // from 1
	Last     int64            `json:"last"`
	Policy   grouse.PolicyRef `json:"policy"` // before First
	Settings Settings         `json:"settings"`
}

// TrainSFTOutput is what they made.
type TrainSFTOutput struct {
	Policy grouse.PolicyRef `json:"policy"`
	Stats  grouse.Metrics   `json:"stats"` // of the last update
	Times  grouse.Metrics   `json:"times"`
	Pause  string           `json:"pause,omitempty"`
}

// TrainSFT does the updates, once: what Train is to a step.
func (t *Trainer) TrainSFT(ctx context.Context, in TrainSFTInput) (TrainSFTOutput, error) {
	return alone(ctx, t, "updates", int(in.Last-in.First+1), func(ctx context.Context, progress func(int)) (TrainSFTOutput, error) {
		out := TrainSFTOutput{Times: grouse.Metrics{}}
		if in.Stage < 0 || in.Stage >= len(t.spec.Stages) {
			return out, t.unprepared(in.Stage)
		}
		if in.First < 1 || in.Last < in.First || in.Policy.Stage != in.Stage || in.Policy.Version != in.First-1 {
			return out, grouse.Errorf(grouse.Internal, "sft updates %d to %d of stage %d on weights %+v", in.First, in.Last, in.Stage, in.Policy)
		}
		done, ok, err := find[grouse.SFTRecord](t.Ledger, grouse.StepKey(in.Stage, in.First))
		if err != nil {
			return out, err
		}
		if ok {
			if done.PrevChain != in.Policy.Chain {
				return out, grouse.Errorf(grouse.Stale, "updates from %d were done on chain %.12s, these are asked for on %.12s", in.First, done.PrevChain, in.Policy.Chain).
					WithFix("another workflow runs this run: end one of them")
			}
			out.Policy, out.Stats = grouse.PolicyRef{Stage: in.Stage, Version: done.Last, Chain: done.Chain}, done.Stats
			t.observe(ctx, Event{Kind: "sft", Stage: in.Stage, Step: done.Last, Policy: out.Policy, Stats: out.Stats})
			return out, t.ensure(ctx, out.Policy)
		}
		if err := t.ensure(ctx, in.Policy); err != nil {
			return out, err
		}
		settings, err := settingsText(in.Settings)
		if err != nil {
			return out, err
		}
		began := now()
		rec := grouse.SFTRecord{Stage: in.Stage, First: in.First, Last: in.Last, PrevChain: in.Policy.Chain, Settings: settings}
		res, err := t.sft(ctx, &rec, progress)
		if err != nil {
			return out, err
		}
		if err := t.Ledger.Append(ctx, rec); err != nil {
			return out, err
		}
		t.at, t.loaded = grouse.PolicyRef{Stage: in.Stage, Version: in.Last, Chain: rec.Chain}, true
		out.Policy, out.Stats, out.Pause = t.at, res.Stats, res.Pause
		for name, v := range res.Times {
			out.Times[name] = v
		}
		out.Times["time/train_s"] = float64(now()-began) / 1e9
		t.observe(ctx, Event{Kind: "sft", Stage: in.Stage, Step: in.Last, Policy: t.at, Stats: out.Stats, Times: out.Times})
		return out, nil
	})
}

// sft does the updates that rec names and sets what they came to. The weights
// count for nothing until the caller says so.
func (t *Trainer) sft(ctx context.Context, rec *grouse.SFTRecord, progress func(int)) (SFTResult, error) {
	settings, err := parseSettings(rec.Settings)
	if err != nil {
		return SFTResult{}, err
	}
	t.loaded = false
	res, err := t.Policy.SFT(ctx, SFTRequest{Stage: rec.Stage, First: rec.First, Last: rec.Last, Settings: settings}, progress)
	if err != nil {
		return res, fmt.Errorf("sft updates %d to %d: %w", rec.First, rec.Last, err)
	}
	rec.DataSHA256, rec.Stats = res.DataSHA256, res.Stats
	rec.Chain, err = grouse.Chain(rec.PrevChain, digest(rec.DataSHA256, rec.Settings), rec.Stats)
	return res, err
}

func (t *Trainer) replaySFT(ctx context.Context, rec grouse.SFTRecord) error {
	again := rec
	if _, err := t.sft(ctx, &again, func(int) {}); err != nil {
		return err
	}
	after := grouse.PolicyRef{Stage: rec.Stage, Version: rec.Last, Chain: rec.Chain}
	if again.DataSHA256 != rec.DataSHA256 {
		return grouse.Errorf(grouse.Corrupt, "run %s: the examples of updates %d to %d of stage %d are not those they were", t.Run, rec.First, rec.Last, rec.Stage).
			WithFix("put the data file back as it was, or start the run under another name")
	}
	if again.Chain != rec.Chain {
		return t.diverged("the updates", after, again.Chain)
	}
	t.at, t.loaded = after, true
	return nil
}
