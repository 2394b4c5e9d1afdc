package match

import (
	"context"
	"fmt"
	"regexp"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// RegexOptions are the parameters of regex.
type RegexOptions struct {
	Pattern string `json:"pattern"` // RE2 syntax; finds anywhere unless anchored
	Column  string `json:"column"`  // or: the column that holds each row's pattern
	Whole   bool   `json:"whole"`   // search the whole completion, thinking included
	Absent  bool   `json:"absent"`  // score 1 where the pattern is not found
}

// Regex scores 1 if the answer has a match of the pattern (with Absent: none),
// else 0. RE2 takes linear time, whatever the pattern.
func Regex(o RegexOptions) (rewards.Reward, error) {
	fixed, err := regexp.Compile(o.Pattern)
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "pattern: %w", err).WithFix("write the pattern in RE2 syntax: no look-around, no back-references")
	}
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		re := fixed
		if o.Column != "" {
			pattern, err := s.Text(o.Column)
			if err != nil {
				return rewards.Result{}, err
			}
			if re, err = regexp.Compile(pattern); err != nil {
				return rewards.Result{}, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q: %w", s.Prompt.RowID, o.Column, err).WithFix("write the pattern in RE2 syntax"))
			}
		}
		text := s.Answer
		if o.Whole {
			text = s.Completion
		}
		at := re.FindStringIndex(text)
		if at == nil {
			return rewards.Verdict(o.Absent, "no match"), nil
		}
		return rewards.Verdict(!o.Absent, fmt.Sprintf("match %s", quote(text[at[0]:at[1]]))), nil
	}), nil
}

// NewRegex makes the reward regex from a recipe's parameters.
func NewRegex(params map[string]any) (rewards.Reward, error) {
	var o RegexOptions
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if (o.Pattern == "") == (o.Column == "") {
		return nil, grouse.Errorf(grouse.Invalid, "regex needs a pattern or a column, one of them").WithFix("set pattern: '...' or column: NAME")
	}
	return Regex(o)
}
