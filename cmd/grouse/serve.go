package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/devserver"
	"github.com/grouse-rl/grouse/internal/worker"
)

type serveCmd struct {
	TemporalPort int `help:"First port that is tried for Temporal." default:"7233"`
	UIPort       int `help:"First port that is tried for the Web UI." default:"8233"`
	NATSPort     int `help:"First port that is tried for NATS." default:"4222"`
	Dashboard    int `help:"First port that is tried for the dashboard." default:"8320" name:"dashboard-port"`
}

// Run keeps the servers up until it is interrupted. Runs started meanwhile use
// them.
func (c *serveCmd) Run(a *app) error {
	s, err := devserver.Start(a.ctx, devserver.Options{Dir: a.home, TemporalPort: c.TemporalPort, UIPort: c.UIPort, NATSListen: true, NATSPort: c.NATSPort})
	if err != nil {
		return err
	}
	d, err := startDashboard(a.home, c.Dashboard)
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	defer d.stop()
	i := s.Info()
	fmt.Fprintf(a.stdout, "Temporal  %s\nWeb UI    %s\nNATS      %s\ndashboard %s\nstate     %s\n", i.Temporal, i.UI, i.NATS, d.url, a.home)
	wait(a)
	return s.Stop()
}

func wait(a *app) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	select {
	case <-stop:
	case <-a.ctx.Done():
	}
}

type workerCmd struct {
	Queues []string `help:"What to serve: workflows, rollout, reward, or none." default:"workflows,rollout,reward" placeholder:"ROLE"`
	Train  string   `help:"Serve the trainer of this run too; its folder is under --home." placeholder:"RUN"`
	Rank   int      `help:"Be this rank of the run's training (trainer.ranks), and nothing else: it follows rank 0, the run's trainer on this machine, and needs no servers." placeholder:"R"`
	serverFlags
}

// Run serves queues until it is interrupted.
func (c *workerCmd) Run(a *app) error {
	if c.Rank != 0 {
		return c.follow(a)
	}
	s, err := c.connect(a, false)
	if err != nil {
		return err
	}
	defer s.close()
	host := s.host(a, nil)
	defer host.Stop()
	queues, train, err := splitRoles(c.Queues)
	if err == nil && train {
		err = grouse.Errorf(grouse.Invalid, "a trainer belongs to a run").WithFix("name the run: --train RUN")
	}
	if err != nil {
		return err
	}
	if err := host.Start(queues...); err != nil {
		return err
	}
	if c.Train != "" {
		r, err := worker.LoadRecipe(a.home, c.Train)
		if err != nil {
			return err
		}
		if err := a.planGPU(r, append(queues, worker.RoleTrainer)); err != nil {
			return err
		}
		stop, err := host.Train(r)
		if err != nil {
			return err
		}
		defer stop()
	}
	fmt.Fprintf(a.stdout, "serving %v at %s\n", c.Queues, s.info.Temporal)
	wait(a)
	return nil
}

// follow is a rank of a run's training until it is interrupted.
func (c *workerCmd) follow(a *app) error {
	if c.Train == "" {
		return grouse.Errorf(grouse.Invalid, "a rank belongs to a run").WithFix("name the run: --train RUN --rank %d", c.Rank)
	}
	r, err := worker.LoadRecipe(a.home, c.Train)
	if err != nil {
		return err
	}
	if err := a.planGPU(r, []string{worker.RoleTrainer}); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(a.ctx, os.Interrupt)
	defer stop()
	return worker.Follow(ctx, r, worker.FollowOptions{Home: a.home, Rank: c.Rank, Say: func(text string) {
		fmt.Fprintf(a.stdout, "rank %d: %s\n", c.Rank, text)
	}})
}
