package natsbus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/grouse-rl/grouse"
)

// Headers of a message.
const (
	headerSHA256 = "Grouse-Sha256" // of the payload, hex
	headerRows   = "Grouse-Rows"
	headerBytes  = "Grouse-Bytes"
	headerWhere  = "Grouse-Where" // inline, file or object
)

const (
	whereInline = "inline"
	whereFile   = "file"
	whereObject = "object"
)

// attemptTimeout is how long one request waits for its answer.
const attemptTimeout = 3 * time.Second

// Bus is a connection. It may be used by several goroutines.
type Bus struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	opts   Options
	inline int // most bytes inside a message

	mu    sync.Mutex
	ready map[string]bool // runs whose stream was seen
}

// Publish stores payload under key and returns its reference; rows is what the
// reference says. If the key is taken the stored reference is returned and
// nothing is written. Unavailable if the server does not answer in time.
func (b *Bus) Publish(ctx context.Context, key string, rows int, payload []byte) (grouse.BatchRef, error) {
	p, err := parse(key)
	if err != nil {
		return grouse.BatchRef{}, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	sum := sha256.Sum256(payload)
	ref := grouse.BatchRef{Key: key, SHA256: hex.EncodeToString(sum[:]), Rows: rows, Bytes: int64(len(payload))}
	if stored, err := b.stored(ctx, p); err == nil {
		return b.first(stored, ref), nil
	} else if grouse.KindOf(err) != grouse.NotFound {
		return grouse.BatchRef{}, err
	}
	msg := &nats.Msg{Subject: p.subject(), Data: payload, Header: nats.Header{
		headerSHA256: {ref.SHA256}, headerRows: {strconv.Itoa(rows)}, headerBytes: {strconv.FormatInt(ref.Bytes, 10)}, headerWhere: {whereInline},
	}}
	if len(payload) > b.inline {
		where, err := b.putBulk(ctx, p, ref, payload)
		if err != nil {
			return grouse.BatchRef{}, err
		}
		msg.Header.Set(headerWhere, where)
		if msg.Data, err = json.Marshal(ref); err != nil {
			return grouse.BatchRef{}, fmt.Errorf("publish %s: %w", key, err)
		}
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithMsgID(key)}
	for attempt := 0; ; attempt++ {
		if err := b.ensureStream(ctx, p.run); err != nil {
			return grouse.BatchRef{}, err
		}
		try, cancel := context.WithTimeout(ctx, attemptTimeout)
		ack, err := b.js.PublishMsg(try, msg, opts...)
		cancel()
		if err == nil && !ack.Duplicate {
			return ref, nil
		}
		if stored, err := b.stored(ctx, p); err == nil { // somebody was faster, or our acknowledgement was lost
			return b.first(stored, ref), nil
		}
		if err == nil { // the server remembers the ID of a message that was dropped since: go without
			msg.Header.Del(jetstream.MsgIDHeader)
			opts = opts[:1]
			continue
		}
		b.forget(p.run)
		if attempt >= 3 || ctx.Err() != nil {
			return grouse.BatchRef{}, unavailable("publish "+key, err)
		}
	}
}

// first returns the reference that was stored first and tells of a divergence.
func (b *Bus) first(stored, now grouse.BatchRef) grouse.BatchRef {
	if stored.SHA256 != now.SHA256 && b.opts.OnDivergence != nil {
		b.opts.OnDivergence(now.Key, stored.SHA256, now.SHA256)
	}
	return stored
}

// Lookup returns the reference of what is stored under key, NotFound if nothing is.
func (b *Bus) Lookup(ctx context.Context, key string) (grouse.BatchRef, error) {
	p, err := parse(key)
	if err != nil {
		return grouse.BatchRef{}, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	return b.stored(ctx, p)
}

// Fetch returns the bytes that ref names, after checking length and SHA-256.
// NotFound if they are gone or damaged (what was damaged is removed, so that it
// can be published again).
func (b *Bus) Fetch(ctx context.Context, ref grouse.BatchRef) ([]byte, error) {
	p, err := parse(ref.Key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	where, data, seq := whereFile, []byte(nil), uint64(0)
	msg, err := b.message(ctx, p)
	switch {
	case err == nil:
		if got := msg.Header.Get(headerSHA256); got != ref.SHA256 {
			return nil, grouse.Errorf(grouse.NotFound, "batch %s: what is stored has SHA-256 %s, want %s", ref.Key, got, ref.SHA256).
				WithFix("nothing: the batch is made again")
		}
		where, data, seq = msg.Header.Get(headerWhere), msg.Data, msg.Sequence
	case grouse.KindOf(err) != grouse.NotFound || b.opts.SharedDir == "":
		return nil, err
	}
	if where != whereInline {
		if data, err = b.getBulk(ctx, p, ref, where); err != nil {
			if grouse.KindOf(err) == grouse.NotFound && seq != 0 {
				err = errors.Join(err, b.remove(ctx, p.run, seq))
			}
			return nil, err
		}
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != ref.SHA256 || int64(len(data)) != ref.Bytes {
		err := grouse.Errorf(grouse.NotFound, "batch %s: %d bytes with SHA-256 %s came back, want %d with %s: dropped", ref.Key, len(data), got, ref.Bytes, ref.SHA256).
			WithFix("nothing: the batch is made again")
		b.removeBulk(ctx, p, ref, where)
		if seq != 0 {
			return nil, errors.Join(err, b.remove(ctx, p.run, seq))
		}
		return nil, err
	}
	return data, nil
}

// Purge drops what was published for a step of a run. It is not an error if
// there is nothing.
func (b *Bus) Purge(ctx context.Context, run, step string) error {
	p, err := parse(Key(run, Rollouts, step, "x"))
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, streamName(run))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject("grouse."+run+".*."+step+".>"))
	}
	if err != nil {
		return unavailable("purge "+run+"/"+step, err)
	}
	return b.purgeBulk(ctx, p)
}

// Delete drops everything of a run.
func (b *Bus) Delete(ctx context.Context, run string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	b.forget(run)
	err := b.js.DeleteStream(ctx, streamName(run))
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return unavailable("delete the stream of "+run, err)
	}
	return b.deleteBulk(ctx, run)
}

