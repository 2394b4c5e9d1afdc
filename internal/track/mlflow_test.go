package track

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/grouse-rl/grouse"
)

// fakeMLflow is a tracking server with one experiment and one run.
type fakeMLflow struct {
	t *testing.T

	mu         sync.Mutex
	experiment string
	tags       map[string]string
	status     string
	params     map[string]string
	metrics    map[string]bool // "key step timestamp value"
	repeated   int
	forget     bool // the run is gone
}

func (f *fakeMLflow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer the-token" {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	missing := func() {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}`))
	}
	var body struct {
		Name          string
		RunID         string   `json:"run_id"`
		RunName       string   `json:"run_name"`
		ExperimentID  string   `json:"experiment_id"`
		ExperimentIDs []string `json:"experiment_ids"`
		Status        string
		Filter        string
		Tags          []struct{ Key, Value string }
		Params        []struct{ Key, Value string }
		Metrics       []struct {
			Key             string
			Value           any
			Timestamp, Step int64
		}
	}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			f.t.Errorf("%s: %v", r.URL.Path, err)
		}
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	run := map[string]any{"info": map[string]any{"run_id": "run-1"}}
	const api = "/api/2.0/mlflow"
	switch r.Method + " " + r.URL.Path {
	case "GET " + api + "/experiments/get-by-name":
		if f.experiment == "" || r.FormValue("experiment_name") != f.experiment {
			missing()
			return
		}
		answer(map[string]any{"experiment": map[string]any{"experiment_id": "7"}})
	case "POST " + api + "/experiments/create":
		f.experiment = body.Name
		answer(map[string]any{"experiment_id": "7"})
	case "POST " + api + "/runs/search":
		if len(body.ExperimentIDs) != 1 || body.ExperimentIDs[0] != "7" {
			f.t.Errorf("search in %v", body.ExperimentIDs)
		}
		if f.tags != nil && body.Filter == "tags.`grouse.id` = '"+f.tags["grouse.id"]+"'" {
			answer(map[string]any{"runs": []any{run}})
			return
		}
		answer(map[string]any{})
	case "POST " + api + "/runs/create":
		if f.tags != nil || body.ExperimentID != "7" || body.RunName != "demo" {
			f.t.Errorf("a second run, or a wrong one: %+v", body)
		}
		f.tags, f.status, f.forget = map[string]string{}, "RUNNING", false
		for _, kv := range body.Tags {
			f.tags[kv.Key] = kv.Value
		}
		answer(map[string]any{"run": run})
	case "POST " + api + "/runs/update":
		if f.forget {
			missing()
			return
		}
		f.status = body.Status
	case "POST " + api + "/runs/log-batch":
		if body.RunID != "run-1" || len(body.Metrics) > 1000 || len(body.Params) > 100 {
			f.t.Errorf("batch of run %q, %d metrics, %d params", body.RunID, len(body.Metrics), len(body.Params))
		}
		for _, kv := range body.Params {
			if f.params == nil {
				f.params = map[string]string{}
			}
			if old, ok := f.params[kv.Key]; ok && old != kv.Value {
				f.t.Errorf("param %s was %q, is %q", kv.Key, old, kv.Value)
			}
			f.params[kv.Key] = kv.Value
		}
		for _, m := range body.Metrics {
			if f.metrics == nil {
				f.metrics = map[string]bool{}
			}
			k := fmt.Sprintf("%s %d %d %v", m.Key, m.Step, m.Timestamp, m.Value)
			if f.metrics[k] {
				f.repeated++
			}
			f.metrics[k] = true
		}
	default:
		f.t.Errorf("request %s %s", r.Method, r.URL.Path)
	}
}

