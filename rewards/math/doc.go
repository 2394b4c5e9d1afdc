// Package math judges whether two mathematical answers are the same: LaTeX or plain
// text, numbers of every notation, surds, polynomials, equations, inequalities,
// intervals, sets, tuples, matrices, choices.
//
//	math.Equivalent(`\frac{1}{3}`, `0.\overline{3}`) // true
//
// An answer is read into a structure (a list, an interval, a matrix, ... of
// expressions). Expressions are compared
//
//   - as exact rationals, if they are numbers;
//   - as rational functions, by their values in a field of about 2^61 elements at
//     fixed points, where i is a root of -1 and pi and e are unknowns: different ones
//     agree at all points with a probability below 2^-150;
//   - else by their values at fixed points: in floating point where that shows a
//     difference, else with 320 bits, of which 200 must agree.
//
// Reading is linear in the text up to maxLength bytes, with bounded depth; exact
// numbers, lists and the number of functions evaluated are bounded in size. So the
// time is bounded by construction.
//
// testdata/corpus.txt is what it is held to; docs/rewards.md compares it with math-verify.
package math
