package worker

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/worker"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/durable"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/natsbus"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/workflows"
)

// Options are what a host needs.
type Options struct {
	Home     string // $GROUSE_HOME
	Temporal client.Client
	Bus      *natsbus.Bus
	Rewards  *rewards.Registry
	Threads  int // of each processor device; 0: all cores
	// Device computes with weights that are fetched from the bus; empty: cpu. A
	// trainer's is its recipe's.
	Device string
	// Share puts every version of the weights on the bus, and fetches from there
	// what no trainer of this process has: rollout workers may then be elsewhere.
	Share bool
	// Listen is told what happens to the runs that this host trains.
	Listen func(activities.Event)
}

// Host runs workers in this process.
type Host struct {
	opts    Options
	store   store
	weights *weights // nil unless shared
	sampler *sampler
	scorer  *scorer

	mu      sync.Mutex
	workers []sdk.Worker
}

// New returns a host that has not started anything.
func New(o Options) *Host {
	h := &Host{opts: o}
	if o.Share {
		h.weights = &weights{bus: o.Bus, dev: h.device}
	}
	h.sampler = &sampler{policies: policies{&h.store, h.weights}}
	h.scorer = &scorer{registry: o.Rewards, home: o.Home, parallel: 4}
	return h
}

func (h *Host) device() (tensor.Device, error) {
	return devices.Open(cmp.Or(h.opts.Device, devices.CPU), h.opts.Threads)
}

// Roles of a host.
const (
	RoleWorkflows = "workflows"
	RoleRollout   = "rollout"
	RoleReward    = "reward"
	RoleTrainer   = "trainer" // of one run: Train
)

// Roles are those whose queues all runs share.
var Roles = []string{RoleWorkflows, RoleRollout, RoleReward}

// Start serves the queues of the roles.
func (h *Host) Start(roles ...string) error {
	for _, role := range roles {
		var w sdk.Worker
		switch role {
		case RoleWorkflows:
			w = sdk.New(h.opts.Temporal, activities.WorkflowQueue, sdk.Options{Identity: identity(role), MaxConcurrentLocalActivityExecutionSize: 16,
				StickyScheduleToStartTimeout: 2 * time.Second}) // then another worker goes on for one that was killed
			w.RegisterWorkflow(workflows.Run)
			w.RegisterWorkflow(workflows.Eval)
			w.RegisterWorkflow(workflows.Judge)
			w.RegisterActivity(h.rewards())
		case RoleRollout:
			w = sdk.New(h.opts.Temporal, activities.RolloutQueue, sdk.Options{Identity: identity(role), DisableWorkflowWorker: true, MaxConcurrentActivityExecutionSize: 2})
			w.RegisterActivity(&activities.Rollouts{Sampler: h.sampler, Bus: h.opts.Bus, Codec: codec{}})
		case RoleReward:
			w = sdk.New(h.opts.Temporal, activities.RewardQueue, sdk.Options{Identity: identity(role), DisableWorkflowWorker: true, MaxConcurrentActivityExecutionSize: 16})
			w.RegisterActivity(h.rewards())
		default:
			return grouse.Errorf(grouse.Invalid, "unknown role %q", role).WithFix("roles: workflows, rollout, reward, trainer")
		}
		if err := w.Start(); err != nil {
			return fmt.Errorf("start the %s worker: %w", role, err)
		}
		h.mu.Lock()
		h.workers = append(h.workers, w)
		h.mu.Unlock()
	}
	return nil
}

func (h *Host) rewards() *activities.Rewards {
	return &activities.Rewards{Scorer: h.scorer, Bus: h.opts.Bus, Codec: codec{}}
}

func identity(role string) string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return fmt.Sprintf("grouse %s %d@%s", role, os.Getpid(), name)
}

// Stop ends all workers: activities under way are cancelled.
func (h *Host) Stop() {
	h.mu.Lock()
	workers := h.workers
	h.workers = nil
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(w.Stop)
	}
	wg.Wait()
	h.sampler.close()
}

