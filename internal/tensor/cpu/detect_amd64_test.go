package cpu

// kernelSets are the sets that this processor can run, by name, fastest first.
func kernelSets() []string {
	switch {
	case avx512:
		return []string{"avx512", "avx2", "go"}
	case avx2:
		return []string{"avx2", "go"}
	}
	return []string{"go"}
}

// use makes the device run a set.
func use(set string) { avx512, avx2 = set == "avx512", set != "go" }
