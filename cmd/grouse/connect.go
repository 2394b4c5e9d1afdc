package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/devserver"
	"github.com/grouse-rl/grouse/internal/natsbus"
	"github.com/grouse-rl/grouse/internal/worker"
)

// serverFlags say which Temporal and NATS to use. With none, the server of
// `grouse serve` on this machine; without one, one inside this process.
type serverFlags struct {
	Temporal       string `help:"Temporal frontend, host:port." env:"GROUSE_TEMPORAL" placeholder:"ADDR" group:"servers"`
	Namespace      string `help:"Temporal namespace." env:"GROUSE_NAMESPACE" default:"default" group:"servers"`
	TemporalAPIKey string `help:"API key, or file:PATH, or env:NAME." env:"GROUSE_TEMPORAL_API_KEY" placeholder:"KEY" group:"servers"`
	TLSCert        string `name:"temporal-tls-cert" help:"Client certificate (PEM)." type:"existingfile" placeholder:"FILE" group:"servers"`
	TLSKey         string `name:"temporal-tls-key" help:"Its key (PEM)." type:"existingfile" placeholder:"FILE" group:"servers"`
	TLSCA          string `name:"temporal-tls-ca" help:"Authority of the server's certificate (PEM)." type:"existingfile" placeholder:"FILE" group:"servers"`
	TLS            bool   `name:"temporal-tls" help:"Use TLS with the system's authorities." group:"servers"`
	NATS           string `name:"nats" help:"NATS, nats://host:port." env:"GROUSE_NATS" placeholder:"URL" group:"servers"`
	NATSCreds      string `name:"nats-creds" help:"NATS credentials file." env:"GROUSE_NATS_CREDS" type:"existingfile" placeholder:"FILE" group:"servers"`
	NATSCA         string `name:"nats-ca" help:"Authority of the NATS server's certificate (PEM)." type:"existingfile" placeholder:"FILE" group:"servers"`
	NATSUser       string `name:"nats-user" env:"GROUSE_NATS_USER" help:"NATS user." placeholder:"NAME" group:"servers"`
	NATSPassword   string `name:"nats-password" env:"GROUSE_NATS_PASSWORD" help:"NATS password, or file:PATH, or env:NAME." placeholder:"SECRET" group:"servers"`
}

// servers is a connection to Temporal and NATS.
type servers struct {
	temporal client.Client
	bus      *natsbus.Bus
	info     devserver.Info
	own      *devserver.Server // nil: somebody else's
	page     *page             // nil: none is served here
	search   bool              // the namespace has grouse's search attributes
}

func (s *servers) close() {
	s.page.stop()
	if s.temporal != nil {
		s.temporal.Close()
	}
	if s.bus != nil {
		s.bus.Close()
	}
	if s.own != nil {
		_ = s.own.Stop()
	}
}

// secret resolves file: and env: references.
func secret(ref string) (string, error) {
	switch {
	case len(ref) > 5 && ref[:5] == "file:":
		raw, err := os.ReadFile(ref[5:])
		if err != nil {
			return "", grouse.Errorf(grouse.Invalid, "secret: %w", err)
		}
		for len(raw) > 0 && (raw[len(raw)-1] == '\n' || raw[len(raw)-1] == '\r') {
			raw = raw[:len(raw)-1]
		}
		return string(raw), nil
	case len(ref) > 4 && ref[:4] == "env:":
		return os.Getenv(ref[4:]), nil
	}
	return ref, nil
}

func (f *serverFlags) external() bool { return f.Temporal != "" || f.NATS != "" }

