package math_test

import (
	"testing"

	"github.com/grouse-rl/grouse/rewards/math"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func TestReward(t *testing.T) {
	r, err := math.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	gold := func(v any) map[string]any { return map[string]any{"answer": v} }
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "gold", Columns: gold(`\frac{1}{2}`), Completion: `Thus \boxed{\frac{1}{2}}.`, Want: 1},
		rewardtest.Case{Name: "another notation", Columns: gold(`\frac{1}{2}`), Completion: "The answer is $0.5$.", Want: 1},
		rewardtest.Case{Name: "gsm8k", Columns: gold("5 + 13 = 18\n#### 18"), Completion: "She makes $18 every day.\n#### 18", Want: 1},
		rewardtest.Case{Name: "reference is a solution", Columns: gold(`so \boxed{7}`), Completion: "7", Want: 1},
		rewardtest.Case{Name: "a number", Columns: gold(18.0), Completion: "18", Want: 1},
		rewardtest.Case{Name: "one of several", Columns: gold([]any{"1", "2"}), Completion: `\boxed{2}`, Want: 1},
		rewardtest.Case{Name: "thought one, answered another", Columns: gold("4"), Completion: `<think>\boxed{4}</think> The answer is 5.`, Want: 0},
		rewardtest.Case{Name: "answered after thinking", Columns: gold("5"), Completion: `<think>\boxed{4}</think> The answer is 5.`, Want: 1},
		rewardtest.Case{Name: "does not know", Columns: gold("4"), Completion: "I do not know. 4", Want: 0},
		rewardtest.Case{Name: "last box", Columns: gold("4"), Completion: `\boxed{4} \boxed{5}`, Want: 0},
		rewardtest.Case{Name: "both answers at once", Columns: gold("4"), Completion: `\boxed{4, 5}`, Want: 0},
		rewardtest.Case{Name: "nothing", Columns: gold("4"), Completion: "", Want: 0},
		rewardtest.Case{Name: "base left out", Columns: gold("13_8"), Completion: `\boxed{13}`, Want: 0},
		rewardtest.Case{Name: "empty reference", Columns: gold(""), Completion: "4", Error: "no reference answer"},
		rewardtest.Case{Name: "no reference", Columns: map[string]any{}, Completion: "4", Error: `no column "answer"`})
}
