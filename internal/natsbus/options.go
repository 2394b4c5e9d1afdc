package natsbus

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/grouse-rl/grouse"
)

// Options say where NATS is and what the bus may use; zero is each one's default.
type Options struct {
	URL       string                                         // nats://host:port or tls://...; several by comma
	InProcess interface{ InProcessConn() (net.Conn, error) } // a server in this process, instead of URL

	CredsFile string // of a user: JWT and nkey seed
	NKeyFile  string // nkey seed
	User      string
	Password  string
	Token     string
	CAFile    string // PEM; the server's certificate is checked against it
	CertFile  string // PEM; ours, with KeyFile, for mutual TLS
	KeyFile   string

	SharedDir string        // folder that every role of the run can read and write; "": none
	Inline    int           // largest payload inside a message, bytes; 0: 4 MiB, or what the server takes if less
	MaxAge    time.Duration // older messages are dropped; 0: 7 days
	MaxBytes  int64         // the oldest messages of a stream are dropped over it, and the server reserves as much disk for it; 0: no limit
	Replicas  int           // of the streams, in a NATS cluster; 0: 1

	// OnDivergence is told that key was published again with other bytes than
	// those stored: a role is not deterministic. nil: nobody is.
	OnDivergence func(key, storedSHA256, newSHA256 string)
}

const (
	defaultInline   = 4 << 20
	headerRoom      = 4 << 10
	defaultMaxAge   = 7 * 24 * time.Hour
	defaultMaxBytes = -1 // a run drops its batches after each step
	defaultTimeout  = 30 * time.Second
)

// Open connects. Unavailable, with what to check, if no server answers.
func Open(ctx context.Context, opts Options) (*Bus, error) {
	nopts := []nats.Option{
		nats.Name("grouse"), nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond),
		nats.Timeout(5 * time.Second), nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
	}
	url := opts.URL
	switch {
	case opts.InProcess != nil:
		nopts, url = append(nopts, nats.InProcessServer(opts.InProcess)), nats.DefaultURL
	case url == "":
		return nil, grouse.Errorf(grouse.Invalid, "no NATS address").WithFix("name one with --nats nats://host:4222")
	}
	if opts.CredsFile != "" {
		nopts = append(nopts, nats.UserCredentials(opts.CredsFile))
	}
	if opts.NKeyFile != "" {
		o, err := nats.NkeyOptionFromSeed(opts.NKeyFile)
		if err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "nkey seed file %s: %w", opts.NKeyFile, err)
		}
		nopts = append(nopts, o)
	}
	if opts.User != "" {
		nopts = append(nopts, nats.UserInfo(opts.User, opts.Password))
	}
	if opts.Token != "" {
		nopts = append(nopts, nats.Token(opts.Token))
	}
	if opts.CAFile != "" {
		nopts = append(nopts, nats.RootCAs(opts.CAFile))
	}
	if opts.CertFile != "" {
		nopts = append(nopts, nats.ClientCert(opts.CertFile, opts.KeyFile))
	}
	nc, err := nats.Connect(url, nopts...)
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "connect to NATS at %s: %w", url, err).
			WithFix("check that the server runs and that address, credentials and certificates are its own")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to JetStream: %w", err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := js.AccountInfo(ctx); err != nil {
		nc.Close()
		return nil, grouse.Errorf(grouse.Unavailable, "NATS at %s has no JetStream for us: %w", url, err).
			WithFix("start the server with -js, and give this user a JetStream limit")
	}
	b := &Bus{nc: nc, js: js, opts: opts, ready: map[string]bool{}}
	b.inline = opts.Inline
	if b.inline == 0 {
		b.inline = defaultInline
	}
	if most := int(nc.MaxPayload()) - headerRoom; b.inline > most {
		b.inline = most
	}
	return b, nil
}

// bounded gives ctx a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, defaultTimeout)
}
