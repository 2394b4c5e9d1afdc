//go:build !amd64

package cpu

func kernelSets() []string { return []string{"go"} }

func use(string) {}
