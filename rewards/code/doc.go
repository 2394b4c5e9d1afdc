// Package code rewards programs that pass tests: Python functions against asserts or
// a check(candidate), and programs of any language that read stdin and print.
//
//	r, err := code.New(code.Defaults())
//	results, err := r.Judge(ctx, group) // rows have the column tests, perhaps entry_point and setup
//
// The verdict is reached outside the program's process. Reward hacking is the normal
// outcome of training on code, and everything in a process is in the program's hands:
// its exit status, what it prints, its assert, its frames, its builtins. So:
//
//   - The tests run in a process of their own, in a sandbox that no program enters. Each
//     name that they take from the program is a proxy: it sends arguments and receives
//     values in a data-only encoding (wire.go). Values of exactly int, float, bool, str,
//     bytes, None, complex, list, tuple, dict, set and frozenset arrive as such, and are
//     compared there by Python's own rules. Anything else is a handle, which equals
//     itself only and has no operators: it can be called, its attributes read and set,
//     and it can be iterated once. Arguments go by value: a program cannot change what
//     the tests hold.
//   - A builtin, a module of the standard library, and what the tests or the column setup
//     define are never taken from the program. With an entry_point nothing but that
//     name is; without one, whatever the tests use and do not define.
//   - For pairs of input and output the comparison happens here, line by line.
//
// Each program has a sandbox with namespaces of its own (package sandbox). The tests'
// processes live in sandboxes that stay, each test run a fork of its own: it starts in
// a millisecond.
//
// A program that fails, in whatever way, is worth 0. What cannot be judged (no
// sandbox, broken tests, a column that is missing) is an error. Time is wall time: on a
// machine that is overloaded set time_limit higher or parallel lower.
//
// Handles have a price: tests that use operators of the program's own classes (len,
// indices, arithmetic, comparison) fail. Call methods by name instead.
package code
