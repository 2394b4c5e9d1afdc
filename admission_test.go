package grouse_test

import (
	"fmt"
	"math"
	"math/rand"
	"reflect"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
)

// scored returns a valid group of one-token completions with these rewards.
func scored(candidate uint32, rewards ...float64) *grouse.ScoredGroup {
	g := &grouse.ScoredGroup{Group: grouse.Group{Candidate: candidate, Prompt: grouse.Prompt{RowID: fmt.Sprint("d/", candidate), TokenIDs: []int32{1}}}}
	for i, r := range rewards {
		g.Group.Rollouts = append(g.Group.Rollouts, grouse.Rollout{
			Sample: uint16(i), ResponseIDs: []int32{2}, Logprobs: []float32{-1}, PolicyVersion: []int64{5}, Finish: grouse.FinishStop,
		})
		g.Scores = append(g.Scores, grouse.Score{Sample: uint16(i), Reward: &r, Outcome: grouse.Scored})
	}
	return g
}

func withCorrect(g *grouse.ScoredGroup, correct ...bool) *grouse.ScoredGroup {
	for i, c := range correct {
		g.Scores[i].Correct = &c
	}
	return g
}

func edit(g *grouse.ScoredGroup, f func(g *grouse.ScoredGroup)) *grouse.ScoredGroup {
	f(g)
	return g
}