// RunDir is the folder of a run.
func RunDir(home, run string) string { return filepath.Join(home, "runs", run) }

// RecipeFile is where a run keeps its resolved recipe.
const RecipeFile = "recipe.yaml"

// SaveRecipe makes the run's folder with its recipe. A run of the name with
// another recipe is Invalid, and the difference is shown.
func SaveRecipe(home string, r *config.Resolved) error {
	raw, err := r.Save()
	if err != nil {
		return err
	}
	path := filepath.Join(RunDir(home, r.Spec.Name), RecipeFile)
	have, err := os.ReadFile(path)
	if err == nil {
		if string(have) == string(raw) {
			return nil
		}
		return grouse.Errorf(grouse.Invalid, "run %s exists with another recipe:\n%s", r.Spec.Name, difference(string(have), string(raw))).
			WithFix("give this one a --name of its own, go on with `grouse resume %s`, or remove the old run: rm -r %s", r.Spec.Name, RunDir(home, r.Spec.Name))
	}
	return durable.WriteFile(path, raw)
}

// LoadRecipe reads a run's resolved recipe.
func LoadRecipe(home, run string) (*config.Resolved, error) {
	if err := config.CheckName(run); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(RunDir(home, run), RecipeFile))
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "no run %q in %s", run, home).WithFix("`grouse ls` shows the runs")
	}
	return config.Parse(raw, run+"/"+RecipeFile, config.Options{})
}

// Train serves the trainer's queue of one run until stop is called. It owns the
// run's folder; Unavailable if another process does.
func (h *Host) Train(r *config.Resolved) (stop func(), err error) {
	if err := Supported(&r.Spec); err != nil {
		return nil, err
	}
	run := r.Spec.Name
	dir := RunDir(h.opts.Home, run)
	led, err := ledger.Open(dir, ledger.Options{})
	if err != nil {
		return nil, err
	}
	dev, err := OpenDevice(&r.Spec, h.opts.Threads)
	if err != nil {
		led.Close()
		return nil, err
	}
	l, err := newLearner(dev, r.Spec, dir, r.Base, h.opts.Home, &h.store)
	if err != nil {
		led.Close()
		return nil, err
	}
	l.share = h.weights
	observer := newObserver(dir, h.opts.Listen)
	observer.text = func(ids []int32) string { return l.policy.Tokenizer.Decode(ids, false) }
	if err := observer.catchUp(led); err != nil {
		led.Close()
		return nil, err
	}
	warn := func(text string) {
		observer.Observe(context.Background(), activities.Event{Kind: "warning", Run: run, Stage: -1, Text: text, Epoch: led.Epoch()})
	}
	trackers, err := startTrackers(r, dir, warn)
	if err != nil {
		led.Close()
		return nil, err
	}
	observer.wake = trackers.Wake
	policy, leave := memory(l), func() {}
	if ranksOf(&r.Spec) > 1 {
		ld, stop, err := lead(l, warn)
		if err != nil {
			trackers.Close(false)
			led.Close()
			return nil, err
		}
		policy, leave = ld, stop
	}
	t := activities.NewTrainer(&activities.Trainer{
		Run: run, Policy: policy, Checkpoints: policy, Prompts: l.data, Ledger: led, Bus: h.opts.Bus, Codec: codec{}, Router: h.scorer,
		Observer: observer,
	})
	w := sdk.New(h.opts.Temporal, activities.TrainQueue(run), sdk.Options{Identity: identity("trainer"), DisableWorkflowWorker: true, MaxConcurrentActivityExecutionSize: 4})
	w.RegisterActivity(t)
	if err := w.Start(); err != nil {
		leave()
		trackers.Close(false)
		led.Close()
		return nil, fmt.Errorf("start the trainer: %w", err)
	}
	return func() {
		w.Stop()
		leave()
		trackers.Close(RunState(dir) == StateDone)
		h.store.drop(run)
		led.Close()
	}, nil
}
