//go:build emu && asan

package emu

func init() { faults["fault_out_of_bounds"] = "AddressSanitizer: use-after-poison" }
