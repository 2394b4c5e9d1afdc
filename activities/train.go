package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grouse-rl/grouse"
)

// TrainInput asks for one step.
type TrainInput struct {
	Stage    int                   `json:"stage"`
	Step     int64                 `json:"step"`   // from 1
	Policy   grouse.PolicyRef      `json:"policy"` // H_{t-1}: the weights before the step
	Draws    []DrawPromptsOutput   `json:"draws"`
	Waves    []Wave                `json:"waves"`
	Verdicts []grouse.GroupVerdict `json:"verdicts"` // of every drawn prompt, ascending candidate; scored ones are admitted
	Stats    grouse.Metrics        `json:"stats"`    // of the admission; they enter the chain
	Settings Settings              `json:"settings"`
	Next     *DrawPromptsInput     `json:"next,omitempty"`    // of a later step, to draw after this one
	PrevEnd  int64                 `json:"prev_end"`          // end of the step before, Unix ns; 0: unknown
	Rewards  []RewardStat          `json:"rewards,omitempty"` // how judging the step's groups went
	Busy     []Span                `json:"busy"`              // when others sampled and scored since then
	PurgeTo  int64                 `json:"purge_to"`          // this step's batches are of no more use; 0: none
}

// TrainOutput is what the step made.
type TrainOutput struct {
	Policy grouse.PolicyRef   `json:"policy"` // H_t
	Stats  grouse.Metrics     `json:"stats"`
	Times  grouse.Metrics     `json:"times"`
	Span   Span               `json:"span"`
	Next   *DrawPromptsOutput `json:"next,omitempty"`
	Pause  string             `json:"pause,omitempty"`
}

// Train does one optimizer step, once. The batch is in the ledger, synced,
// before the optimizer sees it, the step's statistics and chain after. Asked
// again for a step that is there, it returns the stored answer; a batch that
// was committed is trained on, whatever is asked for now; weights that are not
// those before the step are restored first. Stale if another process owns the
// ledger by now.
func (t *Trainer) Train(ctx context.Context, in TrainInput) (TrainOutput, error) {
	asked := now()
	return alone(ctx, t, "groups", len(in.Verdicts), func(ctx context.Context, progress func(int)) (TrainOutput, error) {
		out, err := t.train(ctx, in, asked, progress)
		if err != nil {
			return out, err
		}
		if in.Next != nil {
			next, err := t.draw(ctx, *in.Next)
			if err != nil {
				return out, err
			}
			out.Next = &next
		}
		if in.PurgeTo > 0 {
			if err := t.Bus.Purge(ctx, t.Run, stepToken(in.Stage, in.PurgeTo)); err != nil {
				t.observe(ctx, Event{Kind: "warning", Stage: in.Stage, Step: in.PurgeTo, Text: err.Error()}) // limits drop them later
			}
		}
		return out, nil
	})
}

func (t *Trainer) train(ctx context.Context, in TrainInput, asked int64, progress func(int)) (TrainOutput, error) {
	out := TrainOutput{Times: grouse.Metrics{}, Span: Span{What: "train", Start: asked}}
	if in.Stage < 0 || in.Stage >= len(t.spec.Stages) {
		return out, t.unprepared(in.Stage)
	}
	if in.Policy.Stage != in.Stage || in.Policy.Version != in.Step-1 {
		return out, grouse.Errorf(grouse.Internal, "train step %d of stage %d on weights %+v", in.Step, in.Stage, in.Policy)
	}
	k := grouse.StepKey(in.Stage, in.Step)
	done, ok, err := find[grouse.StepRecord](t.Ledger, k)
	if err != nil {
		return out, err
	}
	if ok {
		if done.PrevChain != in.Policy.Chain {
			return out, grouse.Errorf(grouse.Stale, "step %d was done on chain %.12s, this one is asked for on %.12s", in.Step, done.PrevChain, in.Policy.Chain).
				WithFix("another workflow runs this run: end one of them")
		}
		out.Policy = grouse.PolicyRef{Stage: in.Stage, Version: in.Step, Chain: done.Chain}
		out.Stats = done.Stats
		if err := t.ensure(ctx, out.Policy); err != nil { // the next step needs them, and samplers do
			return out, err
		}
		out.Span.End = now()
		t.observe(ctx, Event{Kind: "step", Stage: in.Stage, Step: in.Step, Policy: out.Policy, Stats: out.Stats})
		return out, nil
	}
	rewardTimes(in.Rewards, out.Times)
	if in.PrevEnd > 0 {
		out.Times["time/orchestration_s"] = idle(in.PrevEnd, asked, in.Busy).Seconds()
		for _, what := range []string{"sample", "score"} {
			spans := slices.DeleteFunc(slices.Clone(in.Busy), func(s Span) bool { return s.What != what })
			out.Times["time/"+what+"_s"] = (time.Duration(asked-in.PrevEnd) - idle(in.PrevEnd, asked, spans)).Seconds()
		}
	}
	if err := t.ensure(ctx, in.Policy); err != nil {
		return out, err
	}
	began := now()
	batch, ok, err := find[grouse.BatchRecord](t.Ledger, k)
	if err != nil {
		return out, err
	}
	if !ok {
		if batch, err = t.commit(ctx, in); err != nil {
			return out, err
		}
	}
	if batch.PrevChain != in.Policy.Chain {
		return out, grouse.Errorf(grouse.Stale, "the batch of step %d was committed on chain %.12s, the step is asked for on %.12s", in.Step, batch.PrevChain, in.Policy.Chain).
			WithFix("another workflow runs this run: end one of them")
	}
	out.Times["time/commit_s"] = float64(now()-began) / 1e9
	groups, res, chain, err := t.step(ctx, batch, progress)
	if err != nil {
		return out, err
	}
	rec := grouse.StepRecord{Stage: in.Stage, Step: in.Step, PrevChain: batch.PrevChain, BatchSHA256: batch.BatchSHA256, Chain: chain, Stats: res.Stats}
	if err := t.Ledger.Append(ctx, rec); err != nil {
		t.loaded = false
		return out, err
	}
	t.at = grouse.PolicyRef{Stage: in.Stage, Version: in.Step, Chain: chain}
	t.loaded = true
	if err := t.Policy.Publish(ctx, t.at); err != nil {
		return out, err
	}
	out.Policy, out.Stats, out.Pause = t.at, res.Stats, res.Pause
	for name, v := range res.Times {
		out.Times[name] = v
	}
	out.Span.End = now()
	out.Times["time/train_s"] = float64(out.Span.End-asked) / 1e9
	if in.PrevEnd > 0 {
		out.Times["step_time"] = float64(out.Span.End-in.PrevEnd) / 1e9
	}
	t.observe(ctx, Event{Kind: "step", Stage: in.Stage, Step: in.Step, Policy: t.at, Stats: out.Stats, Times: out.Times, Groups: groups, Traces: res.Traces})
	return out, nil
}

