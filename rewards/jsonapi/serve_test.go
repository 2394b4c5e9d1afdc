package jsonapi_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
)

// What is sent and answered comes out as if the reward had been called here.
func TestServe(t *testing.T) {
	yes := true
	reward := rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		switch s.Answer {
		case "none":
			return rewards.Result{NoOpinion: true}, nil
		case "why not":
			return rewards.Result{NoOpinion: true, Explanation: "no reference"}, nil
		case "busy":
			return rewards.Result{}, rewards.TryAgain(errors.New("busy"))
		case "panic":
			panic("oh")
		}
		return rewards.Result{Value: 0.5, Correct: &yes, Numbers: map[string]float64{"tokens": float64(s.Tokens())}, Explanation: s.Thinking}, nil
	})
	group := rewards.NewGroup(&grouse.Group{Prompt: grouse.Prompt{RowID: "r/1", Text: "2+2", Columns: map[string]any{"answer": "4"}},
		Rollouts: []grouse.Rollout{{Text: "<think>hm</think>4", ResponseIDs: []int32{1, 2}, Finish: grouse.FinishStop}, {Text: "none"}, {Text: "why not"}}})
	serve := func(g *rewards.Group) ([]rewards.Result, error) {
		line, err := jsonapi.Encode(g)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := jsonapi.ServeLine(context.Background(), reward, line)
		if err != nil {
			t.Fatal(err)
		}
		return jsonapi.Decode(answer, len(g.Samples))
	}
	want, err := reward.Judge(context.Background(), group)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := serve(group); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("served %+v, %v; here %+v", got, err, want)
	}
	if _, err := serve(rewards.NewTextGroup(grouse.Prompt{}, "busy")); !rewards.Retryable(err) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a busy reward: %v", err)
	}
	if _, err := serve(rewards.NewTextGroup(grouse.Prompt{}, "panic")); rewards.OutcomeOf(err) != grouse.Errored || !strings.Contains(err.Error(), "oh") {
		t.Errorf("a reward that panics: %v", err)
	}
	answer, err := jsonapi.ServeLine(context.Background(), reward, []byte("{"))
	if err != nil || !strings.Contains(string(answer), "no JSON") {
		t.Errorf("no JSON: %s, %v", answer, err)
	}
}
