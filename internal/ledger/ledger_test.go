package ledger_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/ledger"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/golden.seg anew")

// sample is one record of every kind.
func sample() []grouse.Record {
	return []grouse.Record{
		grouse.RunRecord{Run: "r", RecipeSHA256: "aa", WeightsSHA256: "bb", Chain: "cc", Seed: math.MaxUint64, Spec: []byte(`{"b":1,"a":"<é>"}`), Device: "cpu/generic"},
		grouse.StageRecord{Stage: 1, Name: "rl", Kind: grouse.StageRL, Chain: "cc"},
		grouse.DrawRecord{Stage: 1, Step: 1, Prompts: []grouse.DrawnPrompt{{Candidate: 0, RowID: "math/7", Domain: "math"}}},
		grouse.ScoreRecord{Stage: 1, Step: 1, Result: []grouse.GroupVerdict{{Candidate: 0, State: grouse.GroupScored, Mean: 0.1}}},
		grouse.BatchRecord{Stage: 1, Step: 1, BatchSHA256: "dd", Rows: 8},
		grouse.GroupRecord{Stage: 1, Step: 1, Groups: []grouse.FinalGroup{{RowID: "math/7", State: grouse.GroupTrained}}},
		grouse.StepRecord{Stage: 1, Step: 1, Chain: "ee", Stats: grouse.Metrics{"loss": math.NaN(), "kl": math.Inf(-1), "reward": 1. / 3}},
		grouse.SFTRecord{Stage: 0, First: 1, Last: 20},
		grouse.CheckpointRecord{Stage: 1, Step: 1, Dir: "checkpoints/step-000001"},
		grouse.EvalRecord{Stage: 1, Step: 1, Metric: "accuracy", Value: 0.5},
	}
}

func open(t *testing.T, dir string, opts ledger.Options) *ledger.Writer {
	t.Helper()
	w, err := ledger.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func write(t *testing.T, dir string, opts ledger.Options, recs ...grouse.Record) {
	t.Helper()
	w := open(t, dir, opts)
	for _, rec := range recs {
		if err := w.Append(context.Background(), rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) []grouse.Record {
	t.Helper()
	var recs []grouse.Record
	for e, err := range ledger.Read(dir) {
		if err != nil {
			t.Fatal(err)
		}
		rec, err := e.Record()
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	return recs
}

func segment(dir string) string { return filepath.Join(dir, "ledger", "000001.seg") }

// same compares by what is printed: a NaN is itself.
func same(a, b any) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

func TestEveryKindComesBack(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, ledger.Options{}, sample()...)
	got := read(t, dir)
	want := sample()
	run := want[0].(grouse.RunRecord)
	run.Spec = []byte(`{"a":"<é>","b":1}`) // canonical: keys sorted
	want[0] = run
	if !same(got, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got, want)
	}
	w := open(t, dir, ledger.Options{})
	for _, rec := range want {
		found, err := w.Find(rec.RecordKind(), rec.RecordKey())
		if err != nil || !same(found, rec) {
			t.Errorf("find %s: %+v, %v", rec.RecordKind(), found, err)
		}
		list, err := w.List(rec.RecordKind())
		if err != nil || len(list) != 1 {
			t.Errorf("list %s: %d records, %v; want 1", rec.RecordKind(), len(list), err)
		}
	}
	if _, err := w.Find(grouse.RecordStep, "9/000009"); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("find what is not there: %v, want not_found", err)
	}
}

// TestGolden holds the bytes on disk: a ledger of an older grouse must stay readable.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, ledger.Options{}, sample()...)
	got, err := os.ReadFile(segment(dir))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "golden.seg")
	if *rewrite {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the bytes differ from %s; if that is meant, old ledgers must still be read: keep the old file under another name with a test, then go test -run Golden -rewrite", golden)
	}
}

