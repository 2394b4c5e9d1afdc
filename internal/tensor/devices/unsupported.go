//go:build cuda && !(cgo && linux && amd64)

package devices

// The tag cuda wants cgo on linux/amd64: CGO_ENABLED=1 and gcc.
var _ = the_tag_cuda_needs_cgo_on_linux_amd64
