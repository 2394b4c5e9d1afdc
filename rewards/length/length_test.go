package length_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/length"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func ids(n int) []int32 { return make([]int32, n) }

func TestSoftOverlong(t *testing.T) {
	for _, c := range []struct {
		n, max, cache int
		want          float64
	}{{0, 10, 4, 0}, {6, 10, 4, 0}, {7, 10, 4, -0.25}, {10, 10, 4, -1}, {11, 10, 4, -1}, {10, 10, 0, 0}, {11, 10, 0, -1}, {5, 10, 10, -0.5}} {
		if got := length.SoftOverlong(c.n, c.max, c.cache); got != c.want {
			t.Errorf("SoftOverlong(%d, %d, %d) = %v, want %v", c.n, c.max, c.cache, got, c.want)
		}
	}
}

func TestOverlongReward(t *testing.T) {
	r, err := length.NewOverlong(map[string]any{"max": 10, "cache": 4})
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "short", Completion: "a", TokenIDs: ids(3), Want: 0},
		rewardtest.Case{Name: "slope", Completion: "a", TokenIDs: ids(8), Want: -0.5},
		rewardtest.Case{Name: "over", Completion: "a", TokenIDs: ids(40), Want: -1},
		rewardtest.Case{Name: "tokens unknown", Completion: "a", Error: "tokens are not known"})
}

// long is correct if it says so.
func correct(string, map[string]any) (rewards.Reward, error) {
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		return rewards.Verdict(strings.Contains(s.Completion, "right"), ""), nil
	}), nil
}

func TestKimiComparesWithinTheGroup(t *testing.T) {
	r, err := length.NewPenalty(map[string]any{"style": "kimi", "judge": "x"}, correct)
	if err != nil {
		t.Fatal(err)
	}
	g := &grouse.Group{}
	for i, n := range []int{2, 4, 6, 2} {
		g.Rollouts = append(g.Rollouts, grouse.Rollout{Text: []string{"right", "right", "right", "wrong"}[i], ResponseIDs: ids(n)})
	}
	got, err := r.Judge(context.Background(), rewards.NewGroup(g))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0.5, 0, -0.5, 0} {
		if math.Abs(got[i].Value-want) > 1e-15 {
			t.Errorf("completion %d: %v, want %v", i, got[i].Value, want)
		}
	}
	rewardtest.Run(t, r, rewardtest.Case{Name: "alone", Completion: "right", TokenIDs: ids(3), Want: 0})
}

func TestLinear(t *testing.T) {
	r, err := length.NewPenalty(map[string]any{"style": "linear", "max": 10}, correct)
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r, rewardtest.Case{Name: "none", Completion: "", Want: 0}, rewardtest.Case{Name: "half", Completion: "a", TokenIDs: ids(5), Want: -0.5}, rewardtest.Case{Name: "over", Completion: "a", TokenIDs: ids(50), Want: -1})
}

func TestBadParameters(t *testing.T) {
	for _, p := range []map[string]any{{}, {"max": 10, "cache": 11}, {"max": 10, "cash": 1}} {
		if _, err := length.NewOverlong(p); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("soft_overlong %v: error %v (fix %q)", p, err, grouse.FixOf(err))
		}
	}
	for _, p := range []map[string]any{{}, {"style": "kimi"}, {"style": "square", "max": 3}, {"style": "linear"}, {"max": 3, "judge": "math"}} {
		if _, err := length.NewPenalty(p, correct); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("length_penalty %v: error %v (fix %q)", p, err, grouse.FixOf(err))
		}
	}
}
