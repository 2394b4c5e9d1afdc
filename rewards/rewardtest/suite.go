// Package rewardtest holds the checks that every reward runs, ours and yours:
//
//	func TestReward(t *testing.T) {
//		rewardtest.Run(t, reward, rewardtest.Case{Name: "gold", Columns: row, Completion: "42", Want: 1})
//	}
//
// Run scores the cases, and then asks what any reward must stand: the same answer
// twice, many callers at once, hostile text, a context that has ended, an empty
// group, a group that stays as it was.
package rewardtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Case is a completion and what it must be worth.
type Case struct {
	Name       string
	Prompt     string
	Columns    map[string]any // of the data row
	Completion string
	TokenIDs   []int32
	Finish     grouse.FinishReason // "": stop
	Want       float64
	NoOpinion  bool
	Error      string // a part of the error that must come; "": none
}

// group returns the case as a group of one.
func (c *Case) group() *rewards.Group {
	finish := c.Finish
	if finish == "" {
		finish = grouse.FinishStop
	}
	return rewards.NewGroup(&grouse.Group{
		Prompt:   grouse.Prompt{RowID: "test/0", Text: c.Prompt, Columns: c.Columns},
		Rollouts: []grouse.Rollout{{Text: c.Completion, ResponseIDs: c.TokenIDs, Finish: finish}},
	})
}

// hostile are completions that no reward may choke on.
func hostile() map[string]string {
	return map[string]string{
		"empty": "", "spaces": " \n\t ", "NUL": "a\x00b", "invalid UTF-8": "\xff\xfe\xc3", "one brace": `\boxed{`, "deep braces": strings.Repeat("{", 100000),
		"deep boxes": strings.Repeat(`\boxed{`, 5000), "deep fractions": strings.Repeat(`\frac{1}{`, 5000), "deep parentheses": strings.Repeat("(", 50000) + "1",
		"long number": strings.Repeat("9", 100000), "power tower": `\boxed{9^{9^{9^{9^{9}}}}}`, "huge exponent": `\boxed{10^{1000000000}}`, "factorial": `\boxed{99999999!}`,
		"million words": strings.Repeat("word ", 200000), "open think": "<think>" + strings.Repeat("x ", 1000), "tags": strings.Repeat("<think></think><answer>", 3000),
		"emoji": "👍🏽 é \u202e right to left", "deep JSON": strings.Repeat("[", 50000), "backslashes": strings.Repeat(`\`, 10001), "dollars": strings.Repeat("$", 10001),
	}
}

// maxTime is how long one hostile completion may take, with the race detector on.
const maxTime = 5 * time.Second

// Run checks a reward. The first case that scores the most gives the columns for
// the checks that need any.
func Run(t *testing.T, r rewards.Reward, cases ...Case) {
	t.Helper()
	if len(cases) == 0 {
		t.Fatal("rewardtest: no cases")
	}
	ctx := context.Background()
	best := cases[0]
	for _, c := range cases {
		if c.Error == "" && c.Want > best.Want {
			best = c
		}
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) { runCase(ctx, t, r, c) })
	}
	t.Run("suite/hostile", func(t *testing.T) {
		for name, text := range hostile() {
			c := best
			c.Completion = text
			start := time.Now()
			results, err := rewards.Call(ctx, r, c.group(), time.Minute)
			if took := time.Since(start); took > maxTime {
				t.Errorf("%s: took %v", name, took)
			}
			if err != nil && strings.Contains(err.Error(), "panic") {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil && !results[0].NoOpinion && results[0].Value > best.Want {
				t.Errorf("%s: value %v, above the best case's %v", name, results[0].Value, best.Want)
			}
		}
	})
	t.Run("suite/concurrent", func(t *testing.T) { concurrent(ctx, t, r, best) })
	t.Run("suite/pure", func(t *testing.T) {
		g, again := best.group(), best.group()
		if _, err := r.Judge(ctx, g); err == nil && !reflect.DeepEqual(g, again) {
			t.Error("the reward changed its group")
		}
	})
	t.Run("suite/empty group", func(t *testing.T) {
		g := best.group()
		g.Samples = nil
		if results, err := rewards.Call(ctx, r, g, time.Minute); err != nil || len(results) != 0 {
			t.Errorf("%d results, error %v; want none", len(results), err)
		}
	})
	t.Run("suite/cancelled", func(t *testing.T) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := r.Judge(ended, best.group()); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	})
}

func runCase(ctx context.Context, t *testing.T, r rewards.Reward, c Case) {
	results, err := rewards.Call(ctx, r, c.group(), time.Minute)
	if c.Error != "" {
		if err == nil || !strings.Contains(err.Error(), c.Error) {
			t.Fatalf("error %v, want one with %q", err, c.Error)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got := results[0]
	if got.NoOpinion != c.NoOpinion {
		t.Fatalf("no opinion %v, want %v (%s)", got.NoOpinion, c.NoOpinion, got.Explanation)
	}
	if !c.NoOpinion && math.Abs(got.Value-c.Want) > 1e-9 {
		t.Errorf("value %v, want %v (%s)", got.Value, c.Want, got.Explanation)
	}
	second, err := rewards.Call(ctx, r, c.group(), time.Minute)
	if err != nil || !reflect.DeepEqual(second, results) {
		t.Errorf("second call: %+v, %v; first %+v", second, err, results)
	}
}

func concurrent(ctx context.Context, t *testing.T, r rewards.Reward, c Case) {
	g := c.group()
	var wg sync.WaitGroup
	answers := make([]string, 8)
	for i := range answers {
		wg.Go(func() {
			results, err := r.Judge(ctx, g)
			if err != nil {
				answers[i] = err.Error()
				return
			}
			answers[i] = fmt.Sprint(results[0].Value, results[0].NoOpinion)
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("eight callers at once got %q", answers)
			return
		}
	}
}
