// Package vectors holds the fixtures of the algorithms' specification in testdata
// and the tests that run them against the packages that own the formulas:
// trainer/grpo, internal/logprob and rollout/sampling, internal/model/moe and dsa,
// rewards/length, rewards/proof and rewards/language.
//
// A fixture is a JSON file {"schema": 1, "file": NAME, "cases": [{"name",
// "config"?, "input", "expected"}]}. The tests dispatch on "file", not on the
// file's name, so that further files of the same form can be dropped into testdata.
// An unknown file, field, config value or case kind fails, and so does an empty
// folder.
package vectors
