package track

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/grouse-rl/grouse"
)

// logRecords reads a .wandb file's records and checks its checksums.
func logRecords(t *testing.T, raw []byte) [][]byte {
	t.Helper()
	if string(raw[:7]) != ":W&B\xe1\xbe\x00" {
		t.Fatalf("header %x", raw[:7])
	}
	var out [][]byte
	var part []byte
	for at := logHeader; at < len(raw); {
		if left := logBlock - at%logBlock; left < logHeader {
			at += left
			continue
		}
		n, kind := int(binary.LittleEndian.Uint16(raw[at+4:])), raw[at+6]
		data := raw[at+logHeader : at+logHeader+n]
		if binary.LittleEndian.Uint32(raw[at:]) != crc32.ChecksumIEEE(append([]byte{kind}, data...)) {
			t.Fatalf("fragment at %d has another checksum", at)
		}
		if first := kind == 1 || kind == 2; first != (part == nil) {
			t.Fatalf("fragment at %d is of type %d after %d bytes", at, kind, len(part))
		}
		part = append(part, data...)
		if part == nil {
			part = []byte{}
		}
		if kind == 1 || kind == 4 {
			out, part = append(out, part), nil
		}
		at += logHeader + n
	}
	if part != nil {
		t.Fatal("the last record has no end")
	}
	return out
}

func TestRecordLogCutsAtBlocks(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	l := newRecordLog(f)
	var want [][]byte
	// Records that end at each of the places around a block's end, empty and long ones.
	for _, n := range []int{0, 1, logBlock - 40, 5, 0, logBlock - 15, 2, 3 * logBlock, logBlock - 7, logBlock - 8, 100, 0, 0, 70_000, 1} {
		r := bytes.Repeat([]byte{byte(len(want) + 1)}, n)
		want = append(want, r)
		l.write(r)
	}
	for n := range 40 {
		r := bytes.Repeat([]byte{7}, logBlock-20+n)
		want = append(want, r)
		l.write(r)
	}
	if err := l.w.Flush(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	got := logRecords(t, raw)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("record %d has %d bytes, want %d", i, len(got[i]), len(want[i]))
		}
	}
}

// fakeWandb speaks W&B's protocol, as its own client does it: runs are made by
// GraphQL, and lines of files go to their offsets.
type fakeWandb struct {
	t   *testing.T
	key string

	mu       sync.Mutex
	down     int // answers 503 to that many requests
	requests int
	config   map[string]map[string]any
	name     string
	history  map[int64]string
	summary  string
	complete bool
	beats    int
}

func (f *fakeWandb) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	if f.down > 0 {
		f.down--
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	if user, key, _ := r.BasicAuth(); user != "api" || key != f.key {
		http.Error(w, "no such key", http.StatusUnauthorized)
		return
	}
	var body struct {
		Query     string
		Variables map[string]any
		Files     map[string]wandbChunk
		Complete  bool
		ExitCode  *int
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		f.t.Errorf("%s: %v", r.URL.Path, err)
	}
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/graphql" && strings.Contains(body.Query, "upsertBucket("):
		f.name, _ = body.Variables["name"].(string)
		config, _ := body.Variables["config"].(string)
		if err := json.Unmarshal([]byte(config), &f.config); err != nil {
			f.t.Errorf("config %q: %v", config, err)
		}
		f.complete = false
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"upsertBucket": map[string]any{"inserted": len(f.history) == 0, "bucket": map[string]any{
			"id": "abc", "name": f.name, "historyLineCount": len(f.history), "project": map[string]any{"name": body.Variables["project"], "entity": map[string]any{"name": "me"}}}}}})
	case r.Method == http.MethodPost && r.URL.Path == "/files/me/adding/"+f.name+"/file_stream":
		if len(body.Files) == 0 && !body.Complete {
			f.beats++
		}
		h := body.Files["wandb-history.jsonl"]
		for i, line := range h.Content {
			at := h.Offset + int64(i)
			if old, ok := f.history[at]; ok && old != line {
				f.t.Errorf("row %d was\n%s\nis now\n%s", at, old, line)
			}
			if f.history == nil {
				f.history = map[int64]string{}
			}
			f.history[at] = line
		}
		if s := body.Files["wandb-summary.json"]; len(s.Content) > 0 {
			f.summary = s.Content[0]
		}
		f.complete = body.Complete && body.ExitCode != nil && *body.ExitCode == 0
	default:
		f.t.Errorf("request %s %s", r.Method, r.URL.Path)
	}
}

func wandbSpec(url string) grouse.TrackerSpec {
	return grouse.TrackerSpec{Use: "wandb", Params: map[string]any{"key": "env:GROUSE_TEST_KEY", "project": "adding", "base_url": url}}
}

