package trainer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/trainer"
)

// team is some ranks in this process, each with a device and weights of its own.
type team struct {
	t        *testing.T
	groups   []*collective.Star
	models   []*model.Model
	trainers []*trainer.Trainer
}

// newTeam makes ranks on copies of the family's weights.
func newTeam(t *testing.T, family string, stage grouse.Stage, ranks int) *team {
	t.Helper()
	groups := collective.Local(ranks)
	tm := &team{t: t, groups: groups}
	for r := range ranks {
		m := open(t, 1, family)
		tr, err := trainer.NewRank(m, stage, groups[r])
		if err != nil {
			t.Fatal(err)
		}
		tr.SetReference(m.Clone())
		tm.models, tm.trainers = append(tm.models, m), append(tm.trainers, tr)
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, g := range groups {
			wg.Go(g.Close)
		}
		wg.Wait()
	})
	return tm
}

// all runs f as every rank.
func (tm *team) all(f func(r int, tr *trainer.Trainer) error) {
	tm.t.Helper()
	errs := make([]error, len(tm.trainers))
	var wg sync.WaitGroup
	for r, tr := range tm.trainers {
		wg.Go(func() { errs[r] = f(r, tr) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		tm.t.Fatal(err)
	}
}

// step does one step at all ranks and returns rank 0's result.
func (tm *team) step(batch []grouse.ScoredGroup) *trainer.Result {
	tm.t.Helper()
	results := make([]*trainer.Result, len(tm.trainers))
	tm.all(func(r int, tr *trainer.Trainer) (err error) {
		results[r], err = tr.Step(context.Background(), batch)
		return err
	})
	for r, res := range results[1:] {
		if res.Metrics != nil || res.Traces != nil {
			tm.t.Fatalf("rank %d has a result", r+1)
		}
	}
	return results[0]
}

// weights returns rank 0's, after comparing all ranks' bits.
func (tm *team) weights() []float32 {
	tm.t.Helper()
	want := weights(tm.models[0])
	for r, m := range tm.models[1:] {
		same(tm.t, fmt.Sprintf("rank %d", r+1), weights(m), want)
	}
	return want
}

// far is the largest difference.
func far(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-float64(b[i])))
	}
	return d
}

