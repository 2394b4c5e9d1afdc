package rewards_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

func group(completions ...string) *rewards.Group {
	return rewards.NewTextGroup(grouse.Prompt{RowID: "d/1", Columns: map[string]any{"answer": "4", "n": 3.0, "tests": []any{"x"}}}, completions...)
}

func value(v float64) rewards.Func {
	return func(context.Context, rewards.Sample) (float64, error) { return v, nil }
}

func TestSplitThinking(t *testing.T) {
	for _, c := range []struct {
		prompt, text, thinking, answer string
		thought                        rewards.Thought
	}{
		{"", "plain", "", "plain", rewards.NoThought},
		{"", "<think>a</think>b", "a", "b", rewards.ClosedThought},
		{"", "a</think>b", "a", "b", rewards.ClosedThought},
		{"q <think>\n", "a</think>b", "a", "b", rewards.ClosedThought},
		{"q <think>\n", "a", "a", "", rewards.UnclosedThought},
		{"", "<think>a", "a", "", rewards.UnclosedThought},
		{"", "<think>a</think>b</think>c", "a</think>b", "c", rewards.ClosedThought},
		{"", "", "", "", rewards.NoThought},
	} {
		thinking, answer, thought := rewards.SplitThinking(c.prompt, c.text)
		if thinking != c.thinking || answer != c.answer || thought != c.thought {
			t.Errorf("%q after %q: %q, %q, %v; want %q, %q, %v", c.text, c.prompt, thinking, answer, thought, c.thinking, c.answer, c.thought)
		}
	}
}

func TestCallSaysWhatHappened(t *testing.T) {
	results := func(rs ...rewards.Result) rewards.Reward {
		return judge(func() ([]rewards.Result, error) { return rs, nil })
	}
	for _, c := range []struct {
		name    string
		reward  rewards.Reward
		outcome grouse.Outcome
		says    string
	}{
		{"panic", rewards.Func(func(context.Context, rewards.Sample) (float64, error) { panic("boom") }), grouse.Errored, "boom"},
		{"hang that heeds its context", rewards.Func(func(ctx context.Context, _ rewards.Sample) (float64, error) { <-ctx.Done(); return 0, ctx.Err() }), grouse.TimedOut, "no answer within"},
		{"hang that does not", judge(func() ([]rewards.Result, error) { time.Sleep(time.Second); return nil, nil }), grouse.TimedOut, "no answer within"},
		{"NaN", value(math.NaN()), grouse.BadOutput, "NaN"},
		{"infinite", value(math.Inf(1)), grouse.BadOutput, "Inf"},
		{"too few", results(rewards.Result{}), grouse.BadOutput, "1 results for 2 completions"},
		{"none", results(), grouse.BadOutput, "0 results"},
		{"a number that is none", results(rewards.Result{Numbers: map[string]float64{"x": math.NaN()}}, rewards.Result{}), grouse.BadOutput, `"x"`},
		{"memory", judge(func() ([]rewards.Result, error) { return nil, rewards.Failf(grouse.OOM, "512 MB") }), grouse.OOM, "512 MB"},
		{"error", judge(func() ([]rewards.Result, error) { return nil, errors.New("no such row") }), grouse.Errored, "no such row"},
		{"error of a sample", rewards.Func(func(_ context.Context, s rewards.Sample) (float64, error) {
			if s.Index == 1 {
				return 0, rewards.Failf(grouse.OOM, "big")
			}
			return 1, nil
		}), grouse.OOM, "sample 1"},
		{"fine", value(0.5), grouse.Scored, ""},
		{"NaN without an opinion", results(rewards.Result{NoOpinion: true, Value: math.NaN()}, rewards.Result{}), grouse.Scored, ""},
	} {
		start := time.Now()
		got, err := rewards.Call(context.Background(), c.reward, group("a", "b"), 50*time.Millisecond)
		if rewards.OutcomeOf(err) != c.outcome || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, error %v (%s); want %s with %q", c.name, got, err, rewards.OutcomeOf(err), c.outcome, c.says)
		}
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("%s: took %v", c.name, took)
		}
	}
}