func TestMLflowOnline(t *testing.T) {
	t.Setenv("GROUSE_TEST_TOKEN", "the-token")
	fake := &fakeMLflow{t: t}
	server := httptest.NewServer(fake)
	defer server.Close()
	spec := grouse.TrackerSpec{Use: "mlflow", Params: map[string]any{"uri": server.URL, "token": "env:GROUSE_TEST_TOKEN", "experiment": "adding"}}
	run, source := testRun(t), &lines{}
	cursorFile := filepath.Join(run.Dir, "trackers", "0-mlflow.json")
	source.add(4)
	if w := report(t, run, source, false, spec); len(w) > 0 {
		t.Fatal(w)
	}
	if fake.status != "KILLED" {
		t.Errorf("a stopped run is %s", fake.status)
	}
	if err := os.Remove(cursorFile); err != nil { // a kill before the cursor: the run is found by its tag
		t.Fatal(err)
	}
	source.add(3)
	if w := report(t, run, source, true, spec); len(w) > 0 {
		t.Fatal(w)
	}
	if fake.status != "FINISHED" || fake.repeated == 0 {
		t.Errorf("status %s, %d repeated", fake.status, fake.repeated)
	}
	want := 0
	for i := range source.list {
		want += len(source.list[i].Metrics) + len(source.list[i].Times)
	}
	if len(fake.metrics) != want {
		t.Errorf("%d values, want %d", len(fake.metrics), want)
	}
	for _, v := range []string{"reward 22 1700000004500 NaN", "kl 22 1700000004500 Infinity", "eval/avg_4 20 1700000001500 0.75", "loss 20 1700000000000 1.5"} {
		if !fake.metrics[v] {
			t.Errorf("no value %q in %v", v, fake.metrics)
		}
	}
	if fake.params["seed"] != "7" || fake.params["stages.rl.steps"] != "6" || fake.tags["mlflow.note.content"] != "a run" {
		t.Errorf("params %v, tags %v", fake.params, fake.tags)
	}
	for _, e := range contentsOf(t, run.Dir) {
		if strings.Contains(e, "the-token") {
			t.Errorf("the token was stored: %s", e)
		}
	}
}

// A run that somebody removed on the server is made again, whole.
func TestMLflowRunIsGone(t *testing.T) {
	t.Setenv("GROUSE_TEST_TOKEN", "the-token")
	fake := &fakeMLflow{t: t}
	server := httptest.NewServer(fake)
	defer server.Close()
	spec := grouse.TrackerSpec{Use: "mlflow", Params: map[string]any{"uri": server.URL, "token": "env:GROUSE_TEST_TOKEN"}}
	run, source := testRun(t), &lines{}
	source.add(4)
	report(t, run, source, false, spec)
	fake.tags, fake.metrics, fake.forget = nil, nil, true
	source.add(1)
	report(t, run, source, true, spec)
	if !fake.metrics["loss 20 1700000000000 1.5"] || fake.status != "FINISHED" {
		t.Errorf("status %s, values %v", fake.status, fake.metrics)
	}
}

func TestMLflowWithoutServer(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	run, source := testRun(t), &lines{}
	source.add(3)
	w := report(t, run, source, true, grouse.TrackerSpec{Use: "mlflow", Params: map[string]any{"uri": server.URL}})
	if len(w) != 1 || !strings.Contains(w[0], "mlruns") {
		t.Errorf("warnings %q", w)
	}
	files, err := filepath.Glob(filepath.Join(run.Dir, "mlruns", "*", "demo-*", "metrics", "loss"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
}

// A store that MLflow made has its experiment used.
func TestMLflowFindsAnExperiment(t *testing.T) {
	run, source := testRun(t), &lines{}
	run.Base = t.TempDir()
	if err := os.MkdirAll(filepath.Join(run.Base, "store", "475624279077597506"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run.Base, "store", "475624279077597506", "meta.yaml"), []byte("experiment_id: '475624279077597506'\nname: adding\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	source.add(3)
	for range 2 {
		if w := report(t, run, source, true, grouse.TrackerSpec{Use: "mlflow", Params: map[string]any{"uri": "file:store", "experiment": "adding"}}); len(w) > 0 {
			t.Fatal(w)
		}
	}
	files, err := filepath.Glob(filepath.Join(run.Base, "store", "475624279077597506", "demo-*", "metrics", "time", "train_s"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil || string(raw) != "1700000000000 0.5 20\n1700000003000 0.5 21\n" {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestMLflowNames(t *testing.T) {
	for name, want := range map[string]string{
		"reward": "reward", "kl/math": "kl/math", "eval/avg@4": "eval/avg_4", "größe": "gr__e", "../../etc/passwd": "_______etc_passwd",
		"/abs": "__abs", "a//b": "_a__b", ".": "__", "..": "___", "a/../b": "_a____b",
	} {
		if got := mlflowName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
