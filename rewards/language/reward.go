package language

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Options are the parameters of language_consistency.
type Options struct {
	Target string `json:"target"` // ISO 639-1 code: en, zh, ...
	Column string `json:"column"` // or: the column that says it; "language"
}

// Reward is the share of words in the target language, from 0 to 1: of the thinking
// part if the completion has a closed one, else of the whole text without its tags.
func Reward(o Options) rewards.Reward {
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		target := o.Target
		if target == "" {
			text, err := s.Text(o.Column)
			if err != nil {
				return rewards.Result{}, err
			}
			if target = normalize(text); !known(target) {
				return rewards.Result{}, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q: unknown language %q", s.Prompt.RowID, o.Column, text).
					WithFix("use one of %s", strings.Join(Languages(), ", ")))
			}
		}
		text := s.Completion
		if s.Thought == rewards.ClosedThought {
			text = s.Thinking
		}
		inTarget, total := Count(text, target)
		r := rewards.Value(Consistency(inTarget, total), fmt.Sprintf("%d of %d words are %s", inTarget, total, target))
		r.Numbers = map[string]float64{"words": float64(total)}
		return r, nil
	})
}

// Known reports whether texts can be held to a language, by its ISO 639-1 code.
func Known(lang string) bool { return known(normalize(lang)) }

// Languages lists the codes that are known.
func Languages() []string {
	var out []string
	for l := range scripts {
		out = append(out, l)
	}
	for l := range latinWords {
		out = append(out, l)
	}
	slices.Sort(out)
	return out
}

func known(lang string) bool {
	_, other := scripts[lang]
	_, isLatin := latinWords[lang]
	return other || isLatin
}

// normalize makes zh of zh-CN and ZH.
func normalize(lang string) string {
	lang = strings.ToLower(strings.TrimSpace(lang))
	lang, _, _ = strings.Cut(strings.ReplaceAll(lang, "_", "-"), "-")
	if lang == "nb" || lang == "nn" {
		return "no"
	}
	return lang
}

// New makes the reward language_consistency from a recipe's parameters.
func New(params map[string]any) (rewards.Reward, error) {
	o := Options{Column: "language"}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if o.Target != "" {
		if o.Target = normalize(o.Target); !known(o.Target) {
			return nil, grouse.Errorf(grouse.Invalid, "unknown language %q", o.Target).WithFix("use one of %s", strings.Join(Languages(), ", "))
		}
	}
	return Reward(o), nil
}
