// Package repetition penalizes completions that say the same again and again: the
// share of their n-grams of words that occurred before.
package repetition

import (
	"context"
	"fmt"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Options are the parameters of repetition.
type Options struct {
	N          int     `json:"n"`           // words in an n-gram; 3
	MaxPenalty float64 `json:"max_penalty"` // the penalty of a text that is nothing but repetition; 1
}

// Share returns 1 - distinct/all of the n-grams of words of text, from 0 to 1; 0 if
// the text has fewer than n words. Words are compared without case.
func Share(text string, n int) float64 {
	words := strings.Fields(strings.ToLower(text))
	all := len(words) - n + 1
	if all < 1 {
		return 0
	}
	// An n-gram's name is made of the names of its words, so that long words cost once.
	names := make(map[string]int, len(words))
	numbers := make([]int, len(words))
	for i, w := range words {
		k, ok := names[w]
		if !ok {
			k = len(names)
			names[w] = k
		}
		numbers[i] = k
	}
	// Prefix doubling by one: grams of length k+1 from those of length k.
	grams := append([]int(nil), numbers...)
	for k := 1; k < n; k++ {
		pairs := make(map[[2]int]int, len(words))
		for i := 0; i+k < len(words); i++ {
			p := [2]int{grams[i], numbers[i+k]}
			id, ok := pairs[p]
			if !ok {
				id = len(pairs)
				pairs[p] = id
			}
			grams[i] = id
		}
	}
	distinct := make(map[int]struct{}, all)
	for _, g := range grams[:all] {
		distinct[g] = struct{}{}
	}
	return 1 - float64(len(distinct))/float64(all)
}

// Reward is -MaxPenalty times the Share of each completion, from -MaxPenalty to 0.
func Reward(o Options) rewards.Reward {
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		share := Share(s.Completion, o.N)
		return rewards.Value(0-o.MaxPenalty*share, fmt.Sprintf("%.0f%% of the %d-grams repeat", 100*share, o.N)), nil
	})
}

// New makes the reward repetition from a recipe's parameters.
func New(params map[string]any) (rewards.Reward, error) {
	o := Options{N: 3, MaxPenalty: 1}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if o.N < 1 || o.N > 100 || !(o.MaxPenalty > 0) {
		return nil, grouse.Errorf(grouse.Invalid, "n %d, max_penalty %v", o.N, o.MaxPenalty).WithFix("set n to 1 to 100 words and max_penalty above 0")
	}
	return Reward(o), nil
}
