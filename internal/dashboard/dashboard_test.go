package dashboard_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/dashboard"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/wire"
	"github.com/grouse-rl/grouse/internal/worker"
)

// hostile is what a policy might write; it must reach the page as text.
const hostile = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

// home makes a home with one run of two steps.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	r, err := config.Load("quickstart", config.Options{Name: "seen", Set: []string{"stages.rl.steps=300"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.SaveRecipe(dir, r); err != nil {
		t.Fatal(err)
	}
	run := worker.RunDir(dir, "seen")
	w, err := ledger.Open(run, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Append(context.Background(), grouse.GroupRecord{Stage: 1, Step: 2, Groups: []grouse.FinalGroup{
		{Candidate: 0, RowID: "12+34", Domain: "addition", State: grouse.GroupTrained},
		{Candidate: 1, RowID: "99+01", Domain: "addition", State: grouse.GroupFiltered, Reason: "flat_max", Mean: 1.1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var metrics strings.Builder
	for step := range int64(2) {
		raw, err := json.Marshal(worker.MetricLine{Event: "step", Stage: 1, Step: step + 1, Metrics: grouse.Metrics{"reward": 0.25 * float64(step+1), "entropy": 1.5}, Times: grouse.Metrics{"step_time": 2}})
		if err != nil {
			t.Fatal(err)
		}
		metrics.Write(append(raw, '\n'))
	}
	metrics.WriteString(`{"event":"step","stage":1,"step":3,"metr`) // being written
	write(t, filepath.Join(run, worker.MetricsFile), metrics.String())
	reward, wrong, right := 1.1, false, true
	ids := []int32{4, 5, 6, 1}
	rollout := func(i uint16) grouse.Rollout {
		return grouse.Rollout{Sample: i, ResponseIDs: ids, Logprobs: []float32{-0.1, -2, -0.5, 0}, Entropy: []float32{1, 2, 3, 4}, PolicyVersion: []int64{1, 1, 1, 1},
			Finish: grouse.FinishStop, Text: hostile, Kept: grouse.SamplingMask{IDs: []int32{5, 6}, Offsets: []int32{0, 0, 2, 2, 2}}}
	}
	groups := []grouse.Group{{Candidate: 0, Prompt: grouse.Prompt{RowID: "12+34", Domain: "addition", Text: hostile, TokenIDs: []int32{3, 4}}, Rollouts: []grouse.Rollout{rollout(0), rollout(1)}}}
	scores := []wire.GroupScores{{Candidate: 0, Scores: []grouse.Score{
		{Sample: 0, Reward: &reward, Correct: &right, Outcome: grouse.Scored, Parts: map[string]float64{"numeric": 1}, Explanation: hostile},
		{Sample: 1, Reward: new(float64), Correct: &wrong, Outcome: grouse.Scored}}}}
	trace := grouse.Trace{Advantage: 0.7, Logprobs: []float32{-0.1, -1.9, -0.5, 0}, Ratio: []float32{1, 1.105, 1, 1}, Clipped: []bool{false, true, false, false}}
	if err := os.MkdirAll(filepath.Join(run, worker.RolloutsDir), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(run, worker.RolloutsDir, worker.RolloutsFile(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := wire.ArchiveRollouts(f, wire.ArchivedStep{Stage: 1, Step: 2, Groups: groups, Scores: scores, Traces: [][]grouse.Trace{{trace, {Advantage: -0.7, Dropped: true}}}}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *httptest.Server, path string, into any) int {
	t.Helper()
	r, err := http.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s: %v: %s", path, err, raw)
		}
	}
	return r.StatusCode
}

func TestAPI(t *testing.T) {
	dir := home(t)
	s := httptest.NewServer(dashboard.Handler(dir))
	defer s.Close()
	var runs []map[string]any
	get(t, s, "/api/runs", &runs)
	if len(runs) != 1 || runs[0]["run"] != "seen" || runs[0]["step"] != 2.0 || runs[0]["reward"] != 0.5 || runs[0]["state"] != "unfinished" {
		t.Errorf("runs: %v", runs)
	}
	w, err := ledger.Open(worker.RunDir(dir, "seen"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if get(t, s, "/api/runs", &runs); runs[0]["state"] != "running" {
		t.Errorf("while its ledger is held the run is %v", runs[0]["state"])
	}
	w.Close()
	var lines struct {
		Next  int64
		Lines []map[string]any
	}
	get(t, s, "/api/runs/seen/lines/metrics?from=0", &lines)
	if len(lines.Lines) != 2 || lines.Lines[1]["step"] != 2.0 {
		t.Fatalf("lines: %+v", lines)
	}
	f, err := os.OpenFile(filepath.Join(worker.RunDir(dir, "seen"), worker.MetricsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("ics\":{}}\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	next := lines.Next
	lines.Lines = nil
	resp, _ := json.Marshal(next)
	get(t, s, "/api/runs/seen/lines/metrics?from="+string(resp), &lines)
	if len(lines.Lines) != 1 || lines.Lines[0]["step"] != 3.0 {
		t.Errorf("after the line was finished: %+v", lines)
	}
	var step struct {
		Groups []struct {
			Candidate int
			Mean      float64
			Samples   []map[string]any
		}
		Left []map[string]any
	}
	get(t, s, "/api/runs/seen/rollouts/1/2", &step)
	if len(step.Groups) != 1 || len(step.Groups[0].Samples) != 2 || step.Groups[0].Mean != 0.55 || len(step.Left) != 1 || step.Left[0]["reason"] != "flat_max" {
		t.Errorf("step: %+v", step)
	}
	var group struct {
		Completions []map[string]any
	}
	get(t, s, "/api/runs/seen/rollouts/1/2/0", &group)
	c := group.Completions[0]
	if c["advantage"] != 0.7 || c["kept"].([]any)[1] != 2.0 || c["clipped"].([]any)[1] != 1.0 || len(c["tokens"].([]any)) != 4 || c["parts"].(map[string]any)["numeric"] != 1.0 {
		t.Errorf("completion: %v", c)
	}
	for path, want := range map[string]int{
		"/api/runs/absent": 404, "/api/runs/..%2f..%2fetc": 400, "/api/runs/seen/lines/passwd": 404, "/api/runs/seen/lines/metrics?from=-1": 400,
		"/api/runs/seen/rollouts/1/9": 404, "/api/runs/seen/rollouts/x/2": 400, "/api/runs/seen/rollouts/1/2/7": 404,
	} {
		if got := get(t, s, path, nil); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

func TestForeignHostsAreRefused(t *testing.T) {
	h := dashboard.Handler(t.TempDir())
	for host, want := range map[string]int{"127.0.0.1:8320": 200, "localhost": 200, "[::1]:8320": 200, "evil.example": 403, "evil.example:8320": 403, "127.0.0.1.evil.example": 403} {
		req := httptest.NewRequest("GET", "/api/runs", nil)
		req.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != want {
			t.Errorf("host %s: %d, want %d", host, w.Code, want)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src 'self';") {
			t.Errorf("host %s: policy %q", host, w.Header().Get("Content-Security-Policy"))
		}
	}
}

// The page draws what the API says, in a browser, without an error, and what a
// policy wrote stays text.
func TestPageInABrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("NOT TESTED: no chromium on this machine (apt-get install chromium); CI has one")
	}
	s := httptest.NewServer(dashboard.Handler(home(t)))
	defer s.Close()
	for _, c := range []struct {
		path  string
		wants []string
	}{
		{"#/", []string{`href="#/seen"`, "unfinished", "2 / 300", "0.5"}},
		{"#/seen", []string{"<canvas", "Entropy", "seconds a step"}},
		{"#/seen/rollouts/1/2/0?color=ratio", []string{"sample 0", "advantage 0.7", "flat_max", "&lt;img src=x", `class="t"`, "rgba(", "off-policy masked"}},
		{"#/seen/recipe", []string{"stages:"}},
		{"#/seen/rollouts/1/9", []string{"sample 0"}}, // falls back to the last step there is
		{"#/absent", []string{"no run"}},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(),
			"--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000", "--dump-dom", s.URL+"/"+c.path)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		dom, err := cmd.Output()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v: %s", c.path, err, stderr.String())
		}
		for _, want := range c.wants {
			if !strings.Contains(string(dom), want) {
				t.Errorf("%s: the page lacks %q", c.path, want)
			}
		}
		if strings.Contains(string(dom), "owned") && !strings.Contains(string(dom), "&lt;script&gt;document.title='owned'") {
			t.Errorf("%s: markup of a completion reached the document", c.path)
		}
		if strings.Contains(string(dom), "<title>owned") || strings.Contains(string(dom), "<img src=\"x\"") {
			t.Errorf("%s: a completion's markup was run", c.path)
		}
		for _, line := range strings.Split(stderr.String(), "\n") {
			if strings.Contains(line, ":CONSOLE") && !strings.Contains(line, "404") {
				t.Errorf("%s: %s", c.path, line)
			}
		}
	}
}
