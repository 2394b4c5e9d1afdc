package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/grouse-rl/grouse"
)

// DefaultSegmentBytes is where a segment ends and the next begins.
const DefaultSegmentBytes = 64 << 20

// Options are the settings of a writer; zero is the default of each.
type Options struct {
	SegmentBytes int64 // a segment that has so many takes no more; 0: DefaultSegmentBytes
}

// Writer appends to the ledger of one run. It may be used by several goroutines.
type Writer struct {
	dir   string
	limit int64
	lock  *lock

	mu     sync.Mutex
	file   *os.File // the last segment
	at     end      // invariant: everything before at.offset of file is whole records
	index  map[grouse.RecordKind]map[string]position
	order  map[grouse.RecordKind][]position
	broken error // why nothing can be written any more
	closed bool
}

// Open opens the ledger of the run in dir for writing, which makes the folders
// that are missing, takes the lock and cuts a torn tail. Errors: Unavailable
// if another process writes it (naming that process), Corrupt if a record
// before the tail is not what was written.
func Open(dir string, opts Options) (*Writer, error) {
	for _, sub := range []string{segmentsDir, blobsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("open ledger: %w", err)
		}
	}
	l, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, limit: opts.SegmentBytes, lock: l,
		index: map[grouse.RecordKind]map[string]position{}, order: map[grouse.RecordKind][]position{}}
	if w.limit == 0 {
		w.limit = DefaultSegmentBytes
	}
	if err := w.load(); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return w, nil
}

