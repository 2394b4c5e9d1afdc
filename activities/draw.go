package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/grouse-rl/grouse"
)

// drawWaves is for how many full waves prompts are drawn at once: what a wave
// leaves over, the next ones take without another activity.
const drawWaves = 4

// DrawSize returns how many prompts are drawn for a step at once.
func DrawSize(stage grouse.Stage) int {
	if stage.Algorithm.FilterGroups == grouse.FilterNone {
		return stage.Rollout.PromptsPerStep
	}
	return stage.Rollout.PromptsPerStep * min(max(1, stage.Algorithm.MaxWaves), drawWaves)
}

// DrawPromptsInput asks for the prompts of some candidates of a step.
type DrawPromptsInput struct {
	Stage   int               `json:"stage"`
	Step    int64             `json:"step"`              // from 1
	First   uint32            `json:"first"`             // first candidate
	N       int               `json:"n"`                 //
	Head    int64             `json:"head"`              // completed steps whose solve rates the draw may see
	Earlier []grouse.BatchRef `json:"earlier,omitempty"` // prompts of the step's candidates before First: not drawn again
}

// DrawPromptsOutput names the drawn prompts: candidates First, First+1, ...
type DrawPromptsOutput struct {
	Step    int64           `json:"step"`
	Head    int64           `json:"head"`
	First   uint32          `json:"first"`
	Count   int             `json:"count"`
	Spent   bool            `json:"spent"`   // fewer than asked for: the data has no more
	Prompts grouse.BatchRef `json:"prompts"` // [Count]
}

// DrawPrompts names candidates of a step. It depends on its input, the data and
// the first Head steps' outcomes alone. Which of them a wave used, the ledger
// keeps once the step's batch is committed.
func (t *Trainer) DrawPrompts(ctx context.Context, in DrawPromptsInput) (DrawPromptsOutput, error) {
	return alone(ctx, t, "draw", in.N, func(ctx context.Context, _ func(int)) (DrawPromptsOutput, error) {
		return t.draw(ctx, in)
	})
}

func (t *Trainer) draw(ctx context.Context, in DrawPromptsInput) (DrawPromptsOutput, error) {
	out := DrawPromptsOutput{Step: in.Step, Head: in.Head, First: in.First}
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
	// Blocks of a wave each, so that domains have their shares in every one.
	prompts := []Candidate{}
	for len(prompts) < in.N && !out.Spent {
		n := min(in.N-len(prompts), max(1, t.spec.Stages[in.Stage].Rollout.PromptsPerStep))
		block, err := t.drawBlock(ctx, in, in.First+uint32(len(prompts)), n, exclude)
		if err != nil {
			return out, fmt.Errorf("draw step %d: %w", in.Step, err)
		}
		prompts = append(prompts, block...)
		out.Spent = len(block) < n
	}
	out.Count = len(prompts)
	shard := fmt.Sprintf("%05d-%05d-%s", in.First, in.N, shortHash(named))
	var err error
	out.Prompts, err = publishPrompts(ctx, t.Bus, key(t.Run, kindPrompts, stepToken(in.Stage, in.Step), shard), prompts)
	return out, err
}

// drawBlock draws up to n prompts, adds them to exclude, and spreads each
// domain's over the block: a wave that takes only the first few gets of each.
func (t *Trainer) drawBlock(ctx context.Context, in DrawPromptsInput, first uint32, n int, exclude map[string]bool) ([]Candidate, error) {
	block, err := t.Prompts.Draw(ctx, DrawRequest{Stage: in.Stage, Step: in.Step, First: first, N: n, Exclude: exclude,
		Solved: func() (map[string]grouse.SolveRecord, error) { return t.solved.upTo(t.Ledger, in.Stage, in.Head) }})
	if err != nil {
		return nil, err
	}
	if len(block) > n {
		return nil, grouse.Errorf(grouse.Internal, "%d prompts were drawn, %d asked for", len(block), n)
	}
	for i, p := range block {
		if p.Candidate != first+uint32(i) || exclude[p.Prompt.RowID] {
			return nil, grouse.Errorf(grouse.Internal, "candidate %d (%s) at place %d", p.Candidate, p.Prompt.RowID, i)
		}
		exclude[p.Prompt.RowID] = true
	}
	return spread(block), nil
}

// spread orders prompts so that every domain's are evenly spaced, and numbers
// them anew. Prompts of one domain keep their order.
func spread(block []Candidate) []Candidate {
	total, seen := map[string]int{}, map[string]int{}
	for _, p := range block {
		total[p.Prompt.Domain]++
	}
	type placed struct {
		Candidate
		at float64
	}
	order := make([]placed, len(block))
	for i, p := range block {
		d := p.Prompt.Domain
		order[i] = placed{p, (float64(seen[d]) + 0.5) / float64(total[d])}
		seen[d]++
	}
	slices.SortStableFunc(order, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	out := make([]Candidate, len(block))
	for i, p := range order {
		out[i] = Candidate{Candidate: block[0].Candidate + uint32(i), Prompt: p.Prompt}
	}
	return out
}

// solveRates keeps what the ledger says of how well prompts are solved.
type solveRates struct {
	stage int
	head  int64 // steps of the stage that are counted
	rows  map[string]grouse.SolveRecord
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
