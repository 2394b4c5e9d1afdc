// Package http is a reward behind an HTTP endpoint: one POST for each group, with the
// JSON of package jsonapi in both directions.
//
// A busy or broken endpoint (429, 5xx, a connection that fails) is a retryable error,
// a 4xx is not; none of them is a score. Redirects of POST (307, 308) are followed up
// to three times, and never to a private address unless that is allowed: a judge on
// the internet must not reach into the network that trains. With a secret every
// request is signed.
package http

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
)

// Headers of a signed request: the signature is the HMAC-SHA256 of the timestamp, a
// dot and the body, in hex.
const (
	TimestampHeader = "X-Grouse-Timestamp"
	SignatureHeader = "X-Grouse-Signature"
)

// Bounds of an exchange.
const (
	maxAnswer    = 4 << 20
	maxRedirects = 3
	dialTimeout  = 10 * time.Second
)

// Options are the parameters of http.
type Options struct {
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`                 // $NAME in a value is an environment variable
	SecretEnv string            `json:"secret_env"`              // environment variable with the secret that requests are signed with; "": unsigned
	Private   bool              `json:"allow_private_redirects"` // redirects may lead to private addresses
	Clock     func() time.Time  `json:"-"`                       // of the timestamp; nil: time.Now
}

// Endpoint is a reward behind a URL.
type Endpoint struct {
	o              Options
	secret         []byte
	direct, follow *nethttp.Client
}

// New checks the URL and reads the secret. It connects to nothing yet.
func New(o Options) (*Endpoint, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, grouse.Errorf(grouse.Invalid, "url %q", o.URL).WithFix("set url to http://HOST:PORT/PATH or https://...")
	}
	e := &Endpoint{o: o, direct: client(nil), follow: client(refusePrivate)}
	if o.Private {
		e.follow = e.direct
	}
	if e.o.Clock == nil {
		e.o.Clock = time.Now
	}
	if o.SecretEnv != "" {
		if e.secret = []byte(os.Getenv(o.SecretEnv)); len(e.secret) == 0 {
			return nil, grouse.Errorf(grouse.Invalid, "the environment variable %s is not set", o.SecretEnv).WithFix("export %s, or remove secret_env", o.SecretEnv)
		}
	}
	return e, nil
}

// client follows no redirect by itself. control may refuse an address once it is
// resolved, so that a name cannot hide it.
func client(control func(network, address string, c syscall.RawConn) error) *nethttp.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: control}
	return &nethttp.Client{
		Transport: &nethttp.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse },
	}
}

var errPrivate = errors.New("a redirect leads to a private address")

func refusePrivate(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsMulticast() || ip.IsUnspecified() || sharedAddress.Contains(ip) {
		return fmt.Errorf("%w: %s", errPrivate, host)
	}
	return nil
}

// sharedAddress is RFC 6598's space, private in all but name.
var sharedAddress = &net.IPNet{IP: net.IPv4(100, 64, 0, 0).To4(), Mask: net.CIDRMask(10, 32)}

// Judge posts the group.
func (e *Endpoint) Judge(ctx context.Context, g *rewards.Group) ([]rewards.Result, error) {
	if err := ctx.Err(); err != nil || len(g.Samples) == 0 {
		return nil, err
	}
	body, err := jsonapi.Encode(g)
	if err != nil {
		return nil, err
	}
	target, via := e.o.URL, e.direct
	for range maxRedirects + 1 {
		answer, location, err := e.post(ctx, via, target, body)
		if err != nil {
			return nil, err
		}
		if location == "" {
			return jsonapi.Decode(answer, len(g.Samples))
		}
		target, via = location, e.follow
	}
	return nil, rewards.Failf(grouse.Errored, "%s redirects more than %d times", e.o.URL, maxRedirects)
}

// post sends the body once; location is where a redirect leads.
func (e *Endpoint) post(ctx context.Context, via *nethttp.Client, target string, body []byte) (answer []byte, location string, err error) {
	req, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, "", rewards.Fail(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if target == e.o.URL { // what is meant for one host is not told to another
		for k, v := range e.o.Headers {
			req.Header.Set(k, os.ExpandEnv(v))
		}
	}
	if e.secret != nil {
		stamp := strconv.FormatInt(e.o.Clock().Unix(), 10)
		req.Header.Set(TimestampHeader, stamp)
		req.Header.Set(SignatureHeader, Sign(e.secret, stamp, body))
	}
	resp, err := via.Do(req)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			return nil, "", ctx.Err()
		case errors.Is(err, errPrivate):
			return nil, "", rewards.Fail(grouse.Errorf(grouse.Invalid, "%w", err).WithFix("set allow_private_redirects: true if that is meant"))
		}
		return nil, "", rewards.TryAgain(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, "", ctx.Err()
	case err != nil:
		return nil, "", rewards.TryAgain(fmt.Errorf("read the answer of %s: %w", target, err))
	case len(data) > maxAnswer:
		return nil, "", rewards.Failf(grouse.BadOutput, "the answer of %s is longer than %d bytes", target, maxAnswer)
	}
	switch code := resp.StatusCode; {
	case code == nethttp.StatusOK:
		return data, "", nil
	case code == nethttp.StatusTemporaryRedirect || code == nethttp.StatusPermanentRedirect:
		to, err := resp.Location()
		if err != nil {
			return nil, "", rewards.Failf(grouse.Errored, "%s redirects to nowhere: %w", target, err)
		}
		return nil, to.String(), nil
	case code == nethttp.StatusTooManyRequests || code == nethttp.StatusRequestTimeout || code >= 500:
		return nil, "", rewards.TryAgain(fmt.Errorf("%s answers %s: %s", target, resp.Status, short(data)))
	}
	return nil, "", rewards.Failf(grouse.Errored, "%s answers %s: %s", target, resp.Status, short(data))
}

// Sign returns the signature of a body at a time (Unix seconds, decimal).
func Sign(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func short(data []byte) string {
	const most = 200
	if len(data) > most {
		data = data[:most]
	}
	return fmt.Sprintf("%q", data)
}

// Close closes idle connections.
func (e *Endpoint) Close() error {
	e.direct.CloseIdleConnections()
	e.follow.CloseIdleConnections()
	return nil
}

var _ rewards.Reward = (*Endpoint)(nil)

// NewReward makes the reward http from a recipe's parameters.
func NewReward(params map[string]any) (rewards.Reward, error) {
	var o Options
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	return New(o)
}
