package activities

import (
	"context"
	"encoding/json"

	"github.com/grouse-rl/grouse"
)

// PrepareInput opens a run.
type PrepareInput struct {
	Spec grouse.RunSpec `json:"spec"`
}

// PrepareOutput says how far the run's ledger is: the workflow goes on from
// there, whatever it knew itself.
type PrepareOutput struct {
	Policy  grouse.PolicyRef    `json:"policy"` // Stage is -1 before the first stage began
	Evals   []EvalResult        `json:"evals"`
	Epoch   uint64              `json:"epoch"`
	Saved   *grouse.PolicyRef   `json:"saved,omitempty"` // the last checkpoint
	Device  string              `json:"device"`
	Vocab   int                 `json:"vocab"`
	Routing grouse.RoutingShape `json:"routing"`
}

// Prepare opens the run: its first record, or what the ledger already has.
// Another recipe under the same name is Invalid.
func (t *Trainer) Prepare(ctx context.Context, in PrepareInput) (PrepareOutput, error) {
	return alone(ctx, t, "prepare", 0, func(ctx context.Context, _ func(int)) (PrepareOutput, error) {
		out := PrepareOutput{Epoch: t.Ledger.Epoch(), Device: t.Policy.Device(), Policy: grouse.PolicyRef{Stage: -1}}
		t.spec = in.Spec
		run, err := t.open(ctx)
		if err != nil {
			return out, err
		}
		out.Policy.Chain = run.Chain
		head, err := t.head(run)
		if err != nil {
			return out, err
		}
		out.Policy = head
		if err := t.ensure(ctx, head); err != nil {
			return out, err
		}
		out.Vocab, out.Routing = t.Policy.Vocab(), t.Policy.Routing()
		evals, err := list[grouse.EvalRecord](t.Ledger)
		if err != nil {
			return out, err
		}
		for _, e := range evals {
			out.Evals = append(out.Evals, EvalResult{Stage: e.Stage, Step: e.Step, Metric: e.Metric, Value: e.Value, Prompts: e.Prompts, Stats: e.Stats})
		}
		saved, err := list[grouse.CheckpointRecord](t.Ledger)
		if err != nil {
			return out, err
		}
		if n := len(saved); n > 0 {
			out.Saved = &grouse.PolicyRef{Stage: saved[n-1].Stage, Version: saved[n-1].Step, Chain: saved[n-1].Chain}
		}
		return out, nil
	})
}

// open returns the run's first record, which it writes if the ledger is new.
func (t *Trainer) open(ctx context.Context) (grouse.RunRecord, error) {
	recipe, err := RecipeDigest(t.spec)
	if err != nil {
		return grouse.RunRecord{}, err
	}
	run, ok, err := find[grouse.RunRecord](t.Ledger, t.Run)
	if err != nil {
		return run, err
	}
	if ok {
		if run.RecipeSHA256 != recipe || run.Seed != t.spec.Seed {
			return run, grouse.Errorf(grouse.Invalid, "run %s was begun with another recipe", t.Run).
				WithFix("give the run another --name, or go on with the recipe that is saved with it: grouse resume %s", t.Run)
		}
		return run, nil
	}
	// A new ledger: what an older run of the name left on the bus is not ours.
	if err := t.Bus.Delete(ctx, t.Run); err != nil {
		return run, err
	}
	weights, err := t.Policy.LoadInitial(ctx)
	if err != nil {
		return run, err
	}
	spec, err := json.Marshal(t.spec)
	if err != nil {
		return run, grouse.Errorf(grouse.Invalid, "recipe: %w", err)
	}
	run = grouse.RunRecord{Run: t.Run, RecipeSHA256: recipe, WeightsSHA256: weights, Chain: grouse.ChainStart(weights, recipe),
		Seed: t.spec.Seed, Spec: spec, Device: t.Policy.Device()}
	if err := t.Ledger.Append(ctx, run); err != nil {
		return run, err
	}
	t.at, t.loaded = grouse.PolicyRef{Stage: -1, Chain: run.Chain}, true
	return run, nil
}

// head returns the newest weights that the ledger knows of.
func (t *Trainer) head(run grouse.RunRecord) (grouse.PolicyRef, error) {
	at := grouse.PolicyRef{Stage: -1, Chain: run.Chain}
	marks, err := t.timeline()
	if err != nil {
		return at, err
	}
	if n := len(marks); n > 0 {
		at = marks[n-1].after
	}
	return at, nil
}

// BeginStageInput begins a stage.
type BeginStageInput struct {
	Stage  int              `json:"stage"`
	Policy grouse.PolicyRef `json:"policy"` // the weights at the end of the stage before
	Ahead  int              `json:"ahead"`  // rl: steps to draw for at once, max_staleness + 1
}

