package devserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"go.temporal.io/server/temporal"

	"github.com/grouse-rl/grouse/internal/devserver/natsserver"
)

// Server is a running server.
type Server struct {
	opts     Options
	info     Info
	lock     *os.File
	natsLog  *natsLog
	nats     *natsserver.Server
	temporal temporal.Server
	ui       *ui
	stop     sync.Once
	stopErr  error
}

// Start starts everything and returns when all of it answers; ctx ends the
// waiting, not the server. Errors: Unavailable if another process uses the
// folder (naming it) or no port is free, Invalid if the database there belongs
// to another version.
func Start(ctx context.Context, opts Options) (s *Server, err error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	if opts.Dir, err = filepath.Abs(opts.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("start the servers: %w", err)
	}
	s = &Server{opts: opts}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
			s = nil
		}
	}()
	if s.lock, err = acquire(opts.Dir); err != nil {
		return s, err
	}
	if err := prepareLogs(opts.Dir); err != nil {
		return s, fmt.Errorf("start the servers: %w", err)
	}
	unlock := lockPorts(ctx)
	defer unlock()
	if err := s.startNATS(); err != nil {
		return s, err
	}
	taken := map[int]bool{}
	port, err := firstFree(opts.TemporalPort, taken)
	if err != nil {
		return s, err
	}
	inner, err := anyFree(3, taken)
	if err != nil {
		return s, err
	}
	mark, err := prepareDatabase(opts.Dir, opts.Namespace)
	if err != nil {
		return s, err
	}
	if s.temporal, err = startTemporal(ctx, opts.Dir, mark, port, inner, opts.Namespace); err != nil {
		return s, err
	}
	s.info = Info{PID: os.Getpid(), Temporal: fmt.Sprintf("%s:%d", loopback, port), Namespace: opts.Namespace, NATS: s.nats.URL()}
	if !opts.NoUI {
		uiPort, err := firstFree(opts.UIPort, taken)
		if err != nil {
			return s, err
		}
		if s.ui, err = startUI(ctx, s.info.Temporal, opts.Namespace, uiPort); err != nil {
			return s, err
		}
		s.info.UI = fmt.Sprintf("http://%s:%d", loopback, uiPort)
	}
	if err := writeJSON(opts.Dir, infoFile, s.info); err != nil {
		return s, fmt.Errorf("start the servers: %w", err)
	}
	return s, nil
}

func (s *Server) startNATS() (err error) {
	if s.natsLog, err = openNATSLog(s.opts.Dir); err != nil {
		return fmt.Errorf("start nats: %w", err)
	}
	o := natsserver.Options{Dir: filepath.Join(s.opts.Dir, "nats"), Log: s.natsLog}
	if s.opts.NATSListen {
		port, err := firstFree(s.opts.NATSPort, map[int]bool{})
		if err != nil {
			return err
		}
		o.Listen = fmt.Sprintf("%s:%d", loopback, port)
	}
	s.nats, err = natsserver.Start(o)
	return err
}

// Info says how to reach the server.
func (s *Server) Info() Info { return s.info }

// InProcessConn connects to NATS without a port: natsbus.Options.InProcess.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.InProcessConn() }

// Stop ends everything that runs, in the order that loses nothing, and gives
// the folder back. More than one call is one.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		var errs []error
		if s.info.PID != 0 {
			if err := os.Remove(filepath.Join(s.opts.Dir, infoFile)); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		if s.ui != nil {
			s.ui.stop()
		}
		if s.temporal != nil {
			errs = append(errs, s.temporal.Stop())
		}
		if s.nats != nil {
			s.nats.Stop()
		}
		if s.natsLog != nil {
			errs = append(errs, s.natsLog.file.Close())
		}
		if s.lock != nil {
			errs = append(errs, s.lock.Close()) // which ends the flock
		}
		s.stopErr = errors.Join(errs...)
	})
	return s.stopErr
}
