// Package rubric is the generative reward model: a judge marks a completion on the
// items of a rubric, and the marks are weighed (spec 7.3).
//
//	score = clip( sum_j w_j s_j / sum_{w_j > 0} w_j, 0, 1 )
//
// A negative weight is a penalty. The judge is anything that answers a prompt: an
// OpenAI-compatible endpoint (OpenAI), or what a program passes in (a checkpoint on
// the run's own engine). Its reply must be JSON with a mark for every item; one that
// is not is asked for again, and when the attempts are spent the group could not be
// judged: never a mark of 0.
//
// The completion is data: it stands between fences that it cannot contain, because
// they are made of its own hash, and nothing of it is ever parsed as a mark. Verdicts
// are kept by the hash of all that they depend on (Memo), so that a retry and a
// resumed run ask only for what is missing.
package rubric
