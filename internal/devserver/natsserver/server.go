// Package natsserver is the nats-server inside devserver: JetStream on a file
// store that syncs every write, without a TCP port unless one is asked for.
// It is a package of its own so that what needs only a bus need not compile
// Temporal's server.
package natsserver

import (
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/grouse-rl/grouse"
)

// Options say where the server keeps its files and whether it listens.
type Options struct {
	Dir    string        // JetStream's folder; made if missing
	Listen string        // host:port of a TCP port; "": none, in-process connections only
	Log    server.Logger // nil: quiet
}

// Server is a running nats-server.
type Server struct{ s *server.Server }

// maxPayload is the largest message the server takes: the bus sends at most
// 4 MiB inline, with room for headers.
const maxPayload = 8 << 20

// Start starts the server and returns when it takes connections.
func Start(opts Options) (*Server, error) {
	o := &server.Options{
		ServerName:             "grouse",
		DontListen:             opts.Listen == "",
		JetStream:              true,
		StoreDir:               opts.Dir,
		NoSigs:                 true,
		NoLog:                  opts.Log == nil,
		MaxPayload:             maxPayload,
		DisableJetStreamBanner: true,
	}
	if opts.Listen != "" {
		addr, err := net.ResolveTCPAddr("tcp", opts.Listen)
		if err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "nats address %q: %w", opts.Listen, err).WithFix("write it as 127.0.0.1:4222")
		}
		if !addr.IP.IsLoopback() {
			return nil, grouse.Errorf(grouse.Invalid, "nats would listen on %s, which other machines can reach, without a password", opts.Listen).
				WithFix("listen on 127.0.0.1, or run a nats-server of your own with TLS and credentials and name it with --nats")
		}
		o.Host, o.Port = addr.IP.String(), addr.Port
		if o.Port == 0 { // to this server that means 4222
			o.Port = server.RANDOM_PORT
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("start nats: %w", err)
	}
	if opts.Log != nil {
		s.SetLogger(opts.Log, false, false)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		s.Shutdown()
		return nil, grouse.Errorf(grouse.Unavailable, "nats was not ready after 20 s, files in %s", opts.Dir).
			WithFix("see the log; if its files are damaged delete that folder: a run goes on without it")
	}
	return &Server{s: s}, nil
}

// InProcessConn connects without a port.
func (n *Server) InProcessConn() (net.Conn, error) { return n.s.InProcessConn() }

// URL returns the address of the TCP port, "" without one.
func (n *Server) URL() string {
	if a, ok := n.s.Addr().(*net.TCPAddr); ok && a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// Stop ends the server and waits for it.
func (n *Server) Stop() {
	n.s.Shutdown()
	n.s.WaitForShutdown()
}