// commit writes the batch to the ledger: the admitted groups and their scores
// as blobs, what was drawn, what scoring said, the final state of every drawn prompt.
func (t *Trainer) commit(ctx context.Context, in TrainInput) (grouse.BatchRecord, error) {
	settings, err := settingsText(in.Settings)
	if err != nil {
		return grouse.BatchRecord{}, err
	}
	admitted := map[uint32]bool{}
	for _, v := range in.Verdicts {
		admitted[v.Candidate] = v.State == grouse.GroupScored
	}
	var groups []grouse.Group
	var scores []GroupScores
	var recs []grouse.Record
	var draws []grouse.DrawRecord
	drawn, head := map[uint32]grouse.Prompt{}, int64(0)
	for _, d := range in.Draws {
		prompts, err := fetchPrompts(ctx, t.Bus, d.Prompts)
		if err != nil {
			return grouse.BatchRecord{}, err
		}
		for _, p := range prompts {
			drawn[p.Candidate] = p.Prompt
		}
		head = d.Head
	}
	for i, w := range in.Waves {
		wave := grouse.ScoreRecord{Stage: in.Stage, Step: in.Step, Wave: i, Groups: w.Groups, Scores: w.Scores, Result: []grouse.GroupVerdict{}}
		draw := grouse.DrawRecord{Stage: in.Stage, Step: in.Step, Wave: i, Head: head, Prompts: []grouse.DrawnPrompt{}}
		for c := w.First; c < w.First+uint32(w.Count); c++ {
			p, ok := drawn[c]
			if !ok {
				return grouse.BatchRecord{}, grouse.Errorf(grouse.Internal, "step %d, wave %d: candidate %d was not drawn", in.Step, i, c)
			}
			draw.Prompts = append(draw.Prompts, grouse.DrawnPrompt{Candidate: c, RowID: p.RowID, Domain: p.Domain})
		}
		for _, ref := range w.Groups {
			gs, err := fetchGroups(ctx, t.Bus, t.Codec, ref, drawn)
			if err != nil {
				return grouse.BatchRecord{}, err
			}
			groups = append(groups, slices.DeleteFunc(gs, func(g grouse.Group) bool { return !admitted[g.Candidate] })...)
		}
		for _, ref := range w.Scores {
			ss, err := fetchScores(ctx, t.Bus, t.Codec, ref)
			if err != nil {
				return grouse.BatchRecord{}, err
			}
			scores = append(scores, slices.DeleteFunc(ss, func(s GroupScores) bool { return !admitted[s.Candidate] })...)
		}
		for _, v := range in.Verdicts {
			if v.Candidate >= w.First && v.Candidate < w.First+uint32(w.Count) {
				wave.Result = append(wave.Result, v)
			}
		}
		draws = append(draws, draw)
		recs = append(recs, draw, wave)
	}
	slices.SortFunc(groups, func(a, b grouse.Group) int { return cmp.Compare(a.Candidate, b.Candidate) })
	slices.SortFunc(scores, func(a, b GroupScores) int { return cmp.Compare(a.Candidate, b.Candidate) })
	if len(groups) != len(scores) {
		return grouse.BatchRecord{}, grouse.Errorf(grouse.Internal, "step %d: %d admitted groups, %d with scores", in.Step, len(groups), len(scores))
	}
	batch := grouse.BatchRecord{Stage: in.Stage, Step: in.Step, PrevChain: in.Policy.Chain, Settings: settings, Stats: in.Stats}
	if len(groups) > 0 {
		for i := range groups {
			batch.Rows += len(groups[i].Rollouts)
		}
		if batch.Groups, err = t.put(ctx, func() ([]byte, error) { return t.Codec.EncodeGroups(groups) }); err != nil {
			return batch, err
		}
		if batch.Scores, err = t.put(ctx, func() ([]byte, error) { return t.Codec.EncodeScores(scores) }); err != nil {
			return batch, err
		}
	}
	batch.BatchSHA256 = digest(batch.Groups, batch.Scores, batch.Settings)
	final, err := finalGroups(in.Step, draws, in.Verdicts)
	if err != nil {
		return batch, err
	}
	recs = append(recs, grouse.GroupRecord{Stage: in.Stage, Step: in.Step, BatchSHA256: batch.BatchSHA256, Groups: final}, batch)
	return batch, t.Ledger.Append(ctx, recs...)
}

