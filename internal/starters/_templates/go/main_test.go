package main

import (
	"testing"

	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func TestReward(t *testing.T) {
	row := map[string]any{"answer": "4"}
	rewardtest.Run(t, Reward,
		rewardtest.Case{Name: "gold", Columns: row, Completion: "so 4", Want: 1},
		rewardtest.Case{Name: "wrong", Columns: row, Completion: "so 5", Want: 0},
		rewardtest.Case{Name: "nothing", Columns: row, Completion: "", Want: 0},
		rewardtest.Case{Name: "no column", Columns: map[string]any{}, Completion: "4", Error: `no column "answer"`})
}
