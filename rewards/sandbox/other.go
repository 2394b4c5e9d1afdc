//go:build !linux || !(amd64 || arm64)

package sandbox

import (
	"runtime"

	"github.com/grouse-rl/grouse"
)

// NewNative says that there is no sandbox here.
func NewNative(Spec) (Sandbox, error) { return nil, nowhere() }

func nowhere() error {
	return grouse.Errorf(grouse.Unavailable, "no sandbox on %s/%s: ours needs Linux on amd64 or arm64", runtime.GOOS, runtime.GOARCH).
		WithFix("run the reward worker on Linux (a virtual machine will do), or set sandbox: http and the url of a SandboxFusion service")
}
