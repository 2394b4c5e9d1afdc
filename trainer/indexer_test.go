package trainer_test

import (
	"context"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/trainer"
)

func examples() []trainer.Example {
	var out []trainer.Example
	for i := range 6 {
		e := trainer.Example{}
		for j := range 20 + 3*i {
			e.Prompt = append(e.Prompt, int32(2+(i*5+j*7)%38))
			e.Completion = append(e.Completion, int32(2+(i*3+j*11)%38))
		}
		out = append(out, e)
	}
	return out
}

// sft does n updates and returns the weights of the indexers, the others, and the
// metrics of the first and the last update.
func sft(t *testing.T, n int, change func(*grouse.TrainerSpec)) (indexer, rest []float32, first, last grouse.Metrics) {
	t.Helper()
	m := open(t, 2, "deepseek-sparse")
	s := grouse.Stage{Kind: grouse.StageSFT, Steps: n, Trainer: stage().Trainer}
	s.Trainer.LearningRate, s.Trainer.MaxGradNorm, s.Trainer.WeightDecay = 1e-2, 0, 0
	change(&s.Trainer)
	tr, err := trainer.New(m, s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if last, err = tr.SFT(context.Background(), examples()); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = last
		}
	}
	for _, p := range m.Params() {
		if model.IndexerWeight(p) {
			indexer = append(indexer, p.Read(m.Device())...)
		} else {
			rest = append(rest, p.Read(m.Device())...)
		}
	}
	return indexer, rest, first, last
}

func mode(mode string) func(*grouse.TrainerSpec) {
	return func(s *grouse.TrainerSpec) { s.TrainIndexer = mode }
}

// The warm-up moves indexers only and brings their loss down; the sparse stage
// trains them beside the model, which gets its own loss and nothing else; by
// default they do not move.
func TestTrainIndexer(t *testing.T) {
	before, restBefore, _, _ := sft(t, 0, mode(grouse.IndexerNone))
	frozen, restFrozen, metrics, _ := sft(t, 3, mode(grouse.IndexerNone))
	same(t, "frozen indexers", frozen, before)
	if _, ok := metrics["indexer/loss"]; ok {
		t.Error("frozen indexers report a loss")
	}
	warm, restWarm, first, last := sft(t, 40, mode(grouse.IndexerWarmup))
	same(t, "weights outside the indexers in the warm-up", restWarm, restBefore)
	t.Logf("warm-up: KL %.4f to %.4f nats", first["indexer/loss"], last["indexer/loss"])
	if !(last["indexer/loss"] < 0.7*first["indexer/loss"]) || differ(warm, before) == 0 {
		t.Errorf("warm-up: the loss went from %v to %v", first["indexer/loss"], last["indexer/loss"])
	}
	// The first update starts from the same choice, so the model's own gradient is
	// the same whether the indexer learns or not.
	_, restOne, _, _ := sft(t, 1, mode(grouse.IndexerNone))
	trained, restSparse, _, _ := sft(t, 1, mode(grouse.IndexerSparse))
	same(t, "weights outside the indexers in the sparse stage", restSparse, restOne)
	if differ(trained, before) == 0 || differ(restFrozen, restBefore) == 0 {
		t.Error("nothing was trained")
	}
	// Splits and recomputation change no bit.
	want, wantRest, _, wantMetrics := sft(t, 3, mode(grouse.IndexerSparse))
	for _, recompute := range []bool{false, true} {
		got, gotRest, _, gotMetrics := sft(t, 3, func(s *grouse.TrainerSpec) {
			s.TrainIndexer, s.MicroBatchTokens, s.Recompute = grouse.IndexerSparse, 60, recompute
		})
		same(t, "indexers in small micro-batches", got, want)
		same(t, "the rest in small micro-batches", gotRest, wantRest)
		if string(gotMetrics.AppendBits(nil)) != string(wantMetrics.AppendBits(nil)) {
			t.Errorf("metrics differ in small micro-batches: %v, want %v", gotMetrics, wantMetrics)
		}
	}
}

func differ(a, b []float32) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// In an rl stage the indexers learn from the rollouts.
func TestTrainIndexerInRL(t *testing.T) {
	run := func(mode string) (*model.Model, grouse.Metrics) {
		m := open(t, 2, "deepseek-sparse")
		batch := groups(t, m)
		s := stage()
		s.Trainer.TrainIndexer, s.Algorithm.MiniBatches, s.Trainer.MaxGradNorm = mode, 1, 0
		tr, err := trainer.New(m, s)
		if err != nil {
			t.Fatal(err)
		}
		tr.SetReference(m.Clone())
		res, err := tr.Step(context.Background(), batch)
		if err != nil {
			t.Fatal(err)
		}
		return m, res.Metrics
	}
	frozen, _ := run(grouse.IndexerNone)
	trained, metrics := run(grouse.IndexerSparse)
	if metrics["indexer/loss"] <= 0 {
		t.Errorf("indexer/loss is %v", metrics["indexer/loss"])
	}
	for i, p := range frozen.Params() {
		a, b := p.Read(frozen.Device()), trained.Params()[i].Read(trained.Device())
		if moved := differ(a, b) > 0; moved != model.IndexerWeight(p) {
			t.Errorf("%s differs: %v", p.Name, moved)
		}
	}
}