func TestWandbOnline(t *testing.T) {
	t.Setenv("GROUSE_TEST_KEY", "the-key")
	fake := &fakeWandb{t: t, key: "the-key", down: 2}
	server := httptest.NewServer(fake)
	defer server.Close()
	run, source := testRun(t), &lines{}
	source.add(4)
	if w := report(t, run, source, false, wandbSpec(server.URL)); len(w) > 0 { // the first two requests fail: nobody's business
		t.Errorf("warned: %q", w)
	}
	source.add(3)
	if fake.complete {
		t.Error("a run that was stopped is complete")
	}
	if w := report(t, run, source, true, wandbSpec(server.URL)); len(w) > 0 {
		t.Errorf("warned: %q", w)
	}
	if len(fake.history) != 7 || !fake.complete || !strings.HasPrefix(fake.name, "demo-") {
		t.Fatalf("run %s, rows %v, complete %v", fake.name, fake.history, fake.complete)
	}
	if got, want := fake.history[3], `{"_step":3,"_timestamp":1.7000000045e+09,"_runtime":4.5,"global_step":22,"stage":"rl","stage_step":2,"kl":Infinity,"kl/math":0.125,"reward":NaN,"time/train_s":0.5}`; got != want {
		t.Errorf("row 3 is\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(fake.summary, `"reward":0.75`) || !strings.Contains(fake.summary, `"loss":1.5`) || !strings.Contains(fake.summary, `"eval/avg@4":0.75`) {
		t.Errorf("summary %s", fake.summary)
	}
	if fake.config["seed"]["value"] != 7.0 || fake.config["trackers"] != nil {
		t.Errorf("config %v", fake.config)
	}
	if _, err := os.Stat(filepath.Join(run.Dir, "wandb")); err == nil {
		t.Error("an offline folder was written although the server was there")
	}
	for _, e := range contentsOf(t, run.Dir) {
		if strings.Contains(e, "the-key") {
			t.Errorf("the key was stored: %s", e)
		}
	}
}

// contentsOf returns the contents of every file below dir.
func contentsOf(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		out = append(out, string(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A process that died between a delivery and its cursor reports the same lines
// again, and the server has each of them once.
func TestWandbAfterAKill(t *testing.T) {
	t.Setenv("GROUSE_TEST_KEY", "the-key")
	fake := &fakeWandb{t: t, key: "the-key"}
	server := httptest.NewServer(fake)
	defer server.Close()
	run, source := testRun(t), &lines{}
	path := filepath.Join(run.Dir, "trackers", "0-wandb.json")
	source.add(3)
	report(t, run, source, false, wandbSpec(server.URL))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	source.add(3)
	report(t, run, source, false, wandbSpec(server.URL))
	if err := os.WriteFile(path, before, 0o644); err != nil {
		t.Fatal(err)
	}
	source.add(1)
	report(t, run, source, true, wandbSpec(server.URL))
	if len(fake.history) != 7 {
		t.Errorf("rows %v", fake.history)
	}
}

func TestWandbBeats(t *testing.T) {
	t.Setenv("GROUSE_TEST_KEY", "the-key")
	fake := &fakeWandb{t: t, key: "the-key"}
	server := httptest.NewServer(fake)
	defer server.Close()
	source := &lines{}
	source.add(1)
	s, err := start([]grouse.TrackerSpec{wandbSpec(server.URL)}, testRun(t), Options{Source: func() Source { return source }}, fast)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(false)
	eventually(t, "beats", func() bool { fake.mu.Lock(); defer fake.mu.Unlock(); return fake.beats > 2 })
}

func TestWandbWithoutKeyOrServer(t *testing.T) {
	server := httptest.NewServer(&fakeWandb{t: t, key: "another"})
	defer server.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, c := range map[string]struct{ url, key, warning string }{
		"no key":        {server.URL, "", "there is no key in env:GROUSE_TEST_KEY"},
		"a refused key": {server.URL, "the-key", "refuses the key"},
		"no server":     {gone.URL, "the-key", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GROUSE_TEST_KEY", c.key)
			run, source := testRun(t), &lines{}
			source.add(5)
			w := report(t, run, source, true, wandbSpec(c.url))
			if len(w) != 1 || !strings.Contains(w[0], c.warning) || !strings.Contains(w[0], "wandb sync") || strings.Contains(w[0], "the-key") {
				t.Errorf("warnings %q", w)
			}
			files, err := filepath.Glob(filepath.Join(run.Dir, "wandb", "offline-run-demo-*", "run-demo-*.wandb"))
			if err != nil || len(files) != 1 {
				t.Fatalf("%v, %v", files, err)
			}
			raw, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := len(logRecords(t, raw)); got != 1+1+2+2*5+1 { // header, run, axes, summary and history of each row, exit
				t.Errorf("%d records", got)
			}
		})
	}
	t.Run("no key asked for", func(t *testing.T) {
		source := &lines{}
		source.add(1)
		if w := report(t, testRun(t), source, true, grouse.TrackerSpec{Use: "wandb"}); len(w) > 0 {
			t.Errorf("warnings %q", w)
		}
	})
}

// An offline folder that goes on has every row once.
func TestWandbOfflineGoesOn(t *testing.T) {
	run, source := testRun(t), &lines{}
	once := func(n int, finished bool) int {
		source.add(n)
		report(t, run, source, finished, grouse.TrackerSpec{Use: "wandb"})
		files, err := filepath.Glob(filepath.Join(run.Dir, "wandb", "*", "*.wandb"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		raw, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return len(logRecords(t, raw))
	}
	if got := once(3, false); got != 4+6 {
		t.Errorf("%d records after 3 rows", got)
	}
	if got := once(600, true); got != 4+2*603+1 {
		t.Errorf("%d records after 603 rows", got)
	}
}