func (w *Writer) load() (err error) {
	if err := removeTemporary(filepath.Join(w.dir, blobsDir)); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	w.at, err = scan(w.dir, func(e Entry, p position) error {
		rec, err := e.Record()
		if err != nil {
			return err
		}
		w.note(rec, p)
		return nil
	})
	if err != nil {
		return err
	}
	if w.at.segment == 0 {
		return w.newSegment()
	}
	w.file, err = os.OpenFile(filepath.Join(w.dir, segmentsDir, segmentFile(w.at.segment)), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	if w.at.torn > 0 {
		if err := errors.Join(w.file.Truncate(w.at.offset), w.file.Sync()); err != nil {
			return fmt.Errorf("open ledger: cut the torn tail: %w", err)
		}
		w.at.torn = 0
	}
	return nil
}

// removeTemporary removes what a crash left of blobs that were being written.
func removeTemporary(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, ".*.arrow.*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Epoch returns how often the run's lock has been taken: the fencing token of
// everything that this writer does.
func (w *Writer) Epoch() uint64 { return w.lock.epoch }

// Records returns the number of records and the digest of the last.
func (w *Writer) Records() (uint64, [sha256.Size]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at.seq, w.at.last
}

// Append writes the records, in order, and returns when they are durable: one
// sync for all. A record whose kind and key are there already is not written
// again; if it differs from the one that is, Append returns Corrupt and writes
// none of them. Stale if another writer took the run over.
func (w *Writer) Append(ctx context.Context, recs ...grouse.Record) error {
	return w.append(ctx, true, recs)
}

// AppendLazy is Append without the sync: the records are durable after the next
// Append or Sync.
func (w *Writer) AppendLazy(ctx context.Context, recs ...grouse.Record) error {
	return w.append(ctx, false, recs)
}

// Sync makes what AppendLazy wrote durable.
func (w *Writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	return w.sync()
}

func (w *Writer) append(ctx context.Context, durable bool, recs []grouse.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	if err := w.lock.check(); err != nil {
		return err
	}
	if w.at.offset >= w.limit {
		if err := w.newSegment(); err != nil {
			return w.breakWith(err)
		}
	}
	var frames []byte
	at, fresh, places := w.at, []grouse.Record(nil), []position(nil)
	for i, rec := range recs {
		payload, err := canonical(rec)
		if err != nil {
			return grouse.Errorf(grouse.Internal, "ledger: encode %s %s: %w", rec.RecordKind(), rec.RecordKey(), err)
		}
		for _, earlier := range recs[:i] {
			if earlier.RecordKind() == rec.RecordKind() && earlier.RecordKey() == rec.RecordKey() {
				return grouse.Errorf(grouse.Internal, "ledger: %s %s is given twice", rec.RecordKind(), rec.RecordKey())
			}
		}
		if known, err := w.same(rec, payload); err != nil || known {
			if err != nil {
				return err
			}
			continue
		}
		e := Entry{Kind: rec.RecordKind(), Seq: at.seq + 1, Prev: at.last, Payload: payload}
		before := len(frames)
		if frames, err = appendFrame(frames, &e); err != nil {
			return err
		}
		p := position{segment: at.segment, offset: at.offset, length: len(frames) - before}
		at.seq, at.last, at.offset = e.Seq, e.SHA256, at.offset+int64(p.length)
		fresh, places = append(fresh, rec), append(places, p)
	}
	if len(fresh) > 0 {
		if _, err := w.file.WriteAt(frames, w.at.offset); err != nil {
			return w.breakWith(err)
		}
		w.at = at
		for i, rec := range fresh {
			w.note(rec, places[i])
		}
	}
	if durable {
		return w.sync()
	}
	return nil
}

func (w *Writer) sync() error {
	if err := w.file.Sync(); err != nil {
		return w.breakWith(err)
	}
	return nil
}

// breakWith ends writing: after a failed write or sync nobody knows what is on
// disk until it is read again.
func (w *Writer) breakWith(err error) error {
	w.broken = storage(fmt.Errorf("write ledger %s: %w", w.dir, err))
	return w.broken
}

// storage gives an error of the file system its kind.
func storage(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return grouse.Errorf(grouse.Unavailable, "%w", err).WithFix("free some space on the disk of the run's folder; the run then goes on by itself")
	}
	return err
}

// same reports whether the ledger holds the record already, and returns Corrupt
// if it holds another of that name.
func (w *Writer) same(rec grouse.Record, payload []byte) (bool, error) {
	p, ok := w.index[rec.RecordKind()][rec.RecordKey()]
	if !ok {
		return false, nil
	}
	e, err := w.read(p)
	if err != nil {
		return false, err
	}
	if !bytes.Equal(e.Payload, payload) {
		return false, grouse.Errorf(grouse.Corrupt, "ledger %s: %s %s came out differently the second time: recorded %s, now %s",
			w.dir, rec.RecordKind(), rec.RecordKey(), abbreviate(e.Payload), abbreviate(payload)).
			WithFix("the run is not deterministic on this machine: check memory and hardware, and that no other build of grouse wrote a part of it")
	}
	return true, nil
}

func abbreviate(b []byte) string {
	if len(b) > 300 {
		return string(b[:300]) + "..."
	}
	return string(b)
}

func (w *Writer) note(rec grouse.Record, p position) {
	kind := rec.RecordKind()
	if w.index[kind] == nil {
		w.index[kind] = map[string]position{}
	}
	w.index[kind][rec.RecordKey()] = p
	w.order[kind] = append(w.order[kind], p)
}

// Find returns the record of that kind and key, NotFound if there is none.
func (w *Writer) Find(kind grouse.RecordKind, key string) (grouse.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.index[kind][key]
	if !ok {
		return nil, grouse.Errorf(grouse.NotFound, "ledger %s: no %s record %s", w.dir, kind, key)
	}
	e, err := w.read(p)
	if err != nil {
		return nil, err
	}
	return e.Record()
}

// List returns the records of a kind, oldest first.
func (w *Writer) List(kind grouse.RecordKind) ([]grouse.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	recs := make([]grouse.Record, 0, len(w.order[kind]))
	for _, p := range w.order[kind] {
		e, err := w.read(p)
		if err != nil {
			return nil, err
		}
		rec, err := e.Record()
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

func (w *Writer) read(p position) (Entry, error) {
	f := w.file
	if p.segment != w.at.segment {
		old, err := os.Open(filepath.Join(w.dir, segmentsDir, segmentFile(p.segment)))
		if err != nil {
			return Entry{}, fmt.Errorf("read ledger: %w", err)
		}
		defer old.Close()
		f = old
	}
	data := make([]byte, p.length)
	if _, err := f.ReadAt(data, p.offset); err != nil {
		return Entry{}, fmt.Errorf("read ledger: %w", err)
	}
	e, _, err := parseFrame(data)
	if err != nil {
		return Entry{}, grouse.Errorf(grouse.Corrupt, "ledger %s: %s, byte %d: %w", w.dir, segmentFile(p.segment), p.offset, err)
	}
	return e, nil
}

// newSegment ends the last segment, if there is one, and begins the next.
func (w *Writer) newSegment() error {
	if w.file != nil {
		if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
			return err
		}
	}
	dir := filepath.Join(w.dir, segmentsDir)
	f, err := os.OpenFile(filepath.Join(dir, segmentFile(w.at.segment+1)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), syncDir(dir), syncDir(w.dir)); err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.at.segment, w.at.offset = f, w.at.segment+1, 0
	return nil
}

// Close syncs, ends writing and gives the lock back.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	err := errors.Join(w.file.Sync(), w.file.Close(), w.lock.release())
	if w.broken == nil {
		w.broken = grouse.Errorf(grouse.Internal, "ledger %s is closed", w.dir)
	}
	return err
}
