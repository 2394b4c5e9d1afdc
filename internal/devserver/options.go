package devserver

import (
	"github.com/grouse-rl/grouse"
)

// Options are the settings of a server; zero is the default of each.
type Options struct {
	Dir          string // folder of its state; made if missing. Required.
	Namespace    string // made if missing; "": default
	TemporalPort int    // first port that is tried; 0: 7233
	UIPort       int    // first port that is tried; 0: 8233
	NoUI         bool
	NATSListen   bool // also listen on TCP, for workers in other processes
	NATSPort     int  // first port that is tried with NATSListen; 0: 4222
}

// portSteps is how many ports are tried, one after the other.
const portSteps = 100

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return grouse.Errorf(grouse.Invalid, "devserver: no folder for its state")
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	for _, p := range []struct {
		port *int
		dflt int
		name string
	}{{&o.TemporalPort, 7233, "Temporal"}, {&o.UIPort, 8233, "Web UI"}, {&o.NATSPort, 4222, "NATS"}} {
		if *p.port == 0 {
			*p.port = p.dflt
		}
		if *p.port < 1 || *p.port > 65535 {
			return grouse.Errorf(grouse.Invalid, "%s port %d is not between 1 and 65535", p.name, *p.port)
		}
	}
	return nil
}
