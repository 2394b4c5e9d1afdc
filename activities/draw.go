package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/grouse-rl/grouse"
)

// DrawPromptsInput asks for the prompts of a wave.
type DrawPromptsInput struct {
	Stage   int               `json:"stage"`
	Step    int64             `json:"step"`              // from 1
	Wave    int               `json:"wave"`              // from 0
	First   uint32            `json:"first"`             // first candidate
	N       int               `json:"n"`                 //
	Head    int64             `json:"head"`              // completed steps whose solve rates the draw may see
	Earlier []grouse.BatchRef `json:"earlier,omitempty"` // prompts of the step's waves before: not drawn again
}

// DrawPromptsOutput names the drawn prompts.
type DrawPromptsOutput struct {
	Step    int64           `json:"step"`
	Wave    int             `json:"wave"`
	Head    int64           `json:"head"`
	Prompts grouse.BatchRef `json:"prompts"`
	Count   int             `json:"count"` // fewer than asked for: the data has no more
}

// DrawPrompts names the candidates of a wave. It depends on its input, the data
// and the first Head steps' outcomes alone; the ledger keeps the draw once the
// step's batch is committed.
func (t *Trainer) DrawPrompts(ctx context.Context, in DrawPromptsInput) (DrawPromptsOutput, error) {
	return alone(ctx, t, "draw", in.N, func(ctx context.Context, _ func(int)) (DrawPromptsOutput, error) {
		return t.draw(ctx, in)
	})
}

func (t *Trainer) draw(ctx context.Context, in DrawPromptsInput) (DrawPromptsOutput, error) {
	out := DrawPromptsOutput{Step: in.Step, Wave: in.Wave, Head: in.Head}
	if in.Stage < 0 || in.Stage >= len(t.spec.Stages) {
		return out, t.unprepared(in.Stage)
	}
	exclude, named := map[string]bool{}, ""
	for _, ref := range in.Earlier {
		prompts, err := fetchPrompts(ctx, t.Bus, ref)
		if err != nil {
			return out, err
		}
		for _, p := range prompts {
			exclude[p.Prompt.RowID] = true
		}
		named += ref.SHA256
	}
	prompts, err := t.Prompts.Draw(ctx, DrawRequest{Stage: in.Stage, Step: in.Step, First: in.First, N: in.N, Exclude: exclude,
		Solved: func() (map[string]grouse.SolveRecord, error) { return t.solved.upTo(t.Ledger, in.Stage, in.Head) }})
	if err != nil {
		return out, fmt.Errorf("draw step %d, wave %d: %w", in.Step, in.Wave, err)
	}
	for i, p := range prompts {
		if p.Candidate != in.First+uint32(i) || exclude[p.Prompt.RowID] {
			return out, grouse.Errorf(grouse.Internal, "draw step %d, wave %d: candidate %d (%s) at place %d", in.Step, in.Wave, p.Candidate, p.Prompt.RowID, i)
		}
	}
	out.Count = len(prompts)
	shard := fmt.Sprintf("w%d-%05d-%04d-%s", in.Wave, in.First, in.N, shortHash(named))
	out.Prompts, err = publishPrompts(ctx, t.Bus, key(t.Run, kindPrompts, stepToken(in.Stage, in.Step), shard), prompts)
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
func finalGroups(step int64, draws []grouse.DrawRecord, verdicts []grouse.GroupVerdict) ([]grouse.FinalGroup, error) {
	verdict := map[uint32]grouse.GroupVerdict{}
	for _, v := range verdicts {
		verdict[v.Candidate] = v
	}
	var groups []grouse.FinalGroup
	for _, draw := range draws {
		for _, p := range draw.Prompts {
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
	slices.SortFunc(groups, func(a, b grouse.FinalGroup) int { return cmp.Compare(a.Candidate, b.Candidate) })
	return groups, nil
}
