package trainer

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Lightning indexers (DeepSeek-V3.2, arXiv:2512.02556, section 2.1; spec 10.6) are
// frozen unless train_indexer says otherwise. warmup: attention is dense and
// nothing but the indexers is trained, on the KL of eq. 3. sparse: they learn from
// eq. 4 beside the stage's own loss, which gives them nothing. The KL is a mean over
// the update's rows, summed over layers; one global norm clips both gradients.

// trains says which weights the stage trains.
func trains(stage *grouse.Stage) func(p *tensor.Param) bool {
	switch stage.Trainer.TrainIndexer {
	case grouse.IndexerWarmup:
		return model.IndexerWeight
	case grouse.IndexerSparse:
		return func(*tensor.Param) bool { return true }
	}
	return func(p *tensor.Param) bool { return !model.IndexerWeight(p) }
}

// indexerLoss returns what trains the indexers in a pass of an update of so many
// rows, nil if nothing does.
func (t *Trainer) indexerLoss(rows int) *model.IndexerLoss {
	mode := t.stage.Trainer.TrainIndexer
	if !t.model.Config.Indexed() || (mode != grouse.IndexerWarmup && mode != grouse.IndexerSparse) {
		return nil
	}
	return &model.IndexerLoss{Coef: 1 / float32(max(rows, 1)), Dense: mode == grouse.IndexerWarmup}
}

// indexerMetric reports the mean KL of a row and layer.
func indexerMetric(out grouse.Metrics, sums []float64, rows int) {
	total := 0.0
	for _, s := range sums {
		total += s
	}
	out["indexer/loss"] = total / float64(max(rows, 1)*len(sums))
}
