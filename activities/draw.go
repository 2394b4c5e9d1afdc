package activities

import (
	"context"
	"fmt"
	"slices"

	"github.com/grouse-rl/grouse"
)

// DrawPromptsInput asks for the prompts of a wave.
type DrawPromptsInput struct {
	Stage int    `json:"stage"`
	Step  int64  `json:"step"`  // from 1
	Wave  int    `json:"wave"`  // from 0
	First uint32 `json:"first"` // first candidate
	N     int    `json:"n"`
	Head  int64  `json:"head"` // completed steps whose solve rates the draw may see
}

// DrawPromptsOutput names the drawn prompts.
type DrawPromptsOutput struct {
	Step    int64           `json:"step"`
	Wave    int             `json:"wave"`
	Prompts grouse.BatchRef `json:"prompts"`
	Count   int             `json:"count"` // fewer than asked for: the data has no more
}

// DrawPrompts names the candidates of a wave. The draw is written to the ledger
// once; a later one of the same wave is the same.
func (t *Trainer) DrawPrompts(ctx context.Context, in DrawPromptsInput) (DrawPromptsOutput, error) {
	return alone(ctx, t, "draw", in.N, func(ctx context.Context, _ func(int)) (DrawPromptsOutput, error) {
		return t.draw(ctx, in)
	})
}

func (t *Trainer) draw(ctx context.Context, in DrawPromptsInput) (DrawPromptsOutput, error) {
	out := DrawPromptsOutput{Step: in.Step, Wave: in.Wave}
	if in.Stage < 0 || in.Stage >= len(t.spec.Stages) {
		return out, t.unprepared(in.Stage)
	}
	exclude := map[string]bool{}
	for wave := range in.Wave {
		earlier, ok, err := find[grouse.DrawRecord](t.Ledger, grouse.WaveKey(in.Stage, in.Step, wave))
		if err != nil {
			return out, err
		}
		if !ok {
			return out, grouse.Errorf(grouse.Internal, "draw step %d, wave %d: wave %d was not drawn", in.Step, in.Wave, wave)
		}
		for _, p := range earlier.Prompts {
			exclude[p.RowID] = true
		}
	}
	prompts, err := t.Prompts.Draw(ctx, DrawRequest{Stage: in.Stage, Step: in.Step, First: in.First, N: in.N, Exclude: exclude,
		Solved: func() (map[string]grouse.SolveRecord, error) { return t.solved.upTo(t.Ledger, in.Stage, in.Head) }})
	if err != nil {
		return out, fmt.Errorf("draw step %d, wave %d: %w", in.Step, in.Wave, err)
	}
	rec := grouse.DrawRecord{Stage: in.Stage, Step: in.Step, Wave: in.Wave, Head: in.Head, Prompts: []grouse.DrawnPrompt{}}
	for i, p := range prompts {
		if p.Candidate != in.First+uint32(i) || exclude[p.Prompt.RowID] {
			return out, grouse.Errorf(grouse.Internal, "draw step %d, wave %d: candidate %d (%s) at place %d", in.Step, in.Wave, p.Candidate, p.Prompt.RowID, i)
		}
		rec.Prompts = append(rec.Prompts, grouse.DrawnPrompt{Candidate: p.Candidate, RowID: p.Prompt.RowID, Domain: p.Prompt.Domain})
	}
	if err := t.Ledger.Append(ctx, rec); err != nil {
		return out, err
	}
	out.Count = len(prompts)
	out.Prompts, err = publishPrompts(ctx, t.Bus, key(t.Run, kindPrompts, stepToken(in.Stage, in.Step), fmt.Sprintf("w%d", in.Wave)), prompts)
	return out, err
}

// solveRates keeps what the ledger says of how well prompts are solved.
type solveRates struct {
	stage, seen int // stage, and group records of it that are counted
	head        int64
	rows        map[string]grouse.SolveRecord
}

// upTo returns the solve rates as of head completed steps of a stage.
func (s *solveRates) upTo(l Ledger, stage int, head int64) (map[string]grouse.SolveRecord, error) {
	if s.rows == nil || s.stage != stage || s.head > head {
		*s = solveRates{stage: stage, rows: map[string]grouse.SolveRecord{}}
	}
	for step := s.head + 1; step <= head; step++ {
		rec, ok, err := find[grouse.GroupRecord](l, grouse.StepKey(stage, step))
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, grouse.Errorf(grouse.Internal, "ledger: step %d of stage %d has no group record", step, stage)
		}
		for _, g := range rec.Groups {
			if g.State == grouse.GroupFailed {
				continue // nothing was learned about the prompt
			}
			r := s.rows[g.RowID]
			r.RowID = g.RowID
			s.rows[g.RowID] = r.Solved(g.SolveRate)
		}
		s.head = step
	}
	return s.rows, nil
}

// finalGroups gives every drawn prompt of a step its one final state.
func (t *Trainer) finalGroups(stage int, step int64, waves int, verdicts []grouse.GroupVerdict) ([]grouse.FinalGroup, error) {
	verdict := map[uint32]grouse.GroupVerdict{}
	for _, v := range verdicts {
		verdict[v.Candidate] = v
	}
	var groups []grouse.FinalGroup
	for wave := range waves {
		rec, ok, err := find[grouse.DrawRecord](t.Ledger, grouse.WaveKey(stage, step, wave))
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, grouse.Errorf(grouse.Internal, "train step %d: wave %d was not drawn", step, wave)
		}
		for _, p := range rec.Prompts {
			v, ok := verdict[p.Candidate]
			if !ok {
				return nil, grouse.Errorf(grouse.Internal, "train step %d: no verdict on candidate %d (%s)", step, p.Candidate, p.RowID)
			}
			state := v.State
			if state == grouse.GroupScored {
				state = grouse.GroupTrained
			}
			groups = append(groups, grouse.FinalGroup{Candidate: p.Candidate, RowID: p.RowID, Domain: p.Domain, State: state,
				Reason: v.Reason, Mean: v.Mean, SolveRate: v.SolveRate})
		}
	}
	if len(groups) != len(verdicts) {
		return nil, grouse.Errorf(grouse.Internal, "train step %d: %d verdicts on %d drawn prompts", step, len(verdicts), len(groups))
	}
	slices.SortFunc(groups, func(a, b grouse.FinalGroup) int { return int(a.Candidate) - int(b.Candidate) })
	return groups, nil
}