// Ranks do what one does, but for the order of the gradients' sums: the first step's
// metrics and traces are one rank's to the bit where they do not come from the gradient,
// the weights differ by rounding. The same ranks give the same bits again. One rank in a
// group is alone.
func TestRanksDoWhatOneDoes(t *testing.T) {
	for _, c := range []struct {
		name, family string
		change       func(*grouse.Stage)
	}{
		{"tied embedding, mini-batches", "llama", func(*grouse.Stage) {}},
		{"experts, logprobs recomputed, passes", "qwen3moe", func(s *grouse.Stage) {
			s.Algorithm.PiOld, s.Algorithm.NumIterations, s.Algorithm.MiniBatches = grouse.PiOldRecomputed, 2, 1
		}},
		{"frozen indexers, bfloat16 moments", "deepseek-sparse", func(s *grouse.Stage) { s.Trainer.BF16Moments = true }},
		{"KL in the reward, shuffled", "qwen3", func(s *grouse.Stage) {
			s.Algorithm.KLInReward, s.Algorithm.ShuffleRewards, s.Algorithm.PiOld = 0.3, true, grouse.PiOldRecomputed
		}},
	} {
		s := stage()
		c.change(&s)
		batch := groups(t, open(t, 1, c.family))
		run := func(ranks int) (first *trainer.Result, w []float32) {
			tm := newTeam(t, c.family, s, ranks)
			first = tm.step(batch)
			for range 2 {
				tm.step(batch)
			}
			return first, tm.weights()
		}
		m := open(t, 1, c.family)
		tr, err := trainer.New(m, s)
		if err != nil {
			t.Fatal(err)
		}
		tr.SetReference(m.Clone())
		want, err := tr.Step(context.Background(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := tr.Step(context.Background(), batch); err != nil {
				t.Fatal(err)
			}
		}
		_, one := run(1)
		same(t, c.name+": one rank", one, weights(m))
		for _, ranks := range []int{2, 3, 8} { // more than groups
			got, w := run(ranks)
			_, again := run(ranks)
			same(t, fmt.Sprintf("%s: %d ranks again", c.name, ranks), again, w)
			// Three steps of two updates of at most 1e-3: what rounding may change of a
			// weight is far below one update. Bits of the sums do change.
			if d := far(w, one); d > 2e-4 || d == 0 {
				t.Errorf("%s: %d ranks: weights differ from one rank's by %v", c.name, ranks, d)
			}
			if len(got.Metrics) != len(want.Metrics) {
				t.Errorf("%s: %d ranks: %d metrics, want %d", c.name, ranks, len(got.Metrics), len(want.Metrics))
			}
			once := s.Algorithm.NumIterations*s.Algorithm.MiniBatches == 1
			for k, v := range want.Metrics {
				// After the first update the weights differ by rounding.
				if bound := 1e-3 * (1e-2 + math.Abs(v)); math.Abs(got.Metrics[k]-v) > bound || once && k != "grad_norm" && got.Metrics[k] != v {
					t.Errorf("%s: %d ranks: %s is %v, one rank's %v", c.name, ranks, k, got.Metrics[k], v)
				}
			}
			if len(got.Traces) != len(want.Traces) {
				t.Fatalf("%s: %d ranks: %d groups have traces", c.name, ranks, len(got.Traces))
			}
			// The first mini-batch of a single pass is judged with the weights of before.
			for i := range want.Traces[:len(want.Traces)/s.Algorithm.MiniBatches] {
				if s.Algorithm.NumIterations == 1 && !reflect.DeepEqual(got.Traces[i], want.Traces[i]) {
					t.Errorf("%s: %d ranks: traces of group %d differ", c.name, ranks, i)
				}
			}
		}
	}
}

// With one update a step, every metric of the first step that is not made from the
// gradient has one rank's bits.
func TestRanksReportWhatOneReports(t *testing.T) {
	s := stage()
	s.Algorithm.MiniBatches = 1
	batch := groups(t, open(t, 1, "qwen3moe"))
	for i := range batch { // some tokens are routed otherwise than the policy would
		e := batch[i].Group.Rollouts[2].Routing.Experts
		for j := range e {
			e[j] = int16(j % 3)
		}
	}
	want := newTeam(t, "qwen3moe", s, 1).step(batch)
	if want.Metrics["routing/differ_frac"] == 0 {
		t.Fatal("no choice differs")
	}
	for _, ranks := range []int{2, 3, 7} {
		got := newTeam(t, "qwen3moe", s, ranks).step(batch)
		if d := math.Abs(got.Metrics["grad_norm"]/want.Metrics["grad_norm"] - 1); d > 1e-6 {
			t.Errorf("%d ranks: grad_norm is off by %v", ranks, d)
		}
		got.Metrics["grad_norm"] = want.Metrics["grad_norm"]
		if string(got.Metrics.AppendBits(nil)) != string(want.Metrics.AppendBits(nil)) {
			t.Errorf("%d ranks: metrics differ:\n%v\n%v", ranks, got.Metrics, want.Metrics)
		}
		if !reflect.DeepEqual(got.Traces, want.Traces) {
			t.Errorf("%d ranks: traces differ", ranks)
		}
	}
}

// A gradient that is not finite at one rank is skipped by all, and changes nothing.
func TestAllRanksSkipTheUpdateOfOne(t *testing.T) {
	s := stage()
	s.Algorithm.MiniBatches = 1
	batch := groups(t, open(t, 1, "llama"))
	tm := newTeam(t, "llama", s, 3)
	tm.step(batch)
	before := tm.weights()
	bad := append([]grouse.ScoredGroup(nil), batch...)
	last := &bad[len(bad)-1]
	last.Scores = append([]grouse.Score(nil), last.Scores...)
	last.Scores[0].Reward = ptr(math.Inf(1)) // of a group that rank 2 has
	if res := tm.step(bad); res.Metrics["skipped_updates"] != 1 || !math.IsNaN(res.Metrics["grad_norm"]) {
		t.Errorf("skipped %v, norm %v", res.Metrics["skipped_updates"], res.Metrics["grad_norm"])
	}
	same(t, "after the skipped update", tm.weights(), before)
	for r, tr := range tm.trainers {
		if o := tr.State().Optim; o.Skipped != 1 || o.Applied != 1 {
			t.Errorf("rank %d: %+v", r, o)
		}
	}
	tm.step(batch)
	if far(tm.weights(), before) == 0 {
		t.Error("nothing was learned afterwards")
	}
}

// Moments that some ranks saved go on with others: whole at rank 0, from any number to
// any number, and on the same number with the same bits.
func TestMomentsMoveBetweenNumbersOfRanks(t *testing.T) {
	for _, bf16 := range []bool{false, true} {
		s := stage()
		s.Trainer.BF16Moments = bf16
		batch := groups(t, open(t, 1, "llama"))
		tm := newTeam(t, "llama", s, 3)
		ref := tm.models[0].Clone()
		tm.step(batch)
		saved := memory{}
		tm.all(func(r int, tr *trainer.Trainer) error {
			put := saved.put
			if r > 0 {
				put = func(string, []int, []float32) error { return errors.New("called") }
			}
			return tr.Moments(context.Background(), put)
		})
		state, copied := tm.trainers[0].State(), tm.models[0].Clone()
		tm.step(batch)
		want := tm.weights()
		for _, ranks := range []int{1, 2, 3, 5} {
			other := newTeam(t, "llama", s, ranks)
			other.all(func(r int, tr *trainer.Trainer) error {
				tr.Model().CopyFrom(copied)
				own, err := model.New(cpu.New(1), ref.Config)
				if err != nil {
					return err
				}
				own.CopyFrom(ref)
				tr.SetReference(own)
				return tr.Restore(state, saved)
			})
			again := memory{}
			other.all(func(r int, tr *trainer.Trainer) error { return tr.Moments(context.Background(), again.put) })
			if !reflect.DeepEqual(again, saved) {
				t.Errorf("bfloat16 %v, %d ranks: the moments came back changed", bf16, ranks)
			}
			other.step(batch)
			if d := far(other.weights(), want); ranks == 3 && d != 0 || d > 1e-4 {
				t.Errorf("bfloat16 %v, %d ranks: weights are off by %v", bf16, ranks, d)
			}
		}
		// A file that cannot be written leaves the ranks in step.
		full := errors.New("the disk is full")
		err := make([]error, 3)
		tm.all(func(r int, tr *trainer.Trainer) error {
			err[r] = tr.Moments(context.Background(), func(string, []int, []float32) error { return full })
			return nil
		})
		if !errors.Is(err[0], full) || err[1] != nil || err[2] != nil {
			t.Errorf("%v", err)
		}
		tm.step(batch)
	}
}

// Supervised updates: the indexers' loss beside the examples', more ranks than examples.
func TestRanksDoSupervisedUpdates(t *testing.T) {
	for _, mode := range []string{grouse.IndexerNone, grouse.IndexerWarmup, grouse.IndexerSparse} {
		s := grouse.Stage{Kind: grouse.StageSFT, Steps: 3, Trainer: stage().Trainer}
		s.Trainer.TrainIndexer = mode
		run := func(ranks int) (out []grouse.Metrics, w []float32) {
			tm := newTeam(t, "deepseek-sparse", s, ranks)
			for range 3 {
				got := make([]grouse.Metrics, ranks)
				tm.all(func(r int, tr *trainer.Trainer) (err error) {
					got[r], err = tr.SFT(context.Background(), examples())
					return err
				})
				out = append(out, got[0])
			}
			return out, tm.weights()
		}
		want, one := run(1)
		for _, ranks := range []int{2, 3, 7} {
			got, w := run(ranks)
			if d := far(w, one); d > 1e-4 {
				t.Errorf("%s, %d ranks: weights differ by %v", mode, ranks, d)
			}
			if got[0]["loss"] != want[0]["loss"] || got[2]["num_tokens"] != want[2]["num_tokens"] || len(got[0]) != len(want[0]) {
				t.Errorf("%s, %d ranks: %v, want %v", mode, ranks, got[0], want[0])
			}
			if a, b := got[0]["indexer/loss"], want[0]["indexer/loss"]; math.Abs(a-b) > 1e-12*b {
				t.Errorf("%s, %d ranks: indexer/loss %v, want %v", mode, ranks, a, b)
			}
		}
	}
}

// A step without groups keeps the ranks in step; a rank that fails ends the step of all.
func TestRanksWithoutGroupsAndWithAFault(t *testing.T) {
	tm := newTeam(t, "llama", stage(), 3)
	before := tm.weights()
	if res := tm.step(nil); len(res.Traces) != 0 || res.Metrics["num_tokens"] != 0 {
		t.Errorf("%+v", res)
	}
	same(t, "without groups", tm.weights(), before)

	batch := groups(t, open(t, 1, "llama"))
	errs := make([]error, 3)
	var wg sync.WaitGroup
	ended, end := context.WithCancel(context.Background())
	end()
	for r, tr := range tm.trainers {
		wg.Go(func() {
			ctx := context.Background()
			if r == 1 {
				ctx = ended
			}
			_, errs[r] = tr.Step(ctx, batch)
			if r == 1 {
				tm.groups[1].Fail(errors.New("out of memory"))
			}
		})
	}
	wg.Wait()
	if !errors.Is(errs[1], context.Canceled) {
		t.Errorf("rank 1: %v", errs[1])
	}
	for _, r := range []int{0, 2} {
		if grouse.KindOf(errs[r]) != grouse.Unavailable || errs[r].Error() != "rank 1: out of memory" {
			t.Errorf("rank %d: %v", r, errs[r])
		}
	}
}
