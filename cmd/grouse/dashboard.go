package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/dashboard"
)

// dashboardPort is the first port that is tried.
const dashboardPort = 8320

type dashboardCmd struct {
	Port int `help:"First port that is tried." default:"8320"`
}

// Help is shown by `grouse dashboard --help`.
func (c *dashboardCmd) Help() string {
	return `The page that grouse run and grouse serve also offer: curves, and every completion token by
token. It reads the runs' folders only and listens on this machine only; from another one:

  ssh -L 8320:127.0.0.1:8320 HOST`
}

// Run serves the page until it is interrupted.
func (c *dashboardCmd) Run(a *app) error {
	d, err := startDashboard(a.home, c.Port)
	if err != nil {
		return err
	}
	defer d.stop()
	fmt.Fprintf(a.stdout, "dashboard %s\n", d.url)
	wait(a)
	return nil
}

// page is a dashboard being served.
type page struct {
	url    string // http://127.0.0.1:PORT/
	server *http.Server
}

// startDashboard serves the page of home's runs on the first free port.
func startDashboard(home string, port int) (*page, error) {
	const tries = 100
	for p := port; p < port+tries && p <= 65535; p++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		d := &page{url: fmt.Sprintf("http://%s/", l.Addr()), server: &http.Server{Handler: dashboard.Handler(home), ReadHeaderTimeout: 10 * time.Second}}
		go func() {
			if err := d.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				l.Close() // the run goes on without its page
			}
		}()
		return d, nil
	}
	return nil, grouse.Errorf(grouse.Unavailable, "no port from %d to %d is free on 127.0.0.1", port, port+tries-1).WithFix("name another first port, or end what listens there")
}

func (p *page) stop() {
	if p != nil {
		_ = p.server.Close()
	}
}
