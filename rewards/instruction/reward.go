package instruction

import (
	"context"
	"fmt"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Ways to score a completion that follows some of its instructions.
const (
	ScoreAll   = "all"   // 1 if every instruction is followed, else 0
	ScoreShare = "share" // the share that is
)

// Options are the parameters of instruction_following.
type Options struct {
	IDs    string `json:"ids"`    // column: the list of instruction ids; "instruction_id_list"
	Kwargs string `json:"kwargs"` // column: the list of their arguments; "kwargs"
	Score  string `json:"score"`  // all | share; "all"
}

// Reward checks each instruction of the row on the completion's answer part, from 0
// to 1. An answer that is blank follows nothing.
func Reward(o Options) rewards.Reward {
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		checks, err := rowChecks(&s, o)
		if err != nil {
			return rewards.Result{}, err
		}
		followed := 0
		var broken []string
		for _, c := range checks {
			if strings.TrimSpace(s.Answer) != "" && c.check(s.Answer) {
				followed++
			} else {
				broken = append(broken, c.id)
			}
		}
		r := rewards.Verdict(len(broken) == 0, "")
		if len(broken) > 0 {
			r.Explanation = "not followed: " + strings.Join(broken, ", ")
		}
		r.Numbers = map[string]float64{"followed": float64(followed), "instructions": float64(len(checks))}
		if o.Score == ScoreShare {
			r.Value = float64(followed) / float64(len(checks))
		}
		return r, nil
	})
}

type rowCheck struct {
	id    string
	check func(text string) bool
}

func rowChecks(s *rewards.Sample, o Options) ([]rowCheck, error) {
	bad := func(format string, args ...any) error {
		return rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: %s", s.Prompt.RowID, fmt.Sprintf(format, args...)).
			WithFix("mend the row: %s holds a list of instruction ids, %s a list of as many objects", o.IDs, o.Kwargs))
	}
	v, _ := s.Column(o.IDs)
	ids, ok := v.([]any)
	if !ok || len(ids) == 0 {
		return nil, bad("column %q is not a list of instruction ids", o.IDs)
	}
	v, _ = s.Column(o.Kwargs)
	kwargs, ok := v.([]any)
	if !ok || len(kwargs) != len(ids) {
		return nil, bad("column %q does not hold %d objects", o.Kwargs, len(ids))
	}
	var out []rowCheck
	for i, x := range ids {
		id, _ := x.(string)
		args, _ := kwargs[i].(map[string]any)
		check, err := New(id, args)
		if err != nil {
			return nil, bad("%v", err)
		}
		out = append(out, rowCheck{id, check})
	}
	return out, nil
}

// NewReward makes the reward instruction_following from a recipe's parameters.
func NewReward(params map[string]any) (rewards.Reward, error) {
	o := Options{IDs: "instruction_id_list", Kwargs: "kwargs", Score: ScoreAll}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if o.Score != ScoreAll && o.Score != ScoreShare {
		return nil, grouse.Errorf(grouse.Invalid, "unknown score %q", o.Score).WithFix("set score to all or share")
	}
	return Reward(o), nil
}
