package track

import (
	"fmt"
	"path/filepath"
	"sync"

	"github.com/grouse-rl/grouse"
)

// Set is a run's trackers at work.
type Set struct{ pumps []*pump }

// Options are what trackers need of the outside.
type Options struct {
	Source func() Source // makes a source for each tracker
	Warn   func(string)  // is told of a tracker that fails, once each; from any goroutine
}

// Start starts the trackers that a recipe names. What they keep is in the folder
// trackers of the run. Secrets are read here; Invalid if the recipe asks for what
// a tracker cannot do. A tracker that cannot be reached, or whose secret is not
// there, is no error.
func Start(specs []grouse.TrackerSpec, run Run, o Options) (*Set, error) {
	return start(specs, run, o, usual)
}

func start(specs []grouse.TrackerSpec, run Run, o Options, pace pace) (*Set, error) {
	s := &Set{}
	if len(specs) == 0 {
		return s, nil
	}
	dir := filepath.Join(run.Dir, "trackers")
	var err error
	if run.ID, err = runID(dir, run.Name); err != nil {
		return nil, err
	}
	for i, spec := range specs {
		parsed, err := parseParams(spec)
		if err != nil {
			return nil, err
		}
		p := &pump{warn: o.Warn, pace: pace}
		p.assemble(parsed, run, o.Source)
		p.main.name = spec.Use
		if p.main.path != "" {
			p.main.path = filepath.Join(dir, fmt.Sprintf("%d-%s.json", i, p.main.path))
		}
		s.pumps = append(s.pumps, p)
	}
	for _, p := range s.pumps {
		p.start()
	}
	return s, nil
}

// assemble makes the sinks of one tracker. What is not given to a server, for
// want of a key, is written to files.
func (p *pump) assemble(parsed params, run Run, source func() Source) {
	local := func(s sink) *delivery { return &delivery{sink: s, source: source()} }
	kept := func(s sink, name string) *delivery { return &delivery{sink: s, source: source(), path: name} }
	switch o := parsed.(type) {
	case *tensorboardParams:
		src := source()
		p.main = &delivery{sink: newTensorboard(run, *o, src), source: src, path: "tensorboard"}
	case *wandbParams:
		offline := newWandbOffline(run, *o)
		key, err := o.Key.read(&run)
		if key == "" {
			if o.Key != "" {
				p.without(fmt.Sprintf("tracker wandb: there is no key in %s", o.Key), err, offline.folder()+" (wandb sync)")
			}
			p.main = local(offline)
			return
		}
		p.main, p.fallback = kept(newWandb(run, *o, key), "wandb"), local(offline)
		p.where = offline.folder() + " (wandb sync)"
	case *mlflowParams:
		files := newMLflowFiles(run, *o)
		if !o.remote() {
			p.main = local(files)
			return
		}
		auth, err := o.auth(&run)
		if err != nil {
			p.without("tracker mlflow", err, files.root)
			p.main = local(files)
			return
		}
		p.main, p.fallback = kept(newMLflow(run, *o, auth), "mlflow"), local(files)
		p.where = files.root
	case *prometheusParams:
		p.main = local(newPrometheus(run, *o))
	}
}

// without warns that files take a server's place.
func (p *pump) without(what string, err error, where string) {
	p.warned = true
	if err != nil {
		what += ": " + err.Error()
	}
	if p.warn != nil {
		p.warn(what + "; nothing is sent, it is written to " + where)
	}
}

// Wake says that there are new points. It never waits.
func (s *Set) Wake() {
	for _, p := range s.pumps {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// Close delivers what is left, for some seconds at most, and ends the trackers;
// finished says that the run will not go on.
func (s *Set) Close(finished bool) {
	var wg sync.WaitGroup
	for _, p := range s.pumps {
		wg.Go(func() { p.close(finished) })
	}
	wg.Wait()
}
