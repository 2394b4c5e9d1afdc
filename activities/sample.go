package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/grouse-rl/grouse"
)

// Rollouts samples groups.
type Rollouts struct {
	Sampler Sampler
	Bus     Bus
	Codec   Codec
}

// SampleGroupsInput asks for the groups of some drawn prompts.
type SampleGroupsInput struct {
	Run     string             `json:"run"`
	Purpose string             `json:"purpose"`
	Stage   int                `json:"stage"`
	Step    int64              `json:"step"`
	Wave    int                `json:"wave"`
	Policy  grouse.PolicyRef   `json:"policy"`
	Prompts grouse.BatchRef    `json:"prompts"`
	From    int                `json:"from"` // rows of Prompts: From, ..., To-1
	To      int                `json:"to"`
	N       int                `json:"n"` // completions a prompt
	Rollout grouse.RolloutSpec `json:"rollout"`
	Seed    uint64             `json:"seed"`
	// KeepRouting asks for the experts that were chosen (algorithm.keep_routing).
	KeepRouting bool `json:"keep_routing"`
}

// SampleGroupsOutput names the sampled groups.
type SampleGroupsOutput struct {
	Groups  grouse.BatchRef `json:"groups"`
	Domains []string        `json:"domains"` // of the groups, ascending
	Tokens  int64           `json:"tokens"`  // response tokens; 0 if the groups were there already
	Span    Span            `json:"span"`
}

// SampleGroups samples one shard of a wave. Its key is run, step, wave, range
// and what the prompts are: what was published under it is never made again.
func (a *Rollouts) SampleGroups(ctx context.Context, in SampleGroupsInput) (SampleGroupsOutput, error) {
	return beating(ctx, "groups", in.To-in.From, func(ctx context.Context, progress func(int)) (SampleGroupsOutput, error) {
		out := SampleGroupsOutput{Span: Span{What: "sample", Start: now()}}
		prompts, err := fetchPrompts(ctx, a.Bus, in.Prompts)
		if err != nil {
			return out, err
		}
		if in.From < 0 || in.From >= in.To || in.To > len(prompts) {
			return out, grouse.Errorf(grouse.Internal, "sample step %d: rows %d to %d of %d prompts", in.Step, in.From, in.To, len(prompts))
		}
		prompts = prompts[in.From:in.To]
		for _, p := range prompts {
			if !slices.Contains(out.Domains, p.Prompt.Domain) {
				out.Domains = append(out.Domains, p.Prompt.Domain)
			}
		}
		slices.Sort(out.Domains)
		k := key(in.Run, kindRollouts, purposeToken(in.Purpose, in.Stage, in.Step), fmt.Sprintf("w%d-%04d-%04d-%.8s", in.Wave, in.From, in.To, in.Prompts.SHA256))
		if out.Groups, err = a.Bus.Lookup(ctx, k); err == nil {
			out.Span.End = now()
			return out, nil
		} else if grouse.KindOf(err) != grouse.NotFound {
			return out, err
		}
		groups, err := a.Sampler.Sample(ctx, SampleRequest{Run: in.Run, Purpose: in.Purpose, Stage: in.Stage, Step: in.Step,
			Policy: in.Policy, Prompts: prompts, N: in.N, Rollout: in.Rollout, Seed: in.Seed, KeepRouting: in.KeepRouting}, progress)
		if err != nil {
			return out, missing(fmt.Errorf("sample %s with policy %d: %w", k, in.Policy.Version, err), PolicyMissing)
		}
		if err := checkGroups(groups, prompts, in.N); err != nil {
			return out, fmt.Errorf("sample %s: %w", k, err)
		}
		rows := 0
		for i := range groups {
			rows += len(groups[i].Rollouts)
			for j := range groups[i].Rollouts {
				out.Tokens += int64(len(groups[i].Rollouts[j].ResponseIDs))
			}
		}
		data, err := a.Codec.EncodeGroups(groups)
		if err != nil {
			return out, fmt.Errorf("sample %s: %w", k, err)
		}
		out.Groups, err = a.Bus.Publish(ctx, k, rows, data)
		out.Span.End = now()
		return out, err
	})
}

// checkGroups refuses an engine's answer that is not what was asked for.
func checkGroups(groups []grouse.Group, prompts []Candidate, n int) error {
	if len(groups) != len(prompts) {
		return grouse.Errorf(grouse.Internal, "the engine returned %d groups for %d prompts", len(groups), len(prompts))
	}
	for i := range groups {
		if groups[i].Candidate != prompts[i].Candidate || groups[i].Prompt.RowID != prompts[i].Prompt.RowID {
			return grouse.Errorf(grouse.Internal, "the engine returned candidate %d (%s) where %d (%s) was asked for",
				groups[i].Candidate, groups[i].Prompt.RowID, prompts[i].Candidate, prompts[i].Prompt.RowID)
		}
		if len(groups[i].Rollouts) != n {
			return grouse.Errorf(grouse.Internal, "the engine returned %d completions of candidate %d, want %d", len(groups[i].Rollouts), groups[i].Candidate, n)
		}
	}
	return nil
}

func fetchPrompts(ctx context.Context, bus Bus, ref grouse.BatchRef) ([]Candidate, error) {
	data, err := bus.Fetch(ctx, ref)
	if err != nil {
		return nil, missing(err, BatchMissing)
	}
	var prompts []Candidate
	if err := json.Unmarshal(data, &prompts); err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "prompts %s: %w", ref.Key, err).WithFix("use the same version of grouse for every worker")
	}
	return prompts, nil
}

func publishPrompts(ctx context.Context, bus Bus, k string, prompts []Candidate) (grouse.BatchRef, error) {
	data, err := json.Marshal(prompts)
	if err != nil {
		return grouse.BatchRef{}, grouse.Errorf(grouse.Invalid, "prompts %s: %w", k, err).WithFix("look at the data's columns: they must be what JSON can hold")
	}
	return bus.Publish(ctx, k, len(prompts), data)
}

// fetchGroups returns decoded groups with their whole prompts.
func fetchGroups(ctx context.Context, bus Bus, codec Codec, ref grouse.BatchRef, prompts map[uint32]grouse.Prompt) ([]grouse.Group, error) {
	data, err := bus.Fetch(ctx, ref)
	if err != nil {
		return nil, missing(err, BatchMissing)
	}
	groups, err := codec.DecodeGroups(data)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", ref.Key, err)
	}
	for i := range groups {
		p, ok := prompts[groups[i].Candidate]
		if !ok {
			return nil, grouse.Errorf(grouse.Internal, "batch %s has candidate %d, which was not drawn", ref.Key, groups[i].Candidate)
		}
		groups[i].Prompt = p
	}
	return groups, nil
}

func byCandidate(prompts []Candidate) map[uint32]grouse.Prompt {
	m := make(map[uint32]grouse.Prompt, len(prompts))
	for _, p := range prompts {
		m[p.Candidate] = p.Prompt
	}
	return m
}
