// Package worker joins the engine, the rewards, the trainer, the data and the
// files of a run into the interfaces that activities declare, and registers them
// with Temporal. It is the one place that knows them all.
//
//	home := worker.Home{Dir: dir}
//	host := worker.New(worker.Options{Home: home, Temporal: client, Bus: bus, Rewards: registry})
//	err := host.Start()            // workflow, rollout and reward workers
//	stop, err := host.Train(run)   // and the trainer of one run
//
// Further ranks of a run's training are processes of their own (Follow): rank 0, the
// run's trainer, tells them what to do.
package worker
