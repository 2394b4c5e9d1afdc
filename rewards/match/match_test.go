package match_test

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/match"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func must(t *testing.T) func(r rewards.Reward, err error) rewards.Reward {
	return func(r rewards.Reward, err error) rewards.Reward {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func row(answer any) map[string]any { return map[string]any{"answer": answer} }

func TestExact(t *testing.T) {
	rewardtest.Run(t, must(t)(match.NewExact(nil)),
		rewardtest.Case{Name: "gold", Columns: row("42"), Completion: "42", Want: 1},
		rewardtest.Case{Name: "space", Columns: row("a b"), Completion: "  a \n b ", Want: 1},
		rewardtest.Case{Name: "after thinking", Columns: row("42"), Completion: "<think>41</think>\n42", Want: 1},
		rewardtest.Case{Name: "only thought", Columns: row("42"), Completion: "<think>42", Want: 0},
		rewardtest.Case{Name: "wrong", Columns: row("42"), Completion: "43", Want: 0},
		rewardtest.Case{Name: "more", Columns: row("42"), Completion: "42 or so", Want: 0},
		rewardtest.Case{Name: "case", Columns: row("Yes"), Completion: "yes", Want: 0},
		rewardtest.Case{Name: "number", Columns: row(7.0), Completion: "7", Want: 1},
		rewardtest.Case{Name: "list", Columns: row([]any{"a", "b"}), Completion: "b", Want: 1},
		rewardtest.Case{Name: "empty", Columns: row("42"), Completion: "", Want: 0},
		rewardtest.Case{Name: "no column", Columns: map[string]any{"gold": "1"}, Completion: "1", Error: `no column "answer"`},
		rewardtest.Case{Name: "empty list", Columns: row([]any{}), Completion: "1", Error: "list"},
	)
	rewardtest.Run(t, must(t)(match.NewExact(map[string]any{"extract": true, "ignore_case": true})),
		rewardtest.Case{Name: "boxed", Columns: row("Paris"), Completion: `It is \boxed{paris}.`, Want: 1},
		rewardtest.Case{Name: "no answer", Columns: row("Paris"), Completion: "I do not know", Want: 0},
	)
}

func TestNumeric(t *testing.T) {
	var cases []rewardtest.Case
	for _, c := range []struct {
		name       string
		gold       any
		completion string
		want       float64
	}{
		{"gold", "42", "#### 42", 1}, {"sentence", "18", "She makes $18 every day.", 1}, {"thousands", "1234567", "The answer is 1,234,567", 1}, {"decimal", "3.50", "3.5", 1},
		{"negative", "-3", "x = -3", 1}, {"fraction", "0.75", "3/4", 1}, {"gsm8k gold", "16 - 3 = 13\n#### 13", "so 13", 1}, {"currency", "36", `\boxed{\$36}`, 1}, {"unit", "18", `\boxed{18 \text{ dollars}}`, 1},
		{"scientific", "1000000", "1e6", 1}, {"percent as written", "10", "10%", 1}, {"percent as a share", "0.1", "10%", 1}, {"wrong", "42", "41", 0}, {"nearly", "0.3333", "1/3", 0}, {"none", "42", "forty-two", 0},
		{"empty", "42", "", 0}, {"unclosed thinking", "42", "<think>it is 42", 0}, {"final, not thought", "42", "<think>41</think> 42", 1}, {"a number", 42.0, "42", 1}, {"minus sign", "-3", "−3", 1},
		{"range is no number", "5", `\boxed{3-5}`, 0}, {"zero denominator", "5", "5/0", 0}, {"long", "5", "5" + string(make([]byte, 0)), 1},
	} {
		cases = append(cases, rewardtest.Case{Name: c.name, Columns: row(c.gold), Completion: c.completion, Want: c.want})
	}
	cases = append(cases, rewardtest.Case{Name: "gold without a number", Columns: row("blue"), Completion: "1", Error: "holds no number"})
	rewardtest.Run(t, must(t)(match.NewNumeric(nil)), cases...)
	rewardtest.Run(t, must(t)(match.NewNumeric(map[string]any{"tolerance": 0.01})),
		rewardtest.Case{Name: "near", Columns: row("0.333"), Completion: "1/3", Want: 1}, rewardtest.Case{Name: "far", Columns: row("0.3"), Completion: "1/3", Want: 0})
	rewardtest.Run(t, must(t)(match.NewNumeric(map[string]any{"relative": 0.01})),
		rewardtest.Case{Name: "near", Columns: row("1000"), Completion: "1009", Want: 1}, rewardtest.Case{Name: "far", Columns: row("1000"), Completion: "1011", Want: 0})
}

func TestChoice(t *testing.T) {
	with := func(answer string) map[string]any {
		return map[string]any{"answer": answer, "options": []any{"red", "green", "blue"}}
	}
	rewardtest.Run(t, must(t)(match.NewChoice(map[string]any{"choices": "options"})),
		rewardtest.Case{Name: "gold", Columns: with("B"), Completion: "B", Want: 1},
		rewardtest.Case{Name: "parentheses", Columns: with("(b)"), Completion: "(B)", Want: 1},
		rewardtest.Case{Name: "boxed", Columns: with("B"), Completion: `\boxed{\text{B}}`, Want: 1},
		rewardtest.Case{Name: "sentence", Columns: with("B"), Completion: "The answer is B.", Want: 1},
		rewardtest.Case{Name: "sentence, bold", Columns: with("B"), Completion: "Answer: **B) green**", Want: 1},
		rewardtest.Case{Name: "last one counts", Columns: with("C"), Completion: "A is tempting, but B is wrong too, so C", Want: 1},
		rewardtest.Case{Name: "first after the mark", Columns: with("C"), Completion: "The answer is C, because A fails", Want: 1},
		rewardtest.Case{Name: "an article is no choice", Columns: with("A"), Completion: "a nice day", Want: 0},
		rewardtest.Case{Name: "by text", Columns: with("B"), Completion: "green", Want: 1},
		rewardtest.Case{Name: "wrong", Columns: with("B"), Completion: "C", Want: 0},
		rewardtest.Case{Name: "empty", Columns: with("B"), Completion: "", Want: 0},
		rewardtest.Case{Name: "gold is no letter", Columns: with("green"), Completion: "B", Error: "no letter"},
	)
}

func TestRegex(t *testing.T) {
	rewardtest.Run(t, must(t)(match.NewRegex(map[string]any{"pattern": `^\s*\d+\s*$`})),
		rewardtest.Case{Name: "match", Completion: " 12 ", Want: 1}, rewardtest.Case{Name: "none", Completion: "12a", Want: 0}, rewardtest.Case{Name: "not in thinking", Completion: "<think>1</think>x", Want: 0})
	rewardtest.Run(t, must(t)(match.NewRegex(map[string]any{"pattern": "sorry", "absent": true, "whole": true})),
		rewardtest.Case{Name: "absent", Completion: "fine", Want: 1}, rewardtest.Case{Name: "present in thinking", Completion: "<think>sorry</think>x", Want: 0})
	rewardtest.Run(t, must(t)(match.NewRegex(map[string]any{"column": "re"})),
		rewardtest.Case{Name: "row's own", Columns: map[string]any{"re": "a+b"}, Completion: "aab", Want: 1},
		rewardtest.Case{Name: "broken row", Columns: map[string]any{"re": "("}, Completion: "x", Error: "missing closing"})
}

func TestBadParameters(t *testing.T) {
	for name, f := range map[string]func() (rewards.Reward, error){
		"regex without a pattern": func() (rewards.Reward, error) { return match.NewRegex(nil) },
		"regex with both":         func() (rewards.Reward, error) { return match.NewRegex(map[string]any{"pattern": "a", "column": "b"}) },
		"look-around":             func() (rewards.Reward, error) { return match.NewRegex(map[string]any{"pattern": "(?=a)"}) },
		"unknown key":             func() (rewards.Reward, error) { return match.NewExact(map[string]any{"colum": "b"}) },
		"negative tolerance":      func() (rewards.Reward, error) { return match.NewNumeric(map[string]any{"tolerance": -1}) },
		"small letters":           func() (rewards.Reward, error) { return match.NewChoice(map[string]any{"letters": "abc"}) },
	} {
		if _, err := f(); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%s: error %v (fix %q), want invalid with a fix", name, err, grouse.FixOf(err))
		}
	}
}