type judge func() ([]rewards.Result, error)

func (j judge) Judge(context.Context, *rewards.Group) ([]rewards.Result, error) { return j() }

func TestComposite(t *testing.T) {
	yes := true
	for _, c := range []struct {
		name  string
		parts []rewards.Part
		want  *float64
	}{
		{"weights", []rewards.Part{{Name: "a", Reward: value(1), Weight: 1}, {Name: "b", Reward: value(0.5), Weight: 0.2}}, ptr(1.1)},
		{"clip before the weight", []rewards.Part{{Name: "a", Reward: value(9), Weight: 2, Clip: &[2]float64{-1, 1}}}, ptr(2)},
		{"closed gate", []rewards.Part{{Name: "a", Reward: value(1), Weight: 1}, {Name: "g", Reward: value(0), Weight: 1, Gate: true}}, ptr(0)},
		{"closed gate hides a penalty too", []rewards.Part{{Name: "a", Reward: value(-1), Weight: 1}, {Name: "g", Reward: value(0), Gate: true}}, ptr(0)},
		{"open gate of weight 0", []rewards.Part{{Name: "a", Reward: value(1), Weight: 1}, {Name: "g", Reward: value(1), Gate: true}}, ptr(1)},
		{"no opinion is left out", []rewards.Part{{Name: "a", Reward: value(1), Weight: 1}, {Name: "n", Reward: silent, Weight: 5}}, ptr(1)},
		{"no opinion at all", []rewards.Part{{Name: "n", Reward: silent, Weight: 5}}, nil},
		{"a gate without an opinion is open", []rewards.Part{{Name: "a", Reward: value(1), Weight: 1}, {Name: "n", Reward: silent, Gate: true}}, ptr(1)},
	} {
		comp := rewards.Composite{Parts: c.parts}
		if err := comp.Validate(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, s := range comp.Score(context.Background(), group("x", "y")) {
			if s.Outcome != grouse.Scored || (s.Reward == nil) != (c.want == nil) || s.Reward != nil && math.Abs(*s.Reward-*c.want) > 1e-15 {
				t.Errorf("%s: %+v", c.name, s)
			}
		}
	}
	comp := rewards.Composite{Parts: []rewards.Part{{Name: "m", Weight: 2, Reward: rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		return rewards.Result{Value: 1, Correct: &yes, Numbers: map[string]float64{"len": 3}, Explanation: "4 = 4"}, nil
	})}}}
	s := comp.Score(context.Background(), group("x"))[0]
	if *s.Reward != 2 || s.Parts["m"] != 1 || s.Parts["m/len"] != 3 || s.Correct == nil || !*s.Correct || s.Explanation != "m: 4 = 4" {
		t.Errorf("score %+v", s)
	}
}

var silent = rewards.Each(func(context.Context, rewards.Sample) (rewards.Result, error) {
	return rewards.Result{NoOpinion: true}, nil
})

func ptr(v float64) *float64 { return &v }

func TestAFailedPartFailsTheGroup(t *testing.T) {
	comp := rewards.Composite{Parts: []rewards.Part{
		{Name: "ok", Reward: value(1), Weight: 1},
		{Name: "bad", Reward: value(math.NaN()), Weight: 1},
	}}
	for i, s := range comp.Score(context.Background(), group("x", "y")) {
		if s.Outcome != grouse.BadOutput || s.Reward != nil || !strings.HasPrefix(s.Failure, "bad: ") || int(s.Sample) != i {
			t.Errorf("score %d: %+v", i, s)
		}
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name      string
		fail      int
		retryable bool
		retries   int
		ok        bool
	}{{"passes the second time", 1, true, 1, true}, {"retries spent", 2, true, 1, false}, {"not retryable", 1, false, 5, false}} {
		calls := 0
		comp := rewards.Composite{Parts: []rewards.Part{{Name: "r", Weight: 1, Retries: c.retries, Reward: judge(func() ([]rewards.Result, error) {
			if calls++; calls <= c.fail {
				if c.retryable {
					return nil, rewards.TryAgain(errors.New("busy"))
				}
				return nil, rewards.Fail(errors.New("bad row"))
			}
			return []rewards.Result{{Value: 1}}, nil
		})}}}
		s := comp.Score(context.Background(), group("x"))[0]
		if (s.Outcome == grouse.Scored) != c.ok {
			t.Errorf("%s: %+v after %d calls", c.name, s, calls)
		}
	}
}

