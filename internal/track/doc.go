// Package track reports a run to experiment trackers: TensorBoard event files,
// Weights & Biases, MLflow, Prometheus.
//
// A tracker is told what metrics.jsonl has, line by line, and how far it came is
// kept in a file beside it. Hence a run that was killed and resumed reports no
// line twice with another value and leaves none out, and a tracker that is away
// costs the run nothing: its queue is the file, which is there anyhow. What
// cannot be delivered to a server is written where that server's own tools read
// it later.
//
//	trackers, err := track.Start(spec.Trackers, run, track.Options{Source: open, Warn: warn})
//	trackers.Wake()          // there are new lines
//	trackers.Close(finished) // deliver what is left, for some seconds at most
package track
