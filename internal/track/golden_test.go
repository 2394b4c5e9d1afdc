package track

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/grouse-rl/grouse"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/ours anew; then run scripts/golden/trackers.py")

// The golden files are by scripts/golden/trackers.py: tensorboard's and wandb's own
// protobufs and record writer.

func TestEventsAreTensorboards(t *testing.T) {
	want, err := os.ReadFile("testdata/events.tfrecord")
	if err != nil {
		t.Fatal(err)
	}
	at := func(ms int64) time.Time { return time.UnixMilli(1_700_000_000_000 + ms) }
	got := appendTFRecord(nil, tbVersion(at(500)))
	got = appendTFRecord(got, tbText(at(500), 0, "recipe", "seed: 7\né🙂\n"))
	got = appendTFRecord(got, tbScalars(&Point{At: at(1250), Global: 3, Metrics: grouse.Metrics{"reward": 0.1, "kl/math": 0.125}, Times: grouse.Metrics{"time/train_s": 0.5}}))
	got = appendTFRecord(got, tbScalars(&Point{At: at(2000), Global: 1 << 40, Metrics: grouse.Metrics{"inf": math.Inf(1), "nan": math.NaN()}}))
	wants, gots := tfRecords(t, want), tfRecords(t, got)
	if len(wants) != len(gots) {
		t.Fatalf("%d records, want %d", len(gots), len(wants))
	}
	for i := range wants {
		// A field that has its default is left out by tensorboard and written by us.
		if w, g := wants[i], withoutZeroStep(gots[i]); !bytes.Equal(w, g) {
			t.Errorf("record %d:\n got %x\nwant %x", i, g, w)
		}
	}
}

// withoutZeroStep drops an event's step of 0.
func withoutZeroStep(event []byte) []byte {
	if event[9] == 2<<3 && event[10] == 0 {
		return append(bytes.Clone(event[:9]), event[11:]...)
	}
	return event
}

// tfRecords reads TFRecord framing and checks its checksums.
func tfRecords(t *testing.T, raw []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for len(raw) > 0 {
		n := binary.LittleEndian.Uint64(raw)
		if maskedCRC(raw[:8]) != binary.LittleEndian.Uint32(raw[8:]) {
			t.Fatalf("record %d: its length has another checksum", len(out))
		}
		data := raw[12 : 12+n]
		if maskedCRC(data) != binary.LittleEndian.Uint32(raw[12+n:]) {
			t.Fatalf("record %d has another checksum", len(out))
		}
		out, raw = append(out, data), raw[16+n:]
	}
	return out
}

func TestRecordsAreWandbs(t *testing.T) {
	raw, err := os.ReadFile("testdata/wandb.records")
	if err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for len(raw) > 0 {
		n := binary.LittleEndian.Uint32(raw)
		want, raw = append(want, raw[4:4+n]), raw[4+n:]
	}
	w := newWandbOffline(testRun(t), wandbParams{})
	if _, err := w.Open(context.Background(), cursor{}); err != nil {
		t.Fatal(err)
	}
	version := text(text(nil, 1, "grouse"), 2, "0.70.0")
	w.record(21, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), version))
	w.history([]wandbItem{{"_step", "5"}, {"reward", "NaN"}}, 5)
	if err := w.Close(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(w.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	got := logRecords(t, file)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("record %d:\n got %x\nwant %x", i, got[i], want[i])
		}
	}
}

// writeOurs writes one finished run with every tracker of files.
func writeOurs(t *testing.T, run Run) {
	t.Helper()
	source := &lines{}
	source.add(14)
	for _, spec := range []grouse.TrackerSpec{
		{Use: "tensorboard", Params: map[string]any{"every": 5, "samples": 2}},
		{Use: "mlflow"},
	} {
		if w := report(t, run, source, true, spec); len(w) > 0 {
			t.Fatal(w)
		}
	}
}

