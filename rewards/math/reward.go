package math

import (
	"context"
	"fmt"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/answer"
)

// Options are the parameters of math.
type Options struct {
	Column string `json:"column"` // holds the reference: an answer, a solution that ends in \boxed{} or "#### 42", or a list of accepted answers; "answer"
}

// Reward scores 1 if the final answer of the completion is equivalent to the
// reference, else 0. No answer, and "I do not know", are wrong.
func Reward(o Options) rewards.Reward {
	return rewards.Each(func(ctx context.Context, s rewards.Sample) (rewards.Result, error) {
		accepted, err := references(&s, o.Column)
		if err != nil {
			return rewards.Result{}, err
		}
		found, ok := answer.Find(s.Thinking, s.Answer)
		if !ok {
			return rewards.Verdict(false, "no answer"), nil
		}
		for _, want := range accepted {
			if Equivalent(found.Text, want) {
				return rewards.Verdict(true, fmt.Sprintf("%s (%s) is %s", short(found.Text), found.Source, short(want))), nil
			}
		}
		return rewards.Verdict(false, fmt.Sprintf("%s (%s) is not %s", short(found.Text), found.Source, short(accepted[0]))), nil
	})
}

// references returns the accepted answers of a row.
func references(s *rewards.Sample, column string) ([]string, error) {
	v, _ := s.Column(column)
	list, ok := v.([]any)
	if !ok {
		text, err := s.Text(column)
		if err != nil {
			return nil, err
		}
		list = []any{text}
	}
	var out []string
	for _, x := range list {
		gold := strings.TrimSpace(fmt.Sprint(x))
		if strings.Contains(gold, `\boxed`) || strings.Contains(gold, "####") {
			if found, ok := answer.In(gold); ok {
				gold = found.Text
			}
		}
		if gold != "" {
			out = append(out, gold)
		}
	}
	if len(out) == 0 {
		return nil, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q holds no reference answer", s.Prompt.RowID, column).
			WithFix("give every row an answer, or name the column that holds it"))
	}
	return out, nil
}

func short(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return fmt.Sprintf("%q", s)
}

// New makes the reward math from a recipe's parameters.
func New(params map[string]any) (rewards.Reward, error) {
	o := Options{Column: "answer"}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	return Reward(o), nil
}
