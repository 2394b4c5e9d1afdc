// Package process supervises the child processes that rewards of other languages
// run in: one JSON line in, one JSON line out. A child that takes too long, says too
// much, dies or uses too much memory is killed with all its descendants, and the
// caller learns which of these it was.
//
// A Pool keeps children alive between calls, so that a slow start is paid once; a
// child that was killed, or that exits after its answer, is replaced at the next
// call. It protects the run from a reward, not the machine from hostile code: that
// is a sandbox's work.
package process
