package rewards

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/grouse-rl/grouse"
)

// Reward judges the completions of one group. One that holds something open, such
// as a process, also has a Close (io.Closer), which Composite.Close calls.
type Reward interface {
	// Judge returns one Result for each sample, in order. An error means that the
	// group could not be judged; see Error for its kinds. Implementations must
	// heed ctx, must not change the group, must be safe for concurrent use, and
	// should be deterministic: a run's promise of identical replays presumes it.
	Judge(ctx context.Context, g *Group) ([]Result, error)
}

// Result is what a reward says of one completion. The zero Result is a value of 0.
type Result struct {
	Value       float64            // finite
	NoOpinion   bool               // the reward leaves itself out of this completion's sum; Value is ignored
	Correct     *bool              // the verdict, if this reward judges outcomes
	Numbers     map[string]float64 // for metrics and the viewer; finite
	Explanation string             // a line for the viewer
}

// Value returns a Result with a value and an explanation.
func Value(v float64, explanation string) Result { return Result{Value: v, Explanation: explanation} }

// Verdict returns the Result of an outcome reward: 1 for correct, else 0.
func Verdict(correct bool, explanation string) Result {
	r := Result{Correct: &correct, Explanation: explanation}
	if correct {
		r.Value = 1
	}
	return r
}

// Group is a prompt with its completions. Rewards must not change it.
type Group struct {
	Prompt  grouse.Prompt
	Samples []Sample // [G]
}

// Sample is one completion, with its prompt.
type Sample struct {
	Index      int                 // in the group
	Completion string              // decoded text, special tokens left out
	TokenIDs   []int32             // of the completion, the end token included; nil if only text is known
	Finish     grouse.FinishReason // length: truncated
	Prompt     *grouse.Prompt      // of the group; never nil

	Thinking string // reasoning before the last </think>, or all of an unclosed one
	Answer   string // what follows it; the whole completion if there is no thinking; "" if it is unclosed
	Thought  Thought
}

// Tokens returns the completion's length in tokens.
func (s *Sample) Tokens() int { return len(s.TokenIDs) }

// Column returns a column of the sample's data row.
func (s *Sample) Column(name string) (any, bool) {
	v, ok := s.Prompt.Columns[name]
	return v, ok && v != nil
}

// Text returns a column that every row must have, as text: strings as they are,
// numbers and booleans as JSON writes them. An error of kind Invalid names the
// row and the columns that it does have.
func (s *Sample) Text(name string) (string, error) {
	v, ok := s.Column(name)
	if !ok {
		return "", s.missing(name)
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, float64, float32, int, int64, int32, uint64, json.Number:
		data, err := json.Marshal(v)
		if err != nil {
			return "", Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q: %w", s.Prompt.RowID, name, err))
		}
		return string(data), nil
	}
	return "", Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q is %s, not text", s.Prompt.RowID, name, jsonKind(v)).
		WithFix("give column %q a string or a number in every row", name))
}

func (s *Sample) missing(name string) error {
	return Fail(grouse.Errorf(grouse.Invalid, "row %s has no column %q, only %s", s.Prompt.RowID, name, names(s.Prompt.Columns)).
		WithFix("add the column to the data, or name the one that holds it in the reward's parameters"))
}

func jsonKind(v any) string {
	switch v.(type) {
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return fmt.Sprintf("a %T", v)
}

// NewGroup returns what rewards see of a sampled group.
func NewGroup(g *grouse.Group) *Group {
	out := &Group{Prompt: g.Prompt, Samples: make([]Sample, len(g.Rollouts))}
	for i := range g.Rollouts {
		r := &g.Rollouts[i]
		out.Samples[i] = newSample(i, &out.Prompt, r.Text, r.ResponseIDs, r.Finish)
	}
	return out
}

// NewTextGroup returns a group of completions of which only the text is known, as
// `grouse reward test` and tests have them. Each was stopped by an end token.
func NewTextGroup(prompt grouse.Prompt, completions ...string) *Group {
	out := &Group{Prompt: prompt, Samples: make([]Sample, len(completions))}
	for i, c := range completions {
		out.Samples[i] = newSample(i, &out.Prompt, c, nil, grouse.FinishStop)
	}
	return out
}

func newSample(i int, p *grouse.Prompt, text string, ids []int32, finish grouse.FinishReason) Sample {
	s := Sample{Index: i, Completion: text, TokenIDs: ids, Finish: finish, Prompt: p}
	s.Thinking, s.Answer, s.Thought = SplitThinking(p.Text, text)
	return s
}

// Func is a reward that looks at one completion at a time and says a number.
type Func func(ctx context.Context, s Sample) (float64, error)

// Judge calls f for each sample.
func (f Func) Judge(ctx context.Context, g *Group) ([]Result, error) {
	return Each(func(ctx context.Context, s Sample) (Result, error) {
		v, err := f(ctx, s)
		return Result{Value: v}, err
	}).Judge(ctx, g)
}

// Each is a reward that looks at one completion at a time and says a whole Result.
type Each func(ctx context.Context, s Sample) (Result, error)

// Judge calls f for each sample and stops at the first error, or when ctx ends.
func (f Each) Judge(ctx context.Context, g *Group) ([]Result, error) {
	out := make([]Result, len(g.Samples))
	for i := range g.Samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := f(ctx, g.Samples[i])
		if err != nil {
			return nil, AtSample(i, err)
		}
		out[i] = r
	}
	return out, nil
}

var (
	_ Reward = Func(nil)
	_ Reward = Each(nil)
)
