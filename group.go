package grouse

// Group is the G rollouts of one prompt, the unit in which advantages are
// computed.
type Group struct {
	Candidate uint32    `json:"candidate"` // index in the step's candidate order, waves counted through
	Prompt    Prompt    `json:"prompt"`
	Rollouts  []Rollout `json:"rollouts"` // [G], ascending Sample
	Sampling  Sampling  `json:"sampling"`
	Seed      uint64    `json:"seed"`
}

// Validate checks a group where it enters: its size, the order of its samples
// and every rollout. wantG is num_generations, vocab the model's vocabulary.
func (g *Group) Validate(wantG, vocab int) error {
	if len(g.Rollouts) != wantG {
		return Errorf(Invalid, "candidate %d (%s): %d rollouts, want %d", g.Candidate, g.Prompt.RowID, len(g.Rollouts), wantG)
	}
	for i := range g.Rollouts {
		r := &g.Rollouts[i]
		if int(r.Sample) != i {
			return Errorf(Invalid, "candidate %d (%s): sample %d at place %d", g.Candidate, g.Prompt.RowID, r.Sample, i)
		}
		if err := r.Validate(len(g.Prompt.TokenIDs), vocab); err != nil {
			return Errorf(Invalid, "candidate %d (%s): %w", g.Candidate, g.Prompt.RowID, err)
		}
	}
	return nil
}
