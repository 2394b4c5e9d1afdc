// Package kernels embeds the sources of the CUDA device's kernels. all.cu is the
// one translation unit: it includes the others.
//
// The rules that keep them testable without a GPU: grouse.cuh is their only
// header; a block has at most 256 threads, whole warps; no float is added
// atomically, so that a sum has one order; what varies between launches comes by
// arguments or device memory.
package kernels

import (
	"embed"
	"regexp"
	"slices"
)

// Files holds *.cu and *.cuh.
//
//go:embed *.cu *.cuh
var Files embed.FS

// Main is the file to compile.
const Main = "all.cu"

var definition = regexp.MustCompile(`(?m)^GROUSE_KERNEL\((\w+)`)

// Names returns the names of all kernels, sorted.
func Names() []string {
	var names []string
	entries, err := Files.ReadDir(".")
	if err != nil {
		panic(err) // the files are part of the program
	}
	for _, e := range entries {
		data, err := Files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		for _, m := range definition.FindAllSubmatch(data, -1) {
			names = append(names, string(m[1]))
		}
	}
	slices.Sort(names)
	return names
}
