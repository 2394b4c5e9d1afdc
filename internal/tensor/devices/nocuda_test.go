//go:build !cuda

package devices

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
)

func TestABuildWithoutCUDASaysSo(t *testing.T) {
	_, err := Open(CUDA, 0)
	if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(grouse.FixOf(err), "make cuda") || Check(CUDA) == nil {
		t.Errorf("%v; %s", err, grouse.FixOf(err))
	}
	if r := Describe(); r.Built || r.Usable || !strings.Contains(r.Fix, "make cuda") {
		t.Errorf("%+v", r)
	}
}
