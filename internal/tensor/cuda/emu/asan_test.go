//go:build emu && asan

package emu

// sanitized: reports of AddressSanitizer name kernels only if the test's binary
// has symbols, as scripts/cuda/asan.sh builds it.
const sanitized = true

func init() { faults["fault_out_of_bounds"] = "AddressSanitizer: use-after-poison" }