func (t *Trainer) put(ctx context.Context, encode func() ([]byte, error)) (string, error) {
	data, err := encode()
	if err != nil {
		return "", err
	}
	return t.Ledger.PutBlob(ctx, data)
}

// step trains on a committed batch and returns the chain after it. What is
// trained on is always what the blobs say, the first time as in a replay.
func (t *Trainer) step(ctx context.Context, batch grouse.BatchRecord, progress func(int)) ([]grouse.ScoredGroup, StepResult, string, error) {
	groups, err := t.batchGroups(ctx, batch)
	if err != nil {
		return nil, StepResult{}, "", err
	}
	settings, err := parseSettings(batch.Settings)
	if err != nil {
		return nil, StepResult{}, "", err
	}
	t.loaded = false
	res, err := t.Policy.Step(ctx, StepRequest{Stage: batch.Stage, Step: batch.Step, Groups: groups, Settings: settings}, progress)
	if err != nil {
		return nil, res, "", fmt.Errorf("train step %d: %w", batch.Step, err)
	}
	stats := grouse.Metrics{}
	for name, v := range res.Stats {
		stats[name] = v
	}
	for name, v := range batch.Stats { // reward is over all judged groups
		stats[name] = v
	}
	res.Stats = stats
	chain, err := grouse.Chain(batch.PrevChain, batch.BatchSHA256, stats)
	return groups, res, chain, err
}

// batchGroups decodes a committed batch.
func (t *Trainer) batchGroups(ctx context.Context, batch grouse.BatchRecord) ([]grouse.ScoredGroup, error) {
	if batch.Groups == "" {
		return nil, nil
	}
	data, err := t.Ledger.Blob(ctx, batch.Groups)
	if err != nil {
		return nil, lostBlob(err)
	}
	groups, err := t.Codec.DecodeGroups(data)
	if err != nil {
		return nil, fmt.Errorf("decode batch of step %d: %w", batch.Step, err)
	}
	if data, err = t.Ledger.Blob(ctx, batch.Scores); err != nil {
		return nil, lostBlob(err)
	}
	scores, err := t.Codec.DecodeScores(data)
	if err != nil {
		return nil, fmt.Errorf("decode scores of step %d: %w", batch.Step, err)
	}
	if !sameCandidates(scores, groups) {
		return nil, grouse.Errorf(grouse.Corrupt, "batch of step %d: groups and scores do not belong together", batch.Step)
	}
	out := make([]grouse.ScoredGroup, len(groups))
	for i := range groups {
		out[i] = grouse.ScoredGroup{Group: groups[i], Scores: scores[i].Scores}
	}
	return out, nil
}

func lostBlob(err error) error {
	if grouse.KindOf(err) != grouse.NotFound {
		return err
	}
	return grouse.Errorf(grouse.Corrupt, "a committed batch is lost: %w", err).WithFix("restore the run's blobs folder from a copy")
}

// replayStep does a recorded step again.
func (t *Trainer) replayStep(ctx context.Context, rec grouse.StepRecord) error {
	batch, ok, err := find[grouse.BatchRecord](t.Ledger, rec.RecordKey())
	if err != nil {
		return err
	}
	if !ok {
		return grouse.Errorf(grouse.Corrupt, "ledger: step %d of stage %d has no batch record", rec.Step, rec.Stage)
	}
	_, _, chain, err := t.step(ctx, batch, func(int) {})
	if err != nil {
		return err
	}
	after := grouse.PolicyRef{Stage: rec.Stage, Version: rec.Step, Chain: rec.Chain}
	if chain != rec.Chain {
		return t.diverged("the step", after, chain)
	}
	t.at, t.loaded = after, true
	return nil
}
