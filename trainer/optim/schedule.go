package optim

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
)

// Schedules lists the names of lr_scheduler_type.
var Schedules = []string{"constant", "linear", "cosine"}

// LearningRate returns the learning rate of an update, the first one being
// number 0, of total:
//
//	update < W:  lr (update+1)/W                       W = warmup_steps
//	then:        lr (m + (1-m) f(p)),  p = (update-W)/(total-W),  m = min_lr_ratio
//	constant: f = 1   linear: f = 1-p   cosine: f = (1 + cos pi p)/2
//
// The decay is that of transformers' schedules; their warm-up begins with an
// update of rate 0, this one does not. Past total the rate stays at its end.
func LearningRate(t *grouse.TrainerSpec, update, total int64) float64 {
	warmup := int64(t.WarmupSteps)
	if update < warmup {
		return t.LearningRate * (float64(update+1) / float64(warmup))
	}
	p := 1.0
	if update < total {
		p = float64(update-warmup) / float64(total-warmup)
	}
	f := 1.0
	switch t.Schedule {
	case "linear":
		f = 1 - p
	case "cosine":
		_, cos := rng.SinCosTurn(p / 2)
		f = (1 + cos) / 2
	}
	return t.LearningRate * (t.MinLRRatio + float64((1-t.MinLRRatio)*f))
}
