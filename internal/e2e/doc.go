// Package e2e tests whole runs: the grouse binary as a child process, killed,
// starved of its files and started again, must end with the weights of the run
// that nobody disturbed. The package has tests only.
//
// The binary is built once for all tests. Every test has a home folder of its
// own and prints the moments at which it killed.
package e2e
