//go:build cuda && cgo

package gpu

import (
	"fmt"
	"unsafe"

	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// graph is a driver.Graph.
type graph struct {
	d    *Device
	exec unsafe.Pointer
}

// Capture records what f asks for instead of doing it. A product or a kernel that
// was never run before is loaded while the stream is captured, which not every
// version of the libraries allows: run once what is to be captured.
func (d *Device) Capture(f func()) (driver.Graph, error) {
	if d.within {
		d.misuse("Capture within Capture")
		return nil, d.Sync()
	}
	var err error
	d.wait(func() {
		if d.err == nil {
			if e := beginCapture(d.stream); e != nil {
				d.fail("Capture", e)
			}
		}
		d.capturing = d.err == nil
		err = d.err
	})
	if err != nil {
		return nil, err
	}
	d.within = true
	defer func() { d.within = false }() // f may panic
	f()
	g := &graph{d: d}
	d.wait(func() {
		d.capturing = false
		// The capture ends in any case, or the stream would be of no use.
		recorded, e := endCapture(d.stream)
		d.recent = d.recent[:0]
		if e == nil && d.err == nil {
			g.exec, e = instantiate(recorded)
		}
		if recorded != nil {
			if e2 := destroyGraph(recorded); e == nil {
				e = e2
			}
		}
		if e != nil {
			d.fail("Capture", fmt.Errorf("end: %w", e))
		}
		err = d.err
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// Launch repeats what was recorded.
func (g *graph) Launch() {
	g.d.do("graph", func() error { return launchGraph(g.exec, g.d.stream) })
}

// Free forgets it, when what was asked for before is done.
func (g *graph) Free() {
	g.d.do("Free of a graph", func() error {
		if g.exec == nil {
			return nil
		}
		exec := g.exec
		g.exec = nil
		return destroyExec(exec) // one that runs is destroyed when it is done
	})
}
