package sandbox

import "github.com/grouse-rl/grouse"

// Kinds of sandboxes that New makes. KindHTTP is none of them: a service runs whole
// programs, see rewards/code.
const (
	KindNative = "native" // our own launcher
	KindBwrap  = "bwrap"  // bubblewrap
	KindNsjail = "nsjail" //
	KindGvisor = "gvisor" // runsc
	KindHTTP   = "http"   // a SandboxFusion service
)

// New makes a sandbox of a kind, and proves that it works by a program that does
// nothing. It never makes a weaker one instead.
func New(kind string, spec Spec) (Sandbox, error) {
	switch kind {
	case KindNative:
		n, err := NewNative(spec)
		if err != nil {
			return nil, err // not n: a nil pointer is no nil Sandbox
		}
		return n, nil
	case KindBwrap, KindNsjail, KindGvisor:
		e, err := newExternal(kind, spec)
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	return nil, grouse.Errorf(grouse.Invalid, "unknown sandbox %q", kind).WithFix("set sandbox to native, bwrap, nsjail, gvisor or http")
}