// BeginStageOutput is what the workflow needs to know of a stage.
type BeginStageOutput struct {
	Policy         grouse.PolicyRef    `json:"policy"`
	Routes         []ScoreRoute        `json:"routes"`
	EvalRoutes     []ScoreRoute        `json:"eval_routes"`
	GroupsPerShard int                 `json:"groups_per_shard"`
	Draws          []DrawPromptsOutput `json:"draws"`
	Recent         []grouse.PolicyRef  `json:"recent,omitempty"` // the newest in.Ahead versions of the stage, oldest first
}

// BeginStage prepares weights and optimizer for a stage that may have begun
// before, publishes its policy, and says where its work goes.
func (t *Trainer) BeginStage(ctx context.Context, in BeginStageInput) (BeginStageOutput, error) {
	return alone(ctx, t, "begin", 0, func(ctx context.Context, _ func(int)) (BeginStageOutput, error) {
		var out BeginStageOutput
		if in.Stage < 0 || in.Stage >= len(t.spec.Stages) {
			return out, t.unprepared(in.Stage)
		}
		stage := t.spec.Stages[in.Stage]
		rec, begun, err := find[grouse.StageRecord](t.Ledger, grouse.StageRecord{Stage: in.Stage}.RecordKey())
		if err != nil {
			return out, err
		}
		if !begun {
			if err := t.ensure(ctx, in.Policy); err != nil {
				return out, err
			}
			if rec, err = t.enterStage(ctx, in.Stage); err != nil {
				return out, err
			}
			if err := t.Ledger.Append(ctx, rec); err != nil {
				return out, err
			}
		} else {
			want := in.Policy
			if want.Stage != in.Stage { // asked again: what it came to is known
				want = grouse.PolicyRef{Stage: in.Stage, Chain: rec.Chain}
			}
			if err := t.ensure(ctx, want); err != nil {
				return out, err
			}
		}
		out.Policy = t.at
		if out.Recent, err = t.recent(in.Stage, t.at.Version, in.Ahead); err != nil {
			return out, err
		}
		if out.Routes, err = t.Router.ScoreRoutes(ctx, stage.Domains); err != nil {
			return out, err
		}
		if out.EvalRoutes, err = t.Router.ScoreRoutes(ctx, EvalDomains(t.spec)); err != nil {
			return out, err
		}
		out.GroupsPerShard = stage.Rollout.GroupsPerShard
		if stage.Kind == grouse.StageSFT {
			return out, nil
		}
		if err := t.Policy.Publish(ctx, t.at); err != nil {
			return out, err
		}
		first := t.at.Version + 1
		for step := first; step < first+int64(in.Ahead) && step <= int64(stage.Steps); step++ {
			d, err := t.draw(ctx, DrawPromptsInput{Stage: in.Stage, Step: step, Head: max(0, step-int64(in.Ahead)), N: DrawSize(stage)})
			if err != nil {
				return out, err
			}
			out.Draws = append(out.Draws, d)
		}
		return out, nil
	})
}

// recent returns the n versions of a stage up to last, oldest first: samplers
// that work behind are asked for them by chain.
func (t *Trainer) recent(stage int, last int64, n int) ([]grouse.PolicyRef, error) {
	marks, err := t.timeline()
	if err != nil {
		return nil, err
	}
	var refs []grouse.PolicyRef
	for _, m := range marks {
		if m.after.Stage == stage && m.after.Version <= last && m.after.Version > last-int64(n) {
			refs = append(refs, m.after)
		}
	}
	return refs, nil
}

func (t *Trainer) unprepared(stage int) error {
	return grouse.Errorf(grouse.Unavailable, "this trainer has not prepared run %s yet (stage %d)", t.Run, stage).WithFix("nothing: the run prepares it")
}

// EvalDomains returns the domain that the evaluation's rewards make, none if
// the recipe has no evaluation.
func EvalDomains(spec grouse.RunSpec) []grouse.Domain {
	if !HasEval(spec) {
		return nil
	}
	d := grouse.Domain{Name: spec.Eval.Domain, Data: spec.Eval.Data, Rewards: spec.Eval.Rewards}
	for _, s := range spec.Stages {
		for _, sd := range s.Domains {
			if s.Kind == grouse.StageRL && (d.Name == "" || sd.Name == d.Name) {
				if d.Name = sd.Name; len(d.Rewards) == 0 {
					d.Rewards = sd.Rewards
				}
				return []grouse.Domain{d}
			}
		}
	}
	return []grouse.Domain{d}
}

// HasEval reports whether the recipe names held-out data.
func HasEval(spec grouse.RunSpec) bool {
	d := spec.Eval.Data
	return d.Path != "" || d.Hub != "" || d.Task != "" || d.Stage != ""
}
