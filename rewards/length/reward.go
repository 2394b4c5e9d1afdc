package length

import (
	"context"
	"fmt"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// OverlongOptions are the parameters of soft_overlong.
type OverlongOptions struct {
	Max   int `json:"max"`   // tokens: L_max
	Cache int `json:"cache"` // tokens: L_cache, the width of the slope before it
}

// Overlong is SoftOverlong of each completion's tokens, from -1 to 0.
func Overlong(o OverlongOptions) rewards.Reward {
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		n, err := tokens(&s)
		return rewards.Value(SoftOverlong(n, o.Max, o.Cache), fmt.Sprintf("%d tokens", n)), err
	})
}

// NewOverlong makes the reward soft_overlong from a recipe's parameters.
func NewOverlong(params map[string]any) (rewards.Reward, error) {
	var o OverlongOptions
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	return Overlong(o), nil
}

func (o *OverlongOptions) validate() error {
	if o.Max < 1 || o.Cache < 0 || o.Cache > o.Max {
		return grouse.Errorf(grouse.Invalid, "max %d, cache %d", o.Max, o.Cache).
			WithFix("set max to the longest completion in tokens and cache to a number from 0 to max: {use: soft_overlong, max: 512, cache: 128}")
	}
	return nil
}

// Styles of PenaltyOptions.Style.
const (
	Linear        = "linear" // -n/max, from -1 to 0: V3.2's role, where the report names no formula
	StyleKimi     = "kimi"
	StyleOverlong = "soft_overlong"
)

// PenaltyOptions are the settings of length_penalty.
type PenaltyOptions struct {
	Style string         // soft_overlong (R_len of spec 7.2) | linear | kimi
	Max   int            // tokens, of soft_overlong and linear
	Cache int            // tokens, of soft_overlong
	Judge rewards.Reward // of kimi: decides which completions are correct
}

// Penalty rewards short completions. kimi compares lengths within the group and asks
// Judge which completions are correct, so that a short wrong answer earns nothing.
func Penalty(o PenaltyOptions) (rewards.Reward, error) {
	switch o.Style {
	case StyleOverlong:
		v := OverlongOptions{Max: o.Max, Cache: o.Cache}
		if err := v.validate(); err != nil {
			return nil, err
		}
		return Overlong(v), nil
	case Linear:
		if o.Max < 1 {
			return nil, grouse.Errorf(grouse.Invalid, "max %d", o.Max).WithFix("set max to the longest completion in tokens")
		}
		return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
			n, err := tokens(&s)
			return rewards.Value(-min(1, float64(n)/float64(o.Max)), fmt.Sprintf("%d tokens", n)), err
		}), nil
	case StyleKimi:
		if o.Judge == nil {
			return nil, grouse.Errorf(grouse.Invalid, "kimi's length penalty needs to know which completions are correct").
				WithFix("set judge to the outcome reward of the domain: {use: length_penalty, style: kimi, judge: math}")
		}
		return kimi{o.Judge}, nil
	}
	return nil, grouse.Errorf(grouse.Invalid, "unknown style %q", o.Style).WithFix("set style to soft_overlong, linear or kimi")
}

type kimi struct{ judge rewards.Reward }

func (k kimi) Judge(ctx context.Context, g *rewards.Group) ([]rewards.Result, error) {
	verdicts, err := k.judge.Judge(ctx, g)
	if err != nil {
		return nil, err
	}
	if len(verdicts) != len(g.Samples) {
		return nil, rewards.Failf(grouse.BadOutput, "%d verdicts for %d completions", len(verdicts), len(g.Samples))
	}
	lengths := make([]int, len(g.Samples))
	for i := range g.Samples {
		if lengths[i], err = tokens(&g.Samples[i]); err != nil {
			return nil, rewards.AtSample(i, err)
		}
	}
	out := make([]rewards.Result, len(lengths))
	if len(lengths) == 0 {
		return out, nil
	}
	shortest, longest := lengths[0], lengths[0]
	for _, n := range lengths {
		shortest, longest = min(shortest, n), max(longest, n)
	}
	for i, n := range lengths {
		correct := verdicts[i].Value > 0
		if verdicts[i].Correct != nil {
			correct = *verdicts[i].Correct
		}
		out[i] = rewards.Value(Kimi(n, shortest, longest, correct), fmt.Sprintf("%d tokens of %d to %d, correct: %v", n, shortest, longest, correct))
	}
	return out, nil
}

// tokens returns a completion's length, or an error where only text is known and
// there is some: a guess would be a silent reward.
func tokens(s *rewards.Sample) (int, error) {
	if s.TokenIDs == nil && s.Completion != "" {
		return 0, rewards.Fail(grouse.Errorf(grouse.Invalid, "the completion's tokens are not known, only its text").
			WithFix("give each case token_ids, or test this reward in a run"))
	}
	return s.Tokens(), nil
}

// NewPenalty makes the reward length_penalty from a recipe's parameters; judge names
// the reward that kimi asks, made by the caller's registry.
func NewPenalty(params map[string]any, judge func(name string, params map[string]any) (rewards.Reward, error)) (rewards.Reward, error) {
	p := struct {
		Style  string         `json:"style"`
		Max    int            `json:"max"`
		Cache  int            `json:"cache"`
		Judge  string         `json:"judge"`
		Params map[string]any `json:"judge_params"`
	}{Style: StyleOverlong}
	if err := rewards.Decode(params, &p); err != nil {
		return nil, err
	}
	o := PenaltyOptions{Style: p.Style, Max: p.Max, Cache: p.Cache}
	if p.Judge != "" && p.Style != StyleKimi {
		return nil, grouse.Errorf(grouse.Invalid, "judge %s is of no use to style %s", p.Judge, p.Style).WithFix("remove judge, or set style: kimi")
	}
	if p.Judge != "" {
		var err error
		if o.Judge, err = judge(p.Judge, p.Params); err != nil {
			return nil, err
		}
	}
	return Penalty(o)
}
