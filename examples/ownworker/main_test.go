package main

import (
	"context"
	"strings"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func TestWordLimit(t *testing.T) {
	rewardtest.Run(t, WordLimit(2),
		rewardtest.Case{Name: "short", Completion: "two words", Want: 1},
		rewardtest.Case{Name: "a bit long", Completion: "now three words", Want: 0.5},
		rewardtest.Case{Name: "thinking is free", Completion: "<think>on and on and on</think> yes", Want: 1},
		rewardtest.Case{Name: "far too long", Completion: strings.Repeat("word ", 9), Want: 0})
}

// The activity answers what the run's side of the reward reads.
func TestActivity(t *testing.T) {
	var s testsuite.WorkflowTestSuite
	env := s.NewTestActivityEnvironment()
	judge := func(ctx context.Context, group jsonapi.Request) (jsonapi.Answer, error) {
		return jsonapi.Serve(ctx, WordLimit(2), group), nil
	}
	env.RegisterActivityWithOptions(judge, activity.RegisterOptions{Name: "judge"})
	value, err := env.ExecuteActivity(judge, jsonapi.NewRequest(rewards.NewTextGroup(grouse.Prompt{RowID: "r/0"}, "two words", "now three words")))
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := value.Get(&raw); err != nil || len(raw["scores"].([]any)) != 2 {
		t.Errorf("the activity answered %v, %v", raw, err)
	}
}
