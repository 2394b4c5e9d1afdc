package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/worker"
)

// runRecord is the first record of a run's ledger.
func runRecord(t *testing.T, home, name string) grouse.RunRecord {
	t.Helper()
	for e, err := range ledger.Read(worker.RunDir(home, name)) {
		if err != nil {
			t.Fatal(err)
		}
		rec, err := e.Record()
		if err != nil {
			t.Fatal(err)
		}
		return rec.(grouse.RunRecord)
	}
	t.Fatalf("run %s has no ledger", name)
	return grouse.RunRecord{}
}

func TestForkDiffLogs(t *testing.T) {
	home := smallRun(t)
	at, err := worker.Locate(home, "small@4")
	if err != nil {
		t.Fatal(err)
	}

	out, errs := grouseIn(t, home, 0, "fork", "small", "--at", "4", "--name", "forked", "--json", "--set", "stages.rl.steps=3", "--set", "rollout.temperature=1.25",
		"--set", "trackers=[tensorboard, {use: wandb, key: env:GROUSE_TEST_NO_KEY}, mlflow, {use: prometheus, listen: '127.0.0.1:0'}]")
	lines := jsonLines[map[string]any](t, out)
	first, last := lines[0], lines[len(lines)-1]
	from := map[string]any{"run": "small", "stage": "rl", "step": 4.0, "chain": at.Chain}
	for k, v := range from {
		if first["event"] != "fork" || first["from"].(map[string]any)[k] != v {
			t.Errorf("the first line is %v", first)
		}
	}
	if last["event"] != "done" || last["steps"] != 3.0 {
		t.Fatalf("the last line is %v\n%s", last, errs)
	}
	if !strings.Contains(out, "there is no key in env:GROUSE_TEST_NO_KEY") {
		t.Errorf("nobody is told that there is no key:\n%s", out)
	}

	t.Run("the chain says where it is from", func(t *testing.T) {
		rec := runRecord(t, home, "forked")
		if !strings.Contains(string(rec.Spec), `"chain":"`+at.Chain+`"`) {
			t.Errorf("the recipe in the ledger is %s", rec.Spec)
		}
		if rec.Chain != grouse.ChainStart(rec.WeightsSHA256, rec.RecipeSHA256) || rec.Chain == runRecord(t, home, "small").Chain {
			t.Errorf("H_0 is %s", rec.Chain)
		}
		grouseIn(t, home, 0, "audit", "forked")
		grouseIn(t, home, 0, "replay", "forked")
	})
	t.Run("it begins with the checkpoint's weights", func(t *testing.T) {
		same := func(name string) []byte {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		initial := filepath.Join(worker.RunDir(home, "forked"), worker.InitialDir)
		if !slices.Equal(same(filepath.Join(initial, "model.safetensors")), same(filepath.Join(at.Path, "model.safetensors"))) {
			t.Error("other weights")
		}
		if _, err := os.Stat(filepath.Join(initial, "optimizer.safetensors")); err == nil {
			t.Error("the moments were copied")
		}
	})
	t.Run("trackers", func(t *testing.T) {
		dir := worker.RunDir(home, "forked")
		for _, pattern := range []string{"tensorboard/events.out.tfevents.*", "wandb/offline-run-forked-*/run-forked-*.wandb", "mlruns/*/forked-*/metrics/reward*", "trackers/0-tensorboard.json"} {
			files, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
			if err != nil || len(files) == 0 {
				t.Errorf("%s: %v, %v", pattern, files, err)
			}
			for _, f := range files {
				if info, err := os.Stat(f); err == nil && !info.IsDir() && info.Size() == 0 {
					t.Errorf("%s is empty", f)
				}
			}
		}
	})

	t.Run("diff", func(t *testing.T) {
		out, _ := grouseIn(t, home, 0, "diff", "small", "forked", "--json")
		d := jsonLines[worker.Comparison](t, out)[0]
		if d.At == nil || *d.At != (worker.SharedStep{Stage: "rl", Step: 3}) {
			t.Fatalf("the last step of both is %+v", d.At)
		}
		keys := map[string]string{}
		for _, k := range d.Recipe {
			keys[k.Key] = string(k.A) + " " + string(k.B)
		}
		for key, want := range map[string]string{"stages.rl.steps": "5 3", "stages.rl.rollout.sampling.temperature": "1 1.25", "model.from.step": "null 4", "stages.sft.steps": "20 null"} {
			if keys[key] != want {
				t.Errorf("%s: %q, want %q", key, keys[key], want)
			}
		}
		if keys["name"] != "" || keys["seed"] != "" {
			t.Errorf("keys that are the same: %v", keys)
		}
		seen := false
		for _, m := range d.Metrics {
			seen = seen || m.Metric == "reward" && m.A != nil && m.B != nil
		}
		if !seen || d.Eval == nil || len(d.Evals) == 0 {
			t.Errorf("metrics %+v, eval %+v", d.Metrics, d.Eval)
		}
		text, _ := grouseIn(t, home, 0, "diff", "small", "forked")
		for _, want := range []string{"RECIPE", "stages.rl.steps", "step rl 3", "reward", "B - A"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		if text, _ := grouseIn(t, home, 0, "diff", "small", "small"); !strings.Contains(text, "the recipes are the same") {
			t.Errorf("a run and itself:\n%s", text)
		}
		grouseIn(t, home, exitEnvironment, "diff", "small", "nobody")
	})

	t.Run("logs", func(t *testing.T) {
		out, _ := grouseIn(t, home, 0, "logs", "small", "-f") // it is done: -f ends
		if strings.Count(out, "\n") != strings.Count(mustRead(t, home, "small", worker.EventsFile), "\n") || !strings.Contains(out, "checkpoint") || !strings.Contains(out, "rl 5") {
			t.Errorf("got\n%s", out)
		}
		out, _ = grouseIn(t, home, 0, "logs", "small", "--kind", "step", "-n", "2", "--json")
		var steps []int64
		for _, e := range jsonLines[worker.EventLine](t, out) {
			if e.Kind != "step" || e.At == 0 {
				t.Errorf("event %+v", e)
			}
			steps = append(steps, e.Step)
		}
		if !slices.Equal(steps, []int64{4, 5}) {
			t.Errorf("steps %v", steps)
		}
		if out, _ := grouseIn(t, home, 0, "logs", "forked", "--kind", "warning"); !strings.Contains(out, "GROUSE_TEST_NO_KEY") {
			t.Errorf("warnings:\n%s", out)
		}
		grouseIn(t, home, exitInvalid, "logs", "small", "--kind", "steps")
		grouseIn(t, home, exitEnvironment, "logs", "nobody")
	})

	t.Run("refusals", func(t *testing.T) {
		for want, args := range map[string][]string{
			"there is a run":       {"fork", "small", "--name", "forked"},
			"run name":             {"fork", "small", "--name", "A/b"},
			"has no checkpoint":    {"fork", "small", "--at", "3", "--name", "new"},
			"cannot be changed":    {"fork", "small", "--name", "new", "--set", "model=./x"},
			"unknown key":          {"fork", "small", "--name", "new", "--set", "trainer.lerning_rate=1"},
			"no run":               {"fork", "nobody", "--name", "new"},
			`has no "sft"`:         {"fork", "small", "--name", "new", "--set", "stages.sft.steps=3"},
			"by reference":         {"fork", "small", "--name", "new", "--set", "trackers=[{use: wandb, key: abc}]"},
			"a group of one":       {"fork", "small", "--name", "new", "--set", "rollout.num_generations=1"},
			"want key=value":       {"fork", "small", "--name", "new", "--set", "seed"},
			"trainer.backend":      {"fork", "small", "--name", "new", "--set", "trainer.backend=torch"},
			"missing flags: --nam": {"fork", "small"},
		} {
			var out, errs strings.Builder
			if code := run(append([]string{"--home", home}, args...), &out, &errs); code == 0 || !strings.Contains(errs.String(), want) {
				t.Errorf("%v: exit %d, %s, want %q", args, code, errs.String(), want)
			}
			if _, err := os.Stat(worker.RunDir(home, "new")); err == nil {
				t.Fatalf("%v: a folder was made", args)
			}
		}
	})

	t.Run("a fork of the sft stage that is made and started later", func(t *testing.T) {
		_, errs := grouseIn(t, home, 0, "fork", "small", "--at", "sft-step-000020", "--name", "later", "--no-run", "--set", "seed=5")
		if !strings.Contains(errs, "grouse resume later") || !strings.Contains(errs, "seed") {
			t.Errorf("%s", errs)
		}
		r, err := worker.LoadRecipe(home, "later")
		if err != nil || len(r.Spec.Stages) != 2 || r.Spec.Seed != 5 {
			t.Errorf("%+v, %v", r, err)
		}
		if err := os.RemoveAll(worker.RunDir(home, "small")); err != nil { // the fork does not need it
			t.Fatal(err)
		}
		grouseIn(t, home, 0, "resume", "later", "--json")
		grouseIn(t, home, 0, "audit", "later")
	})
}

func mustRead(t *testing.T, home, run, file string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(worker.RunDir(home, run), file))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