// connect finds servers or starts them. embed says whether they may be started
// in this process.
func (f *serverFlags) connect(a *app, embed bool) (*servers, error) {
	if f.external() {
		if f.Temporal == "" || f.NATS == "" {
			return nil, grouse.Errorf(grouse.Invalid, "only one of --temporal and --nats is given").WithFix("give both, or neither")
		}
		return f.dial(a, devserver.Info{Temporal: f.Temporal, Namespace: f.Namespace, NATS: f.NATS})
	}
	info, err := devserver.Running(a.home)
	if err == nil {
		if info.NATS == "" {
			return nil, grouse.Errorf(grouse.Unavailable, "process %d runs on %s with servers of its own", info.PID, a.home).
				WithFix("watch it with `grouse watch NAME`, or give this one another --home; `grouse serve` lets several share")
		}
		return f.dial(a, info)
	}
	if grouse.KindOf(err) != grouse.NotFound || !embed {
		return nil, err
	}
	s := &servers{search: true}
	if s.own, err = devserver.Start(a.ctx, devserver.Options{Dir: a.home}); err != nil {
		return nil, err
	}
	s.info = s.own.Info()
	if s.bus, err = natsbus.Open(a.ctx, natsbus.Options{InProcess: s.own, SharedDir: filepath.Join(a.home, "blobs")}); err == nil {
		s.temporal, err = client.Dial(client.Options{HostPort: s.info.Temporal, Namespace: s.info.Namespace, Logger: quiet(a.home)})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// dial connects to servers that run elsewhere.
func (f *serverFlags) dial(a *app, info devserver.Info) (*servers, error) {
	s := &servers{info: info}
	opts := client.Options{HostPort: info.Temporal, Namespace: info.Namespace, Logger: quiet(a.home)}
	if err := f.secure(&opts); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, 15*time.Second)
	defer cancel()
	var err error
	if s.temporal, err = client.DialContext(ctx, opts); err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "Temporal at %s does not answer: %w", info.Temporal, err).WithFix("check --temporal, the namespace and TLS")
	}
	password, err := secret(f.NATSPassword)
	if err == nil {
		s.bus, err = natsbus.Open(ctx, natsbus.Options{URL: info.NATS, CredsFile: f.NATSCreds, CAFile: f.NATSCA, User: f.NATSUser, Password: password})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	err = devserver.EnsureSearchAttributes(ctx, s.temporal.OperatorService(), info.Namespace)
	if s.search = err == nil; !s.search {
		fmt.Fprintf(a.stderr, "grouse: the namespace lacks grouse's search attributes, the run goes on without: %v\n", err)
	}
	return s, nil
}

func (f *serverFlags) secure(o *client.Options) error {
	key, err := secret(f.TemporalAPIKey)
	if err != nil {
		return err
	}
	if key != "" {
		o.Credentials = client.NewAPIKeyStaticCredentials(key)
	}
	if !f.TLS && f.TLSCert == "" && f.TLSCA == "" && key == "" {
		return nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(f.TLSCert, f.TLSKey)
		if err != nil {
			return grouse.Errorf(grouse.Invalid, "client certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if f.TLSCA != "" {
		pem, err := os.ReadFile(f.TLSCA)
		if err != nil {
			return grouse.Errorf(grouse.Invalid, "authority: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return grouse.Errorf(grouse.Invalid, "authority %s: no certificate in it", f.TLSCA)
		}
	}
	o.ConnectionOptions.TLS = conf
	return nil
}

// host makes the workers of this process.
func (s *servers) host(a *app, listen func(activities.Event)) *worker.Host {
	return worker.New(worker.Options{Home: a.home, Temporal: s.temporal, Bus: s.bus, Device: a.backend, Rewards: worker.Rewards(a.home, s.temporal), Share: s.own == nil, Listen: listen})
}

// quiet sends the SDK's log to a file: the terminal belongs to the run.
func quiet(home string) sdklog.Logger {
	path := filepath.Join(home, "logs", "sdk.log")
	var w io.Writer = io.Discard
	if errors.Join(os.MkdirAll(filepath.Dir(path), 0o755)) == nil {
		if f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err == nil {
			w = f
		}
	}
	return sdklog.NewStructuredLogger(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo})))
}