func TestAppendTwice(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, ledger.Options{})
	ctx := context.Background()
	step := grouse.StepRecord{Stage: 0, Step: 3, Chain: "aa", Stats: grouse.Metrics{"loss": 0.5}}
	for range 2 {
		if err := w.Append(ctx, step); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := w.Records(); n != 1 {
		t.Errorf("%d records after the same one twice, want 1", n)
	}
	step.Stats = grouse.Metrics{"loss": math.Nextafter(0.5, 1)}
	if err := w.Append(ctx, grouse.StepRecord{Step: 4}, step); grouse.KindOf(err) != grouse.Corrupt {
		t.Errorf("another content under the same key: %v, want corrupt", err)
	}
	if err := w.Append(ctx, grouse.StepRecord{Step: 5}, grouse.StepRecord{Step: 5}); err == nil {
		t.Error("the same key twice in one call was taken")
	}
	if n, _ := w.Records(); n != 1 {
		t.Errorf("%d records after refused ones, want 1", n)
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	opts := ledger.Options{SegmentBytes: 400}
	var want []grouse.Record
	for i := range 20 {
		want = append(want, grouse.StepRecord{Step: int64(i), Chain: strings.Repeat("a", 64)})
	}
	write(t, dir, opts, want[:10]...)
	write(t, dir, opts, want[10:]...)
	if got := read(t, dir); !same(got, want) {
		t.Errorf("read %d records over segments, want %d equal ones", len(got), len(want))
	}
	files, _ := filepath.Glob(filepath.Join(dir, "ledger", "*.seg"))
	if len(files) < 4 {
		t.Fatalf("%d segments, want several", len(files))
	}
	w := open(t, dir, opts)
	if rec, err := w.Find(grouse.RecordStep, grouse.StepKey(0, 0)); err != nil || rec.(grouse.StepRecord).Step != 0 {
		t.Errorf("find in an old segment: %v, %v", rec, err)
	}
	w.Close()

	// A segment that is torn but not the last, or missing, is damage.
	data, _ := os.ReadFile(files[1])
	os.WriteFile(files[1], data[:len(data)-1], 0o644)
	if _, err := ledger.Open(dir, opts); grouse.KindOf(err) != grouse.Corrupt || !strings.Contains(err.Error(), "000002.seg") {
		t.Errorf("torn middle segment: %v, want corrupt naming 000002.seg", err)
	}
	os.Remove(files[1])
	if _, err := ledger.Open(dir, opts); grouse.KindOf(err) != grouse.Corrupt {
		t.Errorf("missing segment: %v, want corrupt", err)
	}
}

// TestTruncateAnywhere cuts a ledger at every byte: what opens is a prefix, and
// writing goes on from it to the same bytes as without the cut.
func TestTruncateAnywhere(t *testing.T) {
	dir := t.TempDir()
	recs := sample()
	write(t, dir, ledger.Options{}, recs...)
	whole, err := os.ReadFile(segment(dir))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for cut := range whole {
		if err := os.WriteFile(segment(dir), whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		if n := len(read(t, dir)); n >= len(recs) {
			t.Fatalf("cut at %d: read %d records", cut, n)
		}
		w, err := ledger.Open(dir, ledger.Options{})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		n, _ := w.Records()
		seen[int(n)] = true
		if err := w.Append(context.Background(), recs...); err != nil { // those that are there are left out
			t.Fatalf("cut at %d: %v", cut, err)
		}
		w.Close()
		again, err := os.ReadFile(segment(dir))
		if err != nil || string(again) != string(whole) {
			t.Fatalf("cut at %d (%d records): not the same bytes after writing the rest, %v", cut, n, err)
		}
	}
	if len(seen) != len(recs) {
		t.Errorf("cuts left %d different numbers of records, want %d", len(seen), len(recs))
	}
}

// TestFlipAnywhere damages every byte: either it is in the last record, which
// then counts as torn, or the ledger is refused and left as it is.
func TestFlipAnywhere(t *testing.T) {
	dir := t.TempDir()
	recs := sample()
	write(t, dir, ledger.Options{}, recs...)
	whole, err := os.ReadFile(segment(dir))
	if err != nil {
		t.Fatal(err)
	}
	lastStart := 0
	{
		short := t.TempDir()
		write(t, short, ledger.Options{}, recs[:len(recs)-1]...)
		info, err := os.Stat(segment(short))
		if err != nil {
			t.Fatal(err)
		}
		lastStart = int(info.Size())
	}
	for i := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[i] ^= 0x10
		if err := os.WriteFile(segment(dir), damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		w, err := ledger.Open(dir, ledger.Options{})
		if i >= lastStart {
			if err != nil {
				t.Fatalf("byte %d of the tail: %v", i, err)
			}
			if n, _ := w.Records(); int(n) != len(recs)-1 {
				t.Fatalf("byte %d of the tail: %d records", i, n)
			}
			w.Close()
			continue
		}
		if grouse.KindOf(err) != grouse.Corrupt || !strings.Contains(err.Error(), "000001.seg, record ") {
			t.Fatalf("byte %d: %v, want corrupt naming segment and record", i, err)
		}
		if left, _ := os.ReadFile(segment(dir)); string(left) != string(damaged) {
			t.Fatalf("byte %d: a damaged ledger was changed", i)
		}
	}
}

func TestSecondWriter(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, ledger.Options{})
	_, err := ledger.Open(dir, ledger.Options{})
	if grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Fatalf("second writer: %v, want unavailable naming the first's pid", err)
	}
	first.Close()
	second := open(t, dir, ledger.Options{})
	if second.Epoch() != first.Epoch()+1 {
		t.Errorf("epochs %d then %d, want one more", first.Epoch(), second.Epoch())
	}
	if err := first.Append(context.Background(), sample()[0]); err == nil {
		t.Error("a closed writer wrote")
	}
}

