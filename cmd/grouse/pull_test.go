package main

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/worker"
)

// hubServer speaks the hub's API: repositories by "models/ORG/NAME", each the
// files of a folder.
func hubServer(t *testing.T, repos map[string]string) string {
	t.Helper()
	const commit = "0123456789abcdef0123456789abcdef01234567"
	mux := http.NewServeMux()
	for name, dir := range repos {
		kind, repo, _ := strings.Cut(name, "/")
		var siblings []map[string]any
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(raw)), raw...))
			siblings = append(siblings, map[string]any{"rfilename": e.Name(), "size": len(raw), "blobId": hex.EncodeToString(sum[:])})
		}
		prefix := "/"
		if kind == "datasets" {
			prefix = "/datasets/"
		}
		mux.HandleFunc("/api/"+name+"/revision/main", func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": siblings})
		})
		base := prefix + repo + "/resolve/" + commit + "/"
		mux.Handle(base, http.StripPrefix(base, http.FileServer(http.Dir(dir))))
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// A pulled model is one by its hub name: for generate, and as model: in a recipe.
// A pulled data set is one for eval, and as data: in a recipe.
func TestPull(t *testing.T) {
	home, model, tables := t.TempDir(), textModel(t), t.TempDir()
	rows := `{"prompt":"1+1=","reward_model":{"ground_truth":"."},"extra":{"key":"never this"}}` + "\n" + `{"prompt":"xyz","reward_model":{"ground_truth":"."},"extra":{"key":"nor this"}}` + "\n"
	for _, f := range []string{"train.jsonl", "test.jsonl"} {
		if err := os.WriteFile(filepath.Join(tables, f), []byte(rows), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HF_ENDPOINT", hubServer(t, map[string]string{"models/org/model": model, "datasets/org/data": tables}))
	t.Setenv("HF_TOKEN", "")
	data := writeRows(t, row{"prompt": "1+1="})
	generate := func(m string) string {
		out, _ := grouseIn(t, home, 0, "generate", m, "--data", data, "--max-tokens", "5", "--json")
		return out
	}
	dev := cpu.New(1)
	_, err := worker.OpenPolicy(dev, grouse.ModelSpec{Hub: "org/model"}, "", home, 1)
	if grouse.KindOf(err) != grouse.NotFound || grouse.FixOf(err) != "grouse pull org/model" {
		t.Errorf("not pulled: %v (%s)", err, grouse.FixOf(err))
	}
	if _, errs := grouseIn(t, home, exitEnvironment, "eval", model, "--data", "hub:org/data", "--reward", "exact"); !strings.Contains(errs, "grouse pull org/data --dataset") {
		t.Errorf("data set not pulled: %s", errs)
	}
	out, errs := grouseIn(t, home, 0, "pull", "org/model")
	if want := filepath.Join(home, "models", "org", "model"); strings.TrimSpace(out) != want || !strings.Contains(errs, "model.safetensors") {
		t.Errorf("%s%s, want %s", out, errs, want)
	}
	if got, want := generate("org/model"), generate(model); got != want {
		t.Errorf("pulled %s, want %s", got, want)
	}
	if p, err := worker.OpenPolicy(dev, grouse.ModelSpec{Hub: "org/model"}, "", home, 1); err != nil || p.Model.Size() == 0 {
		t.Errorf("recipe: %v", err)
	}
	out, _ = grouseIn(t, home, 0, "pull", "org/data", "--dataset", "--json")
	if got := jsonLines[map[string]any](t, out)[0]; got["repo"] != "org/data" || len(got["files"].(map[string]any)) != 2 {
		t.Errorf("%v", got)
	}
	// The answer is found in verl's place, or where a dotted path says.
	for answer, want := range map[string]float64{"": 1, "extra.key": 0} {
		args := []string{"eval", "org/model", "--data", "hub:org/data", "--split", "test", "--limit", "1", "--greedy", "--max-tokens", "3", "--json",
			"--reward", `{"use":"regex","column":"answer"}`}
		if answer != "" {
			args = append(args, "--answer", answer)
		}
		out, _ := grouseIn(t, home, 0, args...)
		if got := jsonLines[map[string]any](t, out)[0]; got["prompts"] != 1.0 || got["avg@1"] != want {
			t.Errorf("%q: %v, want avg@1 %v", answer, got, want)
		}
	}
	grouseIn(t, home, exitInvalid, "eval", "org/model", "--data", "hub:org/data", "--split", "test", "--reward", "exact", "--answer", "extra.none")
	if _, errs := grouseIn(t, home, exitEnvironment, "eval", "org/model", "--data", "hub:org/data", "--split", "dev", "--reward", "exact"); !strings.Contains(errs, `no split "dev"`) {
		t.Errorf("%s", errs)
	}
	grouseIn(t, home, exitInvalid, "pull", "no-name")
	grouseIn(t, home, exitEnvironment, "pull", "org/other")
}
