// Package workflows decides when: what of a run happens next, and what of it
// again. It touches no file, clock, network or device; activities do.
//
//	client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: name, TaskQueue: activities.WorkflowQueue},
//		workflows.Run, workflows.RunState{Spec: spec, SearchAttributes: true})
//
// Run goes through the recipe's stages. A step of an rl stage (step.go) is:
// draw, sample in shards, score, admit in candidate order, perhaps another
// wave, train. Activities of one step run in parallel where nothing orders
// them; with max_staleness k the sampling of a step goes on while the k steps
// before it are scored and trained, by version max(0, step-1-k), always.
//
// What is carried from step to step is one RunState, small enough to be shown:
// it is the input of the next execution when history grows long. Where a run
// is, though, is what its ledger says: Prepare asks it first, so a run goes on
// even if the server's whole database is lost.
//
// Updates (pause, resume, checkpoint, stop, set) take one struct each and are
// refused with a reason; queries (status, metrics, config) take none.
//
// Changing this code: a run that is under way replays its history through it.
// See versions.go, and testdata/histories for what must still replay.
package workflows
