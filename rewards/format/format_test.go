package format_test

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards/format"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func run(t *testing.T, params map[string]any, cases ...rewardtest.Case) {
	t.Helper()
	r, err := format.New(params)
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r, cases...)
}

func TestThinkAnswer(t *testing.T) {
	run(t, nil,
		rewardtest.Case{Name: "gold", Completion: "<think>a</think> <answer>b</answer>", Want: 1},
		rewardtest.Case{Name: "lines", Completion: "<think>\na\n</think>\n\n<answer>\nb\n</answer>\n", Want: 1},
		rewardtest.Case{Name: "template opened it", Prompt: "Q <think>\n", Completion: "a</think><answer>b</answer>", Want: 1},
		rewardtest.Case{Name: "nobody opened it", Completion: "a</think><answer>b</answer>"},
		rewardtest.Case{Name: "no think", Completion: "<answer>b</answer>"},
		rewardtest.Case{Name: "no answer", Completion: "<think>a</think> b"},
		rewardtest.Case{Name: "text before", Completion: "Well, <think>a</think><answer>b</answer>"},
		rewardtest.Case{Name: "text between", Completion: "<think>a</think> so <answer>b</answer>"},
		rewardtest.Case{Name: "text after", Completion: "<think>a</think><answer>b</answer> done"},
		rewardtest.Case{Name: "twice", Completion: "<think>a</think><answer>b</answer><answer>c</answer>"},
		rewardtest.Case{Name: "nested", Completion: "<think>a<think>b</think></think><answer>c</answer>"},
		rewardtest.Case{Name: "answer inside thinking", Completion: "<think><answer>b</answer></think>"},
		rewardtest.Case{Name: "unclosed", Completion: "<think>a"},
		rewardtest.Case{Name: "empty parts", Completion: "<think></think><answer></answer>"},
		rewardtest.Case{Name: "empty", Completion: ""},
	)
}

func TestOtherStyles(t *testing.T) {
	run(t, map[string]any{"style": "think"},
		rewardtest.Case{Name: "gold", Completion: "<think>a</think> b", Want: 1}, rewardtest.Case{Name: "no answer", Completion: "<think>a</think> "},
		rewardtest.Case{Name: "twice", Completion: "<think>a</think>b</think>c"}, rewardtest.Case{Name: "plain", Completion: "b"})
	run(t, map[string]any{"style": "answer"},
		rewardtest.Case{Name: "gold", Completion: "so <answer>b</answer>.", Want: 1}, rewardtest.Case{Name: "blank", Completion: "<answer> </answer>"})
	run(t, map[string]any{"style": "boxed"},
		rewardtest.Case{Name: "gold", Completion: `so \boxed{4}`, Want: 1}, rewardtest.Case{Name: "empty", Completion: `\boxed{}`}, rewardtest.Case{Name: "in thinking", Completion: `<think>\boxed{4}</think>4`})
	run(t, map[string]any{"pattern": `\[\d+\]`},
		rewardtest.Case{Name: "gold", Completion: "[12]", Want: 1}, rewardtest.Case{Name: "part", Completion: "see [12]"})
}

func TestBadParameters(t *testing.T) {
	for _, p := range []map[string]any{{"style": "xml"}, {"pattern": "("}, {"style": "think", "pattern": "a"}, {"patern": "a"}} {
		if _, err := format.New(p); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%v: error %v (fix %q), want invalid with a fix", p, err, grouse.FixOf(err))
		}
	}
}
