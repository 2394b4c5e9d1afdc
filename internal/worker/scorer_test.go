package worker

import (
	"context"
	"reflect"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/rewards/builtin"
)

func TestScoreRoutes(t *testing.T) {
	s := &scorer{registry: builtin.Registry()}
	domain := func(name string, rewards ...grouse.RewardSpec) grouse.Domain {
		return grouse.Domain{Name: name, Rewards: rewards}
	}
	got, err := s.ScoreRoutes(context.Background(), []grouse.Domain{
		domain("pure", grouse.RewardSpec{Use: "math"}, grouse.RewardSpec{Use: "format"}),
		domain("own", grouse.RewardSpec{Use: "math"}, grouse.RewardSpec{Use: "python", Deadline: 3, Retries: 1}), // a group's 3 s are not the shard's
		domain("slow", grouse.RewardSpec{Use: "http", Deadline: 600}),
	})
	want := []activities.ScoreRoute{{Local: true, Domains: []string{"pure"}}, {Queue: activities.RewardQueue, Domains: []string{"own", "slow"}, DeadlineS: 60000}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("routes %+v, %v; want %+v", got, err, want)
	}
	if _, err := s.ScoreRoutes(context.Background(), []grouse.Domain{domain("x", grouse.RewardSpec{Use: "no_such"})}); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("an unknown reward: %v", err)
	}
}

func TestRebase(t *testing.T) {
	for _, c := range []struct{ given, want map[string]any }{
		{map[string]any{"file": "r.py", "function": "f"}, map[string]any{"file": "/base/r.py", "function": "f"}},
		{map[string]any{"file": "/abs/r.py"}, map[string]any{"file": "/abs/r.py"}},
		{map[string]any{"command": []any{"./judge", "./a"}}, map[string]any{"command": []any{"/base/judge", "./a"}, "dir": "/base"}},
		{map[string]any{"command": []any{"python3", "j.py"}, "dir": "d"}, map[string]any{"command": []any{"python3", "j.py"}, "dir": "/base/d"}},
		{map[string]any{"python": "python3"}, map[string]any{"python": "python3"}},
		{map[string]any{"python": ".venv/bin/python"}, map[string]any{"python": "/base/.venv/bin/python"}},
	} {
		if got := rebase(c.given, "/base"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("rebase(%v) = %v, want %v", c.given, got, c.want)
		}
	}
}
