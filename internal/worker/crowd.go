package worker

import (
	"context"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

// crowd makes a leader whose other ranks are goroutines of this process, each with a
// processor beside dev and a learner of its own; stop ends them.
func crowd(dev tensor.Device, l *learner, another func(dev tensor.Device) (*learner, error)) (_ *leader, stop func(), err error) {
	if backend(&l.spec) != devices.CPU {
		return nil, nil, grouse.Errorf(grouse.Invalid, "run %s had %d GPUs: one process cannot add up in their order", l.spec.Name, ranksOf(&l.spec)).
			WithFix("its ledger and checkpoints can be checked: grouse audit %s", l.spec.Name)
	}
	var followers []*learner
	for range ranksOf(&l.spec) - 1 {
		f, err := another(devices.Beside(dev))
		if err != nil {
			return nil, nil, err
		}
		followers = append(followers, f)
	}
	var work sync.WaitGroup
	ld := &leader{learner: l}
	ld.meet = func(ctx context.Context) (collective.Group, error) {
		work.Wait()
		stars := collective.Local(len(followers) + 1)
		for i, f := range followers {
			work.Go(func() {
				defer stars[i+1].Close()
				_ = f.follow(context.WithoutCancel(ctx), stars[i+1]) // rank 0 is told
			})
		}
		return stars[0], nil
	}
	return ld, func() {
		ld.end()
		work.Wait()
	}, nil
}
