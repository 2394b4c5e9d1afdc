package natsbus_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/devserver/natsserver"
	"github.com/grouse-rl/grouse/internal/natsbus"
)

func start(t *testing.T, dir, listen string) *natsserver.Server {
	t.Helper()
	s, err := natsserver.Start(natsserver.Options{Dir: dir, Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func open(t *testing.T, opts natsbus.Options) *natsbus.Bus {
	t.Helper()
	b, err := natsbus.Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func publish(t *testing.T, b *natsbus.Bus, key string, payload []byte) grouse.BatchRef {
	t.Helper()
	ref, err := b.Publish(context.Background(), key, 8, payload)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func key(shard string) string { return natsbus.Key("run7", natsbus.Rollouts, "1-000003", shard) }

// wherever runs a test for each place that a payload may go to.
func wherever(t *testing.T, test func(t *testing.T, opts natsbus.Options, payload []byte)) {
	small, large := []byte("groups"), bytes.Repeat([]byte("0123456789abcdef"), 5<<16) // 5 MiB
	for name, c := range map[string]struct {
		shared  bool
		payload []byte
	}{"message": {false, small}, "file": {true, large}, "object": {false, large}} {
		t.Run(name, func(t *testing.T) {
			opts := natsbus.Options{InProcess: start(t, t.TempDir(), "")}
			if c.shared {
				opts.SharedDir = t.TempDir()
			}
			test(t, opts, c.payload)
		})
	}
}

func TestPublishAndFetch(t *testing.T) {
	wherever(t, func(t *testing.T, opts natsbus.Options, payload []byte) {
		var diverged []string
		opts.OnDivergence = func(key, _, _ string) { diverged = append(diverged, key) }
		b := open(t, opts)
		ctx := context.Background()
		ref := publish(t, b, key("w0-0000"), payload)
		if ref.Rows != 8 || ref.Bytes != int64(len(payload)) || ref.Key != key("w0-0000") {
			t.Errorf("reference %+v", ref)
		}
		got, err := b.Fetch(ctx, ref)
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("fetched %d bytes, %v", len(got), err)
		}
		if again := publish(t, b, ref.Key, payload); again != ref || diverged != nil {
			t.Errorf("the same again: %+v, diverged %v", again, diverged)
		}
		if other := publish(t, b, ref.Key, append([]byte("x"), payload...)); other != ref || len(diverged) != 1 {
			t.Errorf("other bytes under the same key: %+v, diverged %v; want the first, told once", other, diverged)
		}
		if got, err := b.Fetch(ctx, ref); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("after other bytes: %d bytes, %v", len(got), err)
		}

		keep := publish(t, b, natsbus.Key("run7", natsbus.Rollouts, "1-000004", "w0-0000"), payload)
		if err := b.Purge(ctx, "run7", "1-000003"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Fetch(ctx, ref); grouse.KindOf(err) != grouse.NotFound {
			t.Errorf("after purge: %v, want not_found", err)
		}
		if _, err := b.Fetch(ctx, keep); err != nil {
			t.Errorf("purge took another step: %v", err)
		}
		if back := publish(t, b, ref.Key, payload); back != ref { // within the server's duplicate window
			t.Errorf("published after a purge: %+v", back)
		}
		if got, err := b.Fetch(ctx, ref); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("published after a purge: %d bytes, %v", len(got), err)
		}
		if err := b.Delete(ctx, "run7"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Fetch(ctx, keep); grouse.KindOf(err) != grouse.NotFound {
			t.Errorf("after delete: %v, want not_found", err)
		}
	})
}

func TestWrongReferenceIsNotDecoded(t *testing.T) {
	wherever(t, func(t *testing.T, opts natsbus.Options, payload []byte) {
		b := open(t, opts)
		ref := publish(t, b, key("w0-0000"), payload)
		wrong := ref
		wrong.SHA256 = strings.Repeat("0", 64)
		if data, err := b.Fetch(context.Background(), wrong); data != nil || grouse.KindOf(err) != grouse.NotFound {
			t.Errorf("another SHA-256: %d bytes, %v; want none, not_found", len(data), err)
		}
		if _, err := b.Fetch(context.Background(), ref); err != nil {
			t.Errorf("the right reference after a wrong one: %v", err)
		}
	})
}

func TestDamagedFileIsDroppedAndMadeAgain(t *testing.T) {
	opts := natsbus.Options{InProcess: start(t, t.TempDir(), ""), SharedDir: t.TempDir()}
	b := open(t, opts)
	payload := bytes.Repeat([]byte("x"), 5<<20)
	ref := publish(t, b, key("w0-0000"), payload)
	files, _ := filepath.Glob(filepath.Join(opts.SharedDir, "run7", "*.arrow"))
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	damaged := bytes.Clone(payload)
	damaged[1000] ^= 1
	if err := os.WriteFile(files[0], damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Fetch(context.Background(), ref); grouse.KindOf(err) != grouse.NotFound {
		t.Fatalf("damaged file: %v, want not_found", err)
	}
	if again := publish(t, b, ref.Key, payload); again != ref {
		t.Errorf("made again: %+v, want %+v", again, ref)
	}
	if got, err := b.Fetch(context.Background(), ref); err != nil || !bytes.Equal(got, payload) {
		t.Errorf("made again: %d bytes, %v", len(got), err)
	}
}

// TestJetStreamDirectoryDeleted takes the whole store away while the server is
// down; the same connection then finds nothing, and can publish.
func TestJetStreamDirectoryDeleted(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "127.0.0.1:0")
	listen := strings.TrimPrefix(s.URL(), "nats://")
	b := open(t, natsbus.Options{URL: s.URL()})
	ref := publish(t, b, key("w0-0000"), []byte("groups"))
	s.Stop()
	s = start(t, dir, listen)
	if got, err := b.Fetch(context.Background(), ref); err != nil || string(got) != "groups" {
		t.Fatalf("after a restart: %q, %v", got, err)
	}
	s.Stop()
	if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	start(t, dir, listen)
	if _, err := b.Fetch(context.Background(), ref); grouse.KindOf(err) != grouse.NotFound {
		t.Fatalf("after the folder was deleted: %v, want not_found", err)
	}
	if again := publish(t, b, ref.Key, []byte("groups")); again != ref {
		t.Errorf("published again: %+v, want %+v", again, ref)
	}
	if got, err := b.Fetch(context.Background(), ref); err != nil || string(got) != "groups" {
		t.Errorf("published again: %q, %v", got, err)
	}
}

// TestRace publishes under one key from many sides: all get the same reference.
func TestRace(t *testing.T) {
	s := start(t, t.TempDir(), "")
	var wg sync.WaitGroup
	refs := make([]grouse.BatchRef, 8)
	for i := range refs {
		b := open(t, natsbus.Options{InProcess: s})
		wg.Add(1)
		go func() {
			defer wg.Done()
			ref, err := b.Publish(context.Background(), key("w0-0000"), i, []byte{byte(i)})
			if err != nil {
				t.Error(err)
			}
			refs[i] = ref
		}()
	}
	wg.Wait()
	for i, ref := range refs {
		if ref != refs[0] {
			t.Errorf("publisher %d got %+v, the first %+v", i, ref, refs[0])
		}
	}
}

func TestBadKeys(t *testing.T) {
	b := open(t, natsbus.Options{InProcess: start(t, t.TempDir(), "")})
	for _, bad := range []string{"", "a/b/c", "a/b/c/d/e", "run.x/rollouts/1/1", "run/rollouts/*/1", "run/rollouts/1/>", "run//1/1", "../x/1/1"} {
		if _, err := b.Publish(context.Background(), bad, 1, nil); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("key %q: %v, want invalid", bad, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	_, err := natsbus.Open(context.Background(), natsbus.Options{URL: "nats://127.0.0.1:1"})
	if grouse.KindOf(err) != grouse.Unavailable || grouse.FixOf(err) == "" {
		t.Errorf("no server: %v, fix %q; want unavailable with a fix", err, grouse.FixOf(err))
	}
	if _, err := natsbus.Open(context.Background(), natsbus.Options{}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("no address: %v, want invalid", err)
	}
}

// TestServerGone ends at the context's deadline, as unavailable.
func TestServerGone(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	b := open(t, natsbus.Options{URL: s.URL()})
	s.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := b.Publish(ctx, key("w0-0000"), 1, []byte("x")); grouse.KindOf(err) != grouse.Unavailable {
		t.Errorf("server gone: %v, want unavailable", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestTLSAndPassword connects as a cluster would: TLS on both sides and a user.
func TestTLSAndPassword(t *testing.T) {
	dir := t.TempDir()
	certificates(t, dir)
	path := func(name string) string { return filepath.Join(dir, name) }
	tc, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: path("cert.pem"), KeyFile: path("key.pem"), CaFile: path("ca.pem"), Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		TLSConfig: tc, TLSVerify: true, Username: "grouse", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server is not ready")
	}
	url := strings.Replace(s.ClientURL(), "nats://", "tls://", 1)
	good := natsbus.Options{URL: url, User: "grouse", Password: "secret", CAFile: path("ca.pem"), CertFile: path("cert.pem"), KeyFile: path("key.pem")}
	b := open(t, good)
	ref := publish(t, b, key("w0-0000"), []byte("groups"))
	if got, err := b.Fetch(context.Background(), ref); err != nil || string(got) != "groups" {
		t.Errorf("fetched %q, %v", got, err)
	}
	for name, change := range map[string]func(*natsbus.Options){
		"password":    func(o *natsbus.Options) { o.Password = "guess" },
		"authority":   func(o *natsbus.Options) { o.CAFile = "" },
		"certificate": func(o *natsbus.Options) { o.CertFile, o.KeyFile = "", "" },
	} {
		bad := good
		change(&bad)
		if _, err := natsbus.Open(context.Background(), bad); grouse.KindOf(err) != grouse.Unavailable {
			t.Errorf("without the right %s: %v, want unavailable", name, err)
		}
	}
}

// certificates writes ca.pem, and cert.pem and key.pem signed by it for 127.0.0.1.
func certificates(t *testing.T, dir string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	write("ca.pem", "CERTIFICATE", caDER)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &leafKey.PublicKey, caKey)
	must(err)
	write("cert.pem", "CERTIFICATE", leafDER)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	must(err)
	write("key.pem", "EC PRIVATE KEY", keyDER)
}

// TestManyRuns: a run's stream takes the space it uses, not a share of the disk
// that is set aside for it.
func TestManyRuns(t *testing.T) {
	b := open(t, natsbus.Options{InProcess: start(t, t.TempDir(), ""), Inline: 16})
	for i := range 60 {
		key := natsbus.Key(fmt.Sprintf("run-%d", i), natsbus.Rollouts, "1-000001", "w0")
		if _, err := b.Publish(t.Context(), key, 1, []byte("more than goes into a message")); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
	}
}
