// Package grouse is the vocabulary that every other package of grouse speaks:
// prompts, rollouts, groups, scores, batches, and the resolved recipe of a run.
//
// The types here hold data and decide things that follow from data alone
// (Validate, Admit). They do no I/O, know no clock and import the standard
// library only, so that a workflow, a reward in somebody's own module and the
// trainer can all share them.
//
// # Letters
//
// P prompts a step, G rollouts a group, T response tokens of one rollout, V
// vocabulary, L layers, K experts a token. Logprobs are natural logs, in nats.
// Lengths are in tokens. Rewards have no unit.
//
// # A step, in these types
//
//	Prompt --sample--> Group{[]Rollout} --score--> []Score --admit--> Batch --train--> Policy
package grouse
