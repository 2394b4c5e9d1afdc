// Package cudashim finds NVIDIA's libraries when the program runs, so that a
// binary built with the tag cuda needs none of them to start.
//
// gorgonia.org/cu links the CUDA driver and NVRTC, and its init ends the process
// where cuInit fails. With the tag cuda this package defines their functions
// instead (symbols/*.txt lists them, stubs_linux_amd64.S is made from the lists):
// each jumps to where Open found the real one, or to one that returns an error.
// cuInit itself does nothing; Open calls the real one. cuBLASLt and NCCL, which
// cu does not know, are reached in the same way by our own prototypes.
//
//	if _, err := cudashim.Open(cudashim.Driver); err != nil { ... } // says what was looked for, and where
//
// Without the tag there is only Find, which looks for the files.
//
// Whoever imports gorgonia.org/cu imports this package too: `-lcuda` and `-lnvrtc`
// are answered by the empty archives in lib/.
package cudashim

//go:generate go run ./gen