func TestColumns(t *testing.T) {
	s := group("x").Samples[0]
	for name, want := range map[string]string{"answer": "4", "n": "3"} {
		if got, err := s.Text(name); err != nil || got != want {
			t.Errorf("Text(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"gold", "tests"} {
		_, err := s.Text(name)
		if err == nil || !strings.Contains(err.Error(), "d/1") || !strings.Contains(err.Error(), name) || grouse.FixOf(err) == "" || grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("Text(%q): error %v (fix %q), want invalid, naming row and column, with a fix", name, err, grouse.FixOf(err))
		}
	}
}

func TestRegistry(t *testing.T) {
	var r rewards.Registry
	type options struct {
		Limit int `json:"limit"`
	}
	entry := rewards.Entry{Name: "words", Deadline: time.Second, New: func(params map[string]any) (rewards.Reward, error) {
		o := options{Limit: 3}
		if err := rewards.Decode(params, &o); err != nil {
			return nil, err
		}
		return value(float64(o.Limit)), nil
	}}
	if err := r.Add(entry); err != nil {
		t.Fatal(err)
	}
	if r.Add(entry) == nil || r.Add(rewards.Entry{Name: "x"}) == nil {
		t.Error("a second reward of the name, or one without a constructor, was accepted")
	}
	comp, err := r.Compose([]grouse.RewardSpec{{Use: "words", Weight: 1}, {Use: "words", Name: "more", Weight: 1, Params: map[string]any{"limit": 5}, Deadline: 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	if s := comp.Score(context.Background(), group("x"))[0]; *s.Reward != 8 || s.Parts["words"] != 3 || s.Parts["more"] != 5 {
		t.Errorf("score %+v", s)
	}
	if comp.Parts[0].Deadline != time.Second || comp.Parts[1].Deadline != 250*time.Millisecond {
		t.Errorf("deadlines %v, %v", comp.Parts[0].Deadline, comp.Parts[1].Deadline)
	}
	for name, specs := range map[string][]grouse.RewardSpec{
		`unknown reward "word"`:  {{Use: "word"}},
		`unknown field "limits"`: {{Use: "words", Params: map[string]any{"limits": 5}}},
		`options.limit`:          {{Use: "words", Params: map[string]any{"limit": "five"}}},
		`two rewards are named`:  {{Use: "words"}, {Use: "words"}},
		"without rewards":        nil,
	} {
		_, err := r.Compose(specs)
		if err == nil || !strings.Contains(err.Error(), name) || grouse.FixOf(err) == "" {
			t.Errorf("want an error with %q and a fix, got %v (fix %q)", name, err, grouse.FixOf(err))
		}
	}
}

// The page of the cookbook: a reward is a function of one completion.
func ExampleFunc() {
	limit := func(n int) rewards.Func {
		return func(_ context.Context, s rewards.Sample) (float64, error) {
			if len(strings.Fields(s.Completion)) > n {
				return 0, nil
			}
			return 1, nil
		}
	}
	g := rewards.NewTextGroup(grouse.Prompt{}, "two words", "now there are four")
	results, err := limit(3).Judge(context.Background(), g)
	fmt.Println(results[0].Value, results[1].Value, err)
	// Output: 1 0 <nil>
}