func TestFlat(t *testing.T) {
	for _, c := range []struct {
		rewards []float64
		want    bool
	}{
		{nil, true}, {[]float64{3}, true}, {[]float64{0.1, 0.1, 0.1}, true}, {[]float64{1, 0}, false},
		{[]float64{0, 1e-9}, true}, {[]float64{0, 1.1e-9}, false}, {[]float64{0.1 + 0.2, 0.3}, true},
	} {
		if got := grouse.Flat(c.rewards); got != c.want {
			t.Errorf("Flat(%v) = %v, want %v", c.rewards, got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	total := grouse.AdmissionRules{NumGenerations: 2, Vocab: 10, Filter: grouse.FilterTotal, OldestVersion: 5}
	outcome, none, masked := total, total, total
	outcome.Filter, none.Filter, masked.MaskTruncated = grouse.FilterOutcome, grouse.FilterNone, true
	cut := func(n int) func(*grouse.ScoredGroup) {
		return func(g *grouse.ScoredGroup) {
			for i := range n {
				g.Group.Rollouts[i].Finish = grouse.FinishLength
			}
		}
	}
	sparse := total
	sparse.Routing = grouse.RoutingShape{Experts: 4, Layers: 1, K: 2}
	routed := func(layers, k int, experts ...int16) *grouse.ScoredGroup {
		return edit(scored(0, 1, 0), func(g *grouse.ScoredGroup) {
			r := &g.Group.Rollouts[1]
			for range len(g.Group.Prompt.TokenIDs) + len(r.ResponseIDs) - 1 {
				r.Routing.Experts = append(r.Routing.Experts, experts...)
			}
			r.Routing.Layers, r.Routing.K = layers, k
		})
	}
	for _, c := range []struct {
		name   string
		group  *grouse.ScoredGroup
		rules  grouse.AdmissionRules
		state  grouse.GroupState
		reason grouse.Reason
		solve  float64
	}{
		{"spread", scored(0, 1, 0), total, grouse.GroupScored, "", 0.5},
		{"all wrong", scored(0, 0, 0), total, grouse.GroupFiltered, grouse.ReasonFlatZero, 0},
		{"all right", scored(0, 1, 1), total, grouse.GroupFiltered, grouse.ReasonFlatMax, 1},
		{"flat in between", scored(0, 0.1, 0.1), total, grouse.GroupFiltered, grouse.ReasonFlat, 1},
		{"flat, wrong by verdict", withCorrect(scored(0, 0.1, 0.1), false, false), total, grouse.GroupFiltered, grouse.ReasonFlatZero, 0},
		{"flat, right by verdict", withCorrect(scored(0, 2, 2), true, true), total, grouse.GroupFiltered, grouse.ReasonFlatMax, 1},
		{"flat, no filter", scored(0, 0, 0), none, grouse.GroupScored, "", 0},
		{"spread by length, all right", withCorrect(scored(0, 1, 0.9), true, true), outcome, grouse.GroupFiltered, grouse.ReasonFlatMax, 1},
		{"spread by length, all wrong", withCorrect(scored(0, 0, -0.5), false, false), outcome, grouse.GroupFiltered, grouse.ReasonFlatZero, 0},
		{"flat total, one right", withCorrect(scored(0, 1, 1), true, false), outcome, grouse.GroupScored, "", 0.5},
		{"outcome without a verdict", scored(0, 1, 0), outcome, grouse.GroupFailed, grouse.ReasonReward, 0},
		{"a reward failed", edit(scored(0, 1, 0), func(g *grouse.ScoredGroup) { g.Scores[1].Outcome, g.Scores[1].Failure = grouse.TimedOut, "5 s" }),
			total, grouse.GroupFailed, grouse.ReasonReward, 0},
		{"no opinion", edit(scored(0, 1, 0), func(g *grouse.ScoredGroup) { g.Scores[0].Reward = nil }), total, grouse.GroupFailed, grouse.ReasonReward, 0},
		{"NaN", scored(0, 1, math.NaN()), total, grouse.GroupFailed, grouse.ReasonReward, 0},
		{"a score is missing", edit(scored(0, 1, 0), func(g *grouse.ScoredGroup) { g.Scores = g.Scores[:1] }), total, grouse.GroupFailed, grouse.ReasonReward, 0},
		{"stale", edit(scored(0, 1, 0), func(g *grouse.ScoredGroup) { g.Group.Rollouts[1].PolicyVersion[0] = 4 }), total, grouse.GroupFiltered, grouse.ReasonStale, 0.5},
		{"positive logprob", edit(scored(0, 1, 0), func(g *grouse.ScoredGroup) { g.Group.Rollouts[1].Logprobs[0] = 0.1 }), total, grouse.GroupFiltered, grouse.ReasonInvalid, 0},
		{"too few", scored(0, 1), total, grouse.GroupFiltered, grouse.ReasonInvalid, 0},
		{"all truncated, masked", edit(scored(0, 1, 0), cut(2)), masked, grouse.GroupFiltered, grouse.ReasonOverlong, 0.5},
		{"all truncated, not masked", edit(scored(0, 1, 0), cut(2)), total, grouse.GroupScored, "", 0.5},
		{"one truncated, masked", edit(scored(0, 1, 0), cut(1)), masked, grouse.GroupScored, "", 0.5},
		{"kept routing", routed(1, 2, 3, 0), sparse, grouse.GroupScored, "", 0.5},
		{"rows that were not recorded", routed(1, 2, -1, -1), sparse, grouse.GroupScored, "", 0.5},
		{"a row that was recorded in part", routed(1, 2, 3, -1), sparse, grouse.GroupFiltered, grouse.ReasonInvalid, 0},
		{"an expert twice", routed(1, 2, 3, 3), sparse, grouse.GroupFiltered, grouse.ReasonInvalid, 0},
		{"an expert that the model has not", routed(1, 2, 3, 4), sparse, grouse.GroupFiltered, grouse.ReasonInvalid, 0},
		{"more layers than the model", routed(2, 1, 3, 0), sparse, grouse.GroupFiltered, grouse.ReasonInvalid, 0},
		{"rows are missing", edit(routed(1, 2, 3, 0), func(g *grouse.ScoredGroup) {
			r := &g.Group.Rollouts[1].Routing
			r.Experts = r.Experts[2:]
		}), sparse, grouse.GroupFiltered, grouse.ReasonInvalid, 0},
		{"routing for a dense model", routed(1, 2, 3, 0), total, grouse.GroupFiltered, grouse.ReasonInvalid, 0},
	} {
		got := grouse.Judge(c.group, c.rules)
		if got.State != c.state || grouse.ReasonOf(got.Reason) != c.reason || got.SolveRate != c.solve {
			t.Errorf("%s: %+v, want state %s, reason %q, solve rate %v", c.name, got, c.state, c.reason, c.solve)
		}
	}
	got := grouse.Judge(edit(scored(7, 1, 0), func(g *grouse.ScoredGroup) { g.Scores[1].Outcome, g.Scores[1].Failure = grouse.OOM, "512 MB" }), total)
	if got.Candidate != 7 || !strings.Contains(got.Reason, "sample 1") || !strings.Contains(got.Reason, "oom: 512 MB") {
		t.Errorf("the reason does not name sample, outcome and cause: %+v", got)
	}
}

func verdicts(from uint32, states string) []grouse.GroupVerdict {
	var out []grouse.GroupVerdict
	for i, s := range states {
		v := grouse.GroupVerdict{Candidate: from + uint32(i), State: grouse.GroupScored}
		switch s {
		case 'f':
			v.State, v.Reason = grouse.GroupFiltered, string(grouse.ReasonFlatZero)
		case 'x':
			v.State, v.Reason = grouse.GroupFailed, grouse.ReasonReward.With("sample 0: timeout")
		}
		out = append(out, v)
	}
	return out
}

func TestAdmitIgnoresArrival(t *testing.T) {
	in := verdicts(0, "afaaxaaf")
	want := grouse.Admit(in, 3)
	admitted := ""
	for _, v := range want {
		admitted += map[grouse.GroupState]string{grouse.GroupScored: "a", grouse.GroupFiltered: "f", grouse.GroupFailed: "x"}[v.State]
	}
	if admitted != "afaaxfff" {
		t.Errorf("states %s, want afaaxfff: three admitted in candidate order, the rest surplus", admitted)
	}
	if want[5].Reason != string(grouse.ReasonSurplus) || in[5].State != grouse.GroupScored {
		t.Errorf("candidate 5: %+v (input now %+v), want surplus and the input untouched", want[5], in[5])
	}
	for seed := range int64(20) {
		shuffled := append([]grouse.GroupVerdict(nil), in...)
		rand.New(rand.NewSource(seed)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := grouse.Admit(shuffled, 3); !reflect.DeepEqual(got, want) {
			t.Fatalf("arrival order %d changes the result: %+v", seed, got)
		}
	}
}

func TestAdmissionWaves(t *testing.T) {
	a := grouse.NewAdmission(4, 3)
	for i, w := range []struct {
		first  uint32
		n      int
		states string
	}{{0, 4, "affa"}, {4, 2, "fx"}, {6, 2, "af"}} {
		first, n := a.NextWave()
		if first != w.first || n != w.n {
			t.Fatalf("wave %d: first %d, n %d; want %d, %d", i, first, n, w.first, w.n)
		}
		if _, err := a.AddWave(verdicts(first, w.states)); err != nil {
			t.Fatal(err)
		}
	}
	if _, n := a.NextWave(); n != 0 {
		t.Errorf("a fourth wave of %d after max_waves 3", n)
	}
	if want := []uint32{0, 3, 6}; !reflect.DeepEqual(a.Admitted, want) {
		t.Errorf("admitted %v, want %v", a.Admitted, want)
	}
	m := a.Metrics()
	if m["groups/admitted"] != 3 || m["groups/flat_zero"] != 4 || m["groups/reward"] != 1 || m["groups/stale"] != 0 || m["prompts_drawn"] != 8 {
		t.Errorf("metrics %v", m)
	}
	sum := 0.0
	for k, v := range m {
		if strings.HasPrefix(k, "groups/") {
			sum += v
		}
	}
	if sum != m["prompts_drawn"] {
		t.Errorf("groups sum to %v, drawn %v", sum, m["prompts_drawn"])
	}
}

func TestAdmissionEnds(t *testing.T) {
	full := grouse.NewAdmission(2, 10)
	if _, err := full.AddWave(verdicts(0, "aa")); err != nil {
		t.Fatal(err)
	}
	if _, n := full.NextWave(); n != 0 {
		t.Errorf("a full step asks for %d more", n)
	}
	spent := grouse.NewAdmission(3, 10)
	if _, err := spent.AddWave(verdicts(0, "af")); err != nil {
		t.Fatal(err)
	}
	if _, n := spent.NextWave(); n != 0 || !spent.Spent {
		t.Errorf("the data ran out, but %d more are asked for", n)
	}
	for name, bad := range map[string][]grouse.GroupVerdict{"too many": verdicts(0, "aaa"), "a gap": verdicts(1, "aa"), "twice": append(verdicts(0, "a"), verdicts(0, "a")...)} {
		if _, err := grouse.NewAdmission(2, 10).AddWave(bad); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("%s: error %v, want invalid", name, err)
		}
	}
	if _, err := full.AddWave(nil); err == nil {
		t.Error("a wave after the step was full was accepted")
	}
}

func TestCurriculum(t *testing.T) {
	var r grouse.SolveRecord
	if r.Expected() != 0.5 {
		t.Errorf("expected solve rate of a new prompt %v, want 0.5", r.Expected())
	}
	r = r.Solved(1)
	if r.Mean != 0.75 || r.Last != 1 || r.Groups != 1 {
		t.Errorf("after a group solved at 1: %+v", r)
	}
	r = r.Solved(0)
	if r.Mean != 0.375 {
		t.Errorf("then at 0: mean %v, want 0.375", r.Mean)
	}
	if r.Retired(0.5) || !r.Solved(0.5).Retired(0.5) || r.Solved(1).Retired(0) || (grouse.SolveRecord{}).Retired(0.5) {
		t.Error("retiring goes by the last group, at the rate or more, never at rate 0 or before a group")
	}
	records := []grouse.SolveRecord{{}, r, grouse.SolveRecord{}.Solved(1)}
	for _, c := range []struct {
		curriculum string
		retire     float64
		want       []float64
	}{
		{grouse.CurriculumUniform, 0, []float64{1, 1, 1}},
		{grouse.CurriculumUniform, 1, []float64{1, 1, 0}},
		{grouse.CurriculumPrioritized, 0, []float64{0.55, 0.675, 0.3}},
	} {
		got := grouse.DrawWeights(c.curriculum, c.retire, records)
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-15 {
				t.Errorf("%s, retire at %v: weights %v, want %v", c.curriculum, c.retire, got, c.want)
			}
		}
	}
	p := func(v float64) *float64 { return &v }
	order := grouse.EasyToHard([]grouse.SolveRecord{{}, {Offline: p(0.2)}, {Offline: p(0.9)}, {Offline: p(0.2)}, {}, {Offline: p(0)}})
	if want := []int{2, 1, 3, 5, 0, 4}; !reflect.DeepEqual(order, want) {
		t.Errorf("easy to hard: %v, want %v", order, want)
	}
}

func TestDrawWithoutReplacement(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for trial := range 200 {
		w := make([]float64, 1+r.Intn(20))
		positive := 0
		for i := range w {
			if r.Intn(3) > 0 {
				w[i] = float64(1 + r.Intn(5))
				positive++
			}
		}
		us := make([]float64, len(w)+3)
		for i := range us {
			us[i] = r.Float64()
		}
		// the obvious twin: walk the cumulative weights, remove, again
		left, want := append([]float64(nil), w...), []int(nil)
		for _, u := range us {
			total := 0.0
			for _, x := range left {
				total += x
			}
			if total == 0 {
				break
			}
			sum := 0.0
			for i, x := range left {
				if sum += x; sum > u*total {
					want, left[i] = append(want, i), 0
					break
				}
			}
		}
		if got := grouse.DrawWithout(w, us); !reflect.DeepEqual(got, want) || len(got) != positive {
			t.Fatalf("trial %d: weights %v: drew %v, want %v", trial, w, got, want)
		}
	}
}

func TestShares(t *testing.T) {
	for _, c := range []struct {
		weights []float64
		n       int
	}{{[]float64{0.7, 0.3}, 10}, {[]float64{1, 1, 1}, 7}, {[]float64{2, 0, 1}, 1}, {[]float64{5}, 3}, {[]float64{0, 1}, 4}} {
		total, mean := 0.0, make([]float64, len(c.weights))
		for _, w := range c.weights {
			total += w
		}
		const grid = 1000
		for k := range grid {
			count := make([]int, len(c.weights))
			for _, d := range grouse.Shares(c.weights, c.n, (float64(k)+0.5)/grid) {
				count[d]++
			}
			for d, n := range count {
				exact := float64(c.n) * c.weights[d] / total
				if math.Abs(float64(n)-exact) > 1+1e-9 {
					t.Fatalf("%v of %d: domain %d got %d, exact share %.2f", c.weights, c.n, d, n, exact)
				}
				mean[d] += float64(n) / grid
			}
		}
		for d, m := range mean {
			if exact := float64(c.n) * c.weights[d] / total; math.Abs(m-exact) > 0.01 {
				t.Errorf("%v of %d: domain %d gets %.3f on average, want %.3f", c.weights, c.n, d, m, exact)
			}
		}
	}
}
