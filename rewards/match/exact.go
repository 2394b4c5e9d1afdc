package match

import (
	"context"
	"fmt"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/answer"
)

// ExactOptions are the parameters of exact.
type ExactOptions struct {
	Column     string `json:"column"`      // holds the reference: a text or a number, or a list of accepted ones; "answer"
	Extract    bool   `json:"extract"`     // compare the final answer (package answer), not the whole answer part
	IgnoreCase bool   `json:"ignore_case"` //
}

// Exact scores 1 if the answer is the reference, else 0. Both are trimmed and each
// run of white space counts as one space.
func Exact(o ExactOptions) rewards.Reward {
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		accepted, err := references(&s, o.Column)
		if err != nil {
			return rewards.Result{}, err
		}
		got := s.Answer
		if o.Extract {
			found, ok := answer.Find(s.Thinking, s.Answer)
			if !ok {
				return rewards.Verdict(false, "no answer"), nil
			}
			got = found.Text
		}
		for _, want := range accepted {
			if same(got, want, o.IgnoreCase) {
				return rewards.Verdict(true, quote(got)+" is the reference"), nil
			}
		}
		return rewards.Verdict(false, fmt.Sprintf("%s is not %s", quote(got), quote(accepted[0]))), nil
	})
}

func same(a, b string, ignoreCase bool) bool {
	a, b = strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " ")
	return a == b || ignoreCase && strings.EqualFold(a, b)
}

// references returns the accepted answers of a row: a column of one, or a list.
func references(s *rewards.Sample, column string) ([]string, error) {
	v, _ := s.Column(column)
	list, ok := v.([]any)
	if !ok {
		text, err := s.Text(column)
		if err != nil {
			return nil, err
		}
		return []string{text}, nil
	}
	var out []string
	for _, x := range list {
		switch x.(type) {
		case string, float64, bool:
			out = append(out, fmt.Sprint(x))
		}
	}
	if len(out) == 0 || len(out) != len(list) {
		return nil, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q must be a text, a number, or a list of them that is not empty", s.Prompt.RowID, column).
			WithFix("mend the row, or name another column"))
	}
	return out, nil
}

// quote shortens a text for an explanation.
func quote(s string) string {
	const most = 80
	s = strings.TrimSpace(s)
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return fmt.Sprintf("%q", s)
}

// NewExact makes the reward exact from a recipe's parameters.
func NewExact(params map[string]any) (rewards.Reward, error) {
	o := ExactOptions{Column: "answer"}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	return Exact(o), nil
}
