// Package answer finds the final answer in a completion: the last \boxed{}, an
// <answer> block, what follows "####" or "the answer is", else the last
// expression. Judging it is another package's work (rewards/math, rewards/exact).
//
// Model output is hostile input: every function here is linear in the text, knows
// no recursion, and is fuzzed.
package answer