func TestStaleWriter(t *testing.T) {
	for name, lose := range map[string]func(lock string) error{
		"deleted":  os.Remove,
		"replaced": func(l string) error { return errors.Join(os.Remove(l), os.WriteFile(l, []byte("epoch 1\n"), 0o644)) },
		"raised":   func(l string) error { return os.WriteFile(l, []byte("epoch 7\n"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := open(t, dir, ledger.Options{})
			if err := w.Append(context.Background(), sample()[0]); err != nil {
				t.Fatal(err)
			}
			if err := lose(filepath.Join(dir, "LOCK")); err != nil {
				t.Fatal(err)
			}
			if err := w.Append(context.Background(), sample()[1]); grouse.KindOf(err) != grouse.Stale {
				t.Errorf("append after the lock was %s: %v, want stale", name, err)
			}
			if n := len(read(t, dir)); n != 1 {
				t.Errorf("%d records, want 1", n)
			}
		})
	}
}

func TestBlobs(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, ledger.Options{})
	ctx := context.Background()
	data := []byte("groups")
	sum, err := w.PutBlob(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.PutBlob(ctx, data); err != nil || again != sum {
		t.Fatalf("the same bytes again: %s, %v", again, err)
	}
	if got, err := w.Blob(ctx, sum); err != nil || string(got) != "groups" {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := w.Blob(ctx, strings.Repeat("0", 64)); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("missing blob: %v, want not_found", err)
	}
	if _, err := w.Blob(ctx, "../../etc/passwd"); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("name that is no hash: %v, want invalid", err)
	}
	path := filepath.Join(dir, "blobs", sum+".arrow")
	if err := os.WriteFile(path, []byte("grouqs"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Blob(ctx, sum); grouse.KindOf(err) != grouse.Corrupt {
		t.Errorf("damaged blob: %v, want corrupt", err)
	}
	if _, err := w.PutBlob(ctx, data); err != nil { // storing it again mends it
		t.Fatal(err)
	}
	if _, err := w.Blob(ctx, sum); err != nil {
		t.Errorf("after storing it again: %v", err)
	}
	w.Close()
	left := filepath.Join(dir, "blobs", "."+sum+".arrow.123")
	if err := os.WriteFile(left, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, dir, ledger.Options{})
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a temporary file of a crash is still there: %v", err)
	}
}

func TestReadNothing(t *testing.T) {
	for _, err := range ledger.Read(t.TempDir()) {
		if grouse.KindOf(err) != grouse.NotFound {
			t.Errorf("no ledger: %v, want not_found", err)
		}
	}
	if _, _, err := ledger.Verify(t.TempDir()); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("verify no ledger: %v, want not_found", err)
	}
}

// TestWriteFails ends a writer whose disk is full: it writes nothing more, and
// the ledger opens again with what was acknowledged.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, ledger.Options{})
	if err := w.Append(context.Background(), sample()[0]); err != nil {
		t.Fatal(err)
	}
	ledger.FailWrites(w)
	err := w.Append(context.Background(), sample()[1])
	if err == nil {
		t.Fatal("a failed write was acknowledged")
	}
	if again := w.Append(context.Background(), sample()[2]); again == nil || again.Error() != err.Error() {
		t.Errorf("append after a failed one: %v, want the same error", again)
	}
	w.Close()
	if n, _ := open(t, dir, ledger.Options{}).Records(); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func FuzzRead(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "golden.seg"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(golden[:200])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		os.MkdirAll(filepath.Dir(segment(dir)), 0o755)
		if err := os.WriteFile(segment(dir), data, 0o644); err != nil {
			t.Fatal(err)
		}
		var read uint64
		var readErr error
		for e, err := range ledger.Read(dir) {
			if readErr = err; err == nil {
				read = e.Seq
			}
		}
		if readErr != nil && grouse.KindOf(readErr) != grouse.Corrupt {
			t.Fatalf("read: %v", readErr)
		}
		w, err := ledger.Open(dir, ledger.Options{})
		if err != nil {
			if grouse.KindOf(err) != grouse.Corrupt {
				t.Fatalf("open: %v", err)
			}
			return
		}
		defer w.Close()
		if n, _ := w.Records(); readErr != nil || n != read {
			t.Fatalf("open found %d records, read %d and %v", n, read, readErr)
		}
	})
}
