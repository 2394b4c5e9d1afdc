package worker

import (
	"context"
	"fmt"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/wire"
	"github.com/grouse-rl/grouse/rewards"
)

// RescoreOptions say what is judged anew, and by what.
type RescoreOptions struct {
	Home    string
	Rewards []grouse.RewardSpec // of every domain
	Domain  string              // "": all
	First   int64               // step; 0: the first
	Last    int64               // 0: the last
}

// Rescored is one stored group with its old and its new scores, [G] both.
type Rescored struct {
	Stage  int
	Step   int64
	Group  grouse.Group // with the row's columns and the completions' text
	Before []grouse.Score
	After  []grouse.Score
}

// Rescore judges the completions that a run was trained on with other rewards, step by
// step as the ledger has them. Nothing is generated and nothing is written. each is
// called in order and ends it by an error.
func Rescore(ctx context.Context, dev tensor.Device, r *config.Resolved, registry *rewards.Registry, o RescoreOptions, each func(Rescored) error) error {
	dir := RunDir(o.Home, r.Spec.Name)
	log, err := readLog(dir)
	if err != nil {
		return err
	}
	composite, err := registry.Compose(o.Rewards)
	if err != nil {
		return err
	}
	defer composite.Close()
	policy, err := OpenPolicy(dev, r.Spec.Model, r.Base, o.Home, r.Spec.Seed)
	if err != nil {
		return err
	}
	rows := &prompts{spec: r.Spec, dir: dir, base: r.Base, home: o.Home, policy: policy}
	found := false
	for _, rec := range log.order[grouse.RecordBatch] {
		b := rec.(grouse.BatchRecord)
		if b.Groups == "" || b.Step < o.First || (o.Last > 0 && b.Step > o.Last) {
			continue
		}
		groups, scores, err := storedBatch(dir, b)
		if err != nil {
			return fmt.Errorf("step %d: %w", b.Step, err)
		}
		for i, g := range groups {
			if o.Domain != "" && g.Prompt.Domain != o.Domain {
				continue
			}
			found = true
			if err := rows.complete(b.Stage, &g, policy); err != nil {
				return fmt.Errorf("step %d: %w", b.Step, err)
			}
			after := composite.Score(ctx, rewards.NewGroup(&g))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := each(Rescored{Stage: b.Stage, Step: b.Step, Group: g, Before: scores[i].Scores, After: after}); err != nil {
				return err
			}
		}
	}
	if !found {
		return grouse.Errorf(grouse.NotFound, "run %s has stored no such completions", r.Spec.Name).WithFix("what a step was trained on is stored: `grouse show %s`; check --steps and --domain", r.Spec.Name)
	}
	return nil
}

func storedBatch(dir string, b grouse.BatchRecord) ([]grouse.Group, []wire.GroupScores, error) {
	data, err := ledger.ReadBlob(dir, b.Groups)
	if err != nil {
		return nil, nil, err
	}
	groups, err := wire.DecodeGroups(data)
	if err != nil {
		return nil, nil, err
	}
	if data, err = ledger.ReadBlob(dir, b.Scores); err != nil {
		return nil, nil, err
	}
	scores, err := wire.DecodeScores(data)
	if err == nil && len(scores) != len(groups) {
		err = grouse.Errorf(grouse.Corrupt, "%d groups, %d scores", len(groups), len(scores))
	}
	return groups, scores, err
}

// complete gives a stored group its row, which the ledger names only, and its text.
func (p *prompts) complete(stage int, g *grouse.Group, policy *Policy) error {
	for i := range p.spec.Stages[stage].Domains {
		d := &p.spec.Stages[stage].Domains[i]
		if d.Name != g.Prompt.Domain {
			continue
		}
		set, err := p.domain(stage, d, nil)
		if err != nil {
			return err
		}
		prompt, ok := set.byID(g.Prompt.RowID)
		if !ok {
			return grouse.Errorf(grouse.NotFound, "domain %s has no row %s any more", d.Name, g.Prompt.RowID).WithFix("put the data back as it was when the run used it")
		}
		g.Prompt = prompt
		for k := range g.Rollouts {
			if r := &g.Rollouts[k]; r.Text == "" {
				r.Text = policy.Decode(r.ResponseIDs)
			}
		}
		return nil
	}
	return grouse.Errorf(grouse.Corrupt, "the stage has no domain %s", g.Prompt.Domain)
}

// byID finds a prompt.
func (s *domainSet) byID(id string) (grouse.Prompt, bool) {
	if s.ids == nil {
		s.ids = make(map[string]int, len(s.prompts))
		for i := range s.prompts {
			s.ids[s.prompts[i].RowID] = i
		}
	}
	i, ok := s.ids[id]
	if !ok {
		return grouse.Prompt{}, false
	}
	return s.prompts[i], true
}