// Close ends the connection.
func (b *Bus) Close() { b.nc.Close() }

// stored returns the reference of what is stored under a key.
func (b *Bus) stored(ctx context.Context, p parts) (grouse.BatchRef, error) {
	msg, err := b.message(ctx, p)
	if err != nil {
		return grouse.BatchRef{}, err
	}
	rows, err1 := strconv.Atoi(msg.Header.Get(headerRows))
	size, err2 := strconv.ParseInt(msg.Header.Get(headerBytes), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return grouse.BatchRef{}, grouse.Errorf(grouse.Corrupt, "message %s: %w", p.subject(), err).
			WithFix("somebody else publishes under grouse.>: give grouse a NATS account of its own")
	}
	return grouse.BatchRef{Key: Key(p.run, p.kind, p.step, p.shard), SHA256: msg.Header.Get(headerSHA256), Rows: rows, Bytes: size}, nil
}

func (b *Bus) message(ctx context.Context, p parts) (*jetstream.RawStreamMsg, error) {
	if err := b.ensureStream(ctx, p.run); err != nil {
		return nil, err
	}
	var msg *jetstream.RawStreamMsg
	err := attempts(ctx, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, streamName(p.run))
		if err == nil {
			msg, err = stream.GetLastMsgForSubject(ctx, p.subject())
		}
		return err
	})
	if err == nil {
		return msg, nil
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			b.forget(p.run)
		}
		return nil, grouse.Errorf(grouse.NotFound, "batch %s is not in JetStream", Key(p.run, p.kind, p.step, p.shard)).
			WithFix("nothing: the batch is made again")
	}
	return nil, unavailable("get "+p.subject(), err)
}

func (b *Bus) remove(ctx context.Context, run string, seq uint64) error {
	stream, err := b.js.Stream(ctx, streamName(run))
	if err == nil {
		err = stream.DeleteMsg(ctx, seq)
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}

// ensureStream makes the run's stream unless this bus has seen it.
func (b *Bus) ensureStream(ctx context.Context, run string) error {
	b.mu.Lock()
	seen := b.ready[run]
	b.mu.Unlock()
	if seen {
		return nil
	}
	cfg := jetstream.StreamConfig{
		Name: streamName(run), Description: "rollouts and scores of a grouse run", Subjects: []string{"grouse." + run + ".>"},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxMsgsPerSubject: 1, MaxAge: orDefault(b.opts.MaxAge, defaultMaxAge), MaxBytes: orDefault(b.opts.MaxBytes, defaultMaxBytes),
		Replicas: orDefault(b.opts.Replicas, 1), AllowDirect: true,
	}
	err := attempts(ctx, func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateStream(ctx, cfg)
		return err
	})
	if err != nil {
		return unavailable("make the stream of "+run, err)
	}
	b.mu.Lock()
	b.ready[run] = true
	b.mu.Unlock()
	return nil
}

// attempts repeats a small request that got no answer, as happens when the
// server goes down under it, or that the server could not serve just now, until
// ctx ends.
func attempts(ctx context.Context, request func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := request(try)
		cancel()
		again := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || storeBusy(err)
		if !again || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// storeBusy reports whether a stream's folder could not be made: the server may
// still be removing the one of a stream that was deleted a moment ago.
func storeBusy(err error) bool {
	const streamStoreFailed = 10049
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == streamStoreFailed
}

func (b *Bus) forget(run string) {
	b.mu.Lock()
	delete(b.ready, run)
	b.mu.Unlock()
}

func orDefault[T comparable](v, dflt T) T {
	var zero T
	if v == zero {
		return dflt
	}
	return v
}

func unavailable(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return grouse.Errorf(grouse.Unavailable, "%s: %w", what, err).
		WithFix("check the NATS server, its disk space and its log; the work is tried again by itself")
}
