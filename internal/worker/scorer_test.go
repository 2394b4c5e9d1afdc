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
	for _, c := range []struct {
		use         string
		given, want map[string]any
	}{
		{"python", map[string]any{"file": "r.py", "function": "f"}, map[string]any{"file": "/base/r.py", "function": "f"}},
		{"python", map[string]any{"file": "/abs/r.py", "python": "python3"}, map[string]any{"file": "/abs/r.py", "python": "python3"}},
		{"python", map[string]any{"python": ".venv/bin/python"}, map[string]any{"python": "/base/.venv/bin/python"}},
		{"exec", map[string]any{"command": []any{"./judge", "./a"}}, map[string]any{"command": []any{"/base/judge", "./a"}, "dir": "/base"}},
		{"exec", map[string]any{"command": []any{"python3", "j.py"}, "dir": "d"}, map[string]any{"command": []any{"python3", "j.py"}, "dir": "/base/d"}},
		{"wasm", map[string]any{"file": "r.wasm"}, map[string]any{"file": "/base/r.wasm"}},
		{"code", map[string]any{"command": []any{"node", "main.js"}, "file": "main.js"}, map[string]any{"command": []any{"node", "main.js"}, "file": "main.js"}}, // in the sandbox
		{"math", nil, nil},
	} {
		if got := rebase(c.use, c.given, "/base"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("rebase(%s, %v) = %v, want %v", c.use, c.given, got, c.want)
		}
	}
}
