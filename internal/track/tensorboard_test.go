package track

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/grouse-rl/grouse"
)

func eventFile(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A run that was killed and resumed, with an event of no cursor and half an event
// at the end of its file, has the events of one that was not, byte for byte.
func TestTensorboardAfterAKill(t *testing.T) {
	spec := grouse.TrackerSpec{Use: "tensorboard", Params: map[string]any{"every": 2}}
	whole, all := testRun(t), &lines{}
	all.add(9)
	report(t, whole, all, true, spec)
	want := tfRecords(t, eventFile(t, filepath.Join(whole.Dir, "tensorboard")))

	run, source := testRun(t), &lines{}
	cursorFile := filepath.Join(run.Dir, "trackers", "0-tensorboard.json")
	source.add(4)
	report(t, run, source, false, spec)
	before, err := os.ReadFile(cursorFile)
	if err != nil {
		t.Fatal(err)
	}
	source.add(2)
	report(t, run, source, false, spec)
	if err := os.WriteFile(cursorFile, before, 0o644); err != nil { // the kill came before the cursor
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(run.Dir, "tensorboard", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	f, err := os.OpenFile(files[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte{30, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	source.add(3)
	report(t, run, source, true, spec)
	got := tfRecords(t, eventFile(t, filepath.Join(run.Dir, "tensorboard")))
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want[2:] { // the first two have the time of the start
		if !bytes.Equal(got[2+i], want[2+i]) {
			t.Errorf("event %d:\n got %x\nwant %x", 2+i, got[2+i], want[2+i])
		}
	}
}

// An event file that somebody removed is written again from the beginning.
func TestTensorboardBeginsAgain(t *testing.T) {
	run, source := testRun(t), &lines{}
	run.Base = t.TempDir()
	spec := grouse.TrackerSpec{Use: "tensorboard", Params: map[string]any{"dir": "boards", "samples": 0}}
	dir := filepath.Join(run.Base, "boards", "demo")
	source.add(4)
	report(t, run, source, false, spec)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	source.add(1)
	report(t, run, source, true, spec)
	if got := len(tfRecords(t, eventFile(t, dir))); got != 2+5 {
		t.Errorf("%d events, want version, recipe and 5 points", got)
	}
}

func TestAFullFolderIsNoReasonToStop(t *testing.T) {
	run, source := testRun(t), &lines{}
	if err := os.WriteFile(filepath.Join(run.Dir, "tensorboard"), nil, 0o644); err != nil { // no folder can be there
		t.Fatal(err)
	}
	source.add(3)
	if w := report(t, run, source, true, grouse.TrackerSpec{Use: "tensorboard"}); len(w) != 1 {
		t.Errorf("warnings %q", w)
	}
}

// A run that dies before its first point has one event file, not one a start.
func TestTensorboardDiesAtOnce(t *testing.T) {
	run, source := testRun(t), &lines{}
	spec := grouse.TrackerSpec{Use: "tensorboard"}
	for range 3 {
		report(t, run, source, false, spec)
		files, err := filepath.Glob(filepath.Join(run.Dir, "tensorboard", "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		if err := os.Rename(files[0], filepath.Join(filepath.Dir(files[0]), "events.out.tfevents.0000000001.demo")); err != nil { // as of long ago
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(run.Dir, "trackers", "0-tensorboard.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(run.Dir, "trackers", "0-tensorboard.json"), bytes.Replace(raw, []byte(filepath.Base(files[0])), []byte("events.out.tfevents.0000000001.demo"), 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	source.add(2)
	report(t, run, source, true, spec)
	if got := len(tfRecords(t, eventFile(t, filepath.Join(run.Dir, "tensorboard")))); got != 2+2 {
		t.Errorf("%d events", got)
	}
}