// TestWriteOurs holds what scripts/golden/trackers.py read with tensorboard and
// mlflow: the files that we write now have the same contents.
func TestWriteOurs(t *testing.T) {
	run := testRun(t)
	if *rewrite {
		run.Dir = "testdata/ours"
		if err := os.RemoveAll(run.Dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(run.Dir, "trackers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run.Dir, "trackers", "id"), []byte("demo-0badcafe\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	writeOurs(t, run)
	if *rewrite {
		trim(t, run.Dir)
		return
	}
	if got, want := contents(t, run.Dir), contents(t, "testdata/ours"); got != want {
		t.Errorf("what is written has changed: write it anew with -rewrite, read it with scripts/golden/trackers.py, read the diff\n got %s\nwant %s", got, want)
	}
}

// trim leaves out what is of no use to the readers: where the files were written,
// all parameters but three, cursors.
func trim(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case d.Name() == "meta.yaml":
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, regexp.MustCompile(`"file:.*/mlruns`).ReplaceAll(raw, []byte(`"file:///mlruns`)), 0o644)
		case filepath.Base(filepath.Dir(path)) == "params" && d.Name() != "seed" && d.Name() != "stages.rl.steps" && d.Name() != "stages.rl.kind":
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "trackers")); err != nil {
		t.Fatal(err)
	}
}

// contents is the files below dir as one text, without what the clock or the place decides.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	clock := regexp.MustCompile(`(?m)^(artifact_location|artifact_uri|creation_time|last_update_time): .*$`)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if strings.Contains(name, "tfevents") {
			name = "events"
			for _, r := range tfRecords(t, bytes.Clone(raw))[2:] { // the first two have the time of the start
				fmt.Fprintf(&b, "%x\n", r)
			}
			return nil
		}
		if strings.HasPrefix(name, "trackers/") || strings.Contains(name, "/params/") {
			return nil // cursors; what a recipe has today
		}
		fmt.Fprintf(&b, "%s: %s\n", filepath.ToSlash(name), clock.ReplaceAll(raw, nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What tensorboard and mlflow read is what the run was.
func TestOthersReadOurs(t *testing.T) {
	raw, err := os.ReadFile("testdata/ours.json")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tensorboard struct {
			Scalars map[string][][3]any
			Texts   map[string][][2]any
			Plugins map[string]string
		}
		MLflow struct {
			Name, Status string
			Params       map[string]string
			Metrics      map[string][][3]any
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	source := &lines{}
	source.add(14)
	scalars, metrics := map[string][][3]any{}, map[string][][3]any{}
	for i := range source.list {
		p := &source.list[i]
		p.each(func(name string, v float64) {
			python := func(v float64) any {
				switch {
				case math.IsNaN(v):
					return "nan"
				case math.IsInf(v, 0):
					return "inf"
				}
				return v
			}
			scalars[name] = append(scalars[name], [3]any{float64(p.Global), float64(p.At.UnixMilli()) / 1000, python(float64(float32(v)))})
			stored := mlflowName(name)
			if name == "kl" {
				stored = "kl_all" // kl/math makes kl a folder
			}
			metrics[stored] = append(metrics[stored], [3]any{float64(p.Global), float64(p.At.UnixMilli()), python(v)})
		})
	}
	if g, w := fmt.Sprint(got.Tensorboard.Scalars), fmt.Sprint(scalars); g != w {
		t.Errorf("tensorboard reads\n%s\nwant\n%s", g, w)
	}
	if g, w := fmt.Sprint(got.MLflow.Metrics), fmt.Sprint(metrics); g != w {
		t.Errorf("mlflow reads\n%s\nwant\n%s", g, w)
	}
	if got.MLflow.Name != "demo" || got.MLflow.Status != "FINISHED" || got.MLflow.Params["seed"] != "7" || got.MLflow.Params["stages.rl.steps"] != "6" {
		t.Errorf("mlflow reads %+v", got.MLflow)
	}
	texts := got.Tensorboard.Texts
	if got.Tensorboard.Plugins["recipe"] != "text" || got.Tensorboard.Plugins["completions"] != "text" || len(texts["recipe"]) != 1 || len(texts["completions"]) != 3 {
		t.Errorf("tensorboard reads the texts %v", texts)
	}
	if s := fmt.Sprint(texts["recipe"]); !strings.Contains(s, "seed: 7") {
		t.Errorf("the recipe is %s", s)
	}
	if s := fmt.Sprint(texts["completions"][0]); !strings.Contains(s, "````\n<think>```</think>132") || !strings.Contains(s, "reward 0.5") || !strings.Contains(s, "no opinion") {
		t.Errorf("completions are %s", s)
	}
}
