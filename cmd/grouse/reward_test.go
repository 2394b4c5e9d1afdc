package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/rubric"
)

func TestRewardList(t *testing.T) {
	out, _ := grouseIn(t, t.TempDir(), exitOK, "reward", "list", "--json")
	names := map[string]bool{}
	for _, l := range jsonLines[map[string]any](t, out) {
		names[l["name"].(string)] = true
	}
	for _, want := range []string{"math", "format", "python", "exec", "http", "wasm", "activity", "rubric"} {
		if !names[want] {
			t.Errorf("%s is not listed", want)
		}
	}
}

func TestRewardTest(t *testing.T) {
	rows := writeRows(t, row{"completion": `\boxed{1/2}`, "answer": "0.5", "group": "a"}, row{"completion": "2", "answer": "0.5", "group": "a"},
		row{"completion": []string{"4", "four"}, "answer": "4"}, row{"completion": "1", "answer": "2", "group": "b"}, row{"completion": "3", "answer": "2", "group": "b"})
	home := t.TempDir()
	out, _ := grouseIn(t, home, exitOK, "reward", "test", "math", "--data", rows, "--json")
	lines := jsonLines[map[string]any](t, out)
	if len(lines) != 5 || lines[0]["value"] != 1.0 || lines[1]["value"] != 0.0 || lines[0]["error"] != nil || lines[0]["index"] != 0.0 || lines[0]["ms"] == nil || lines[0]["detail"] == nil {
		t.Errorf("lines %v", lines)
	}
	if values, ok := lines[2]["value"].([]any); !ok || len(values) != 2 || values[0] != 1.0 || values[1] != 0.0 {
		t.Errorf("a group's values: %v", lines[2]["value"])
	}
	out, _ = grouseIn(t, home, exitOK, "reward", "test", "math", "--data", rows)
	for _, part := range []string{"5 lines, 6 values, 0 errors", "slowest", "the same results every time", "1 of 3 without variance"} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
	out, _ = grouseIn(t, home, exitFailed, "reward", "test", "exact", "--data", rows, "--param", "column=label")
	if !strings.Contains(out, `no column "label"`) || !strings.Contains(out, "errors      error: 5") {
		t.Errorf("errors are not told:\n%s", out)
	}
	for _, args := range [][]string{{"no_such"}, {"math", "--param", "x"}, {"math", "--param", "colum=answer"}} {
		if code := run(append(append([]string{"--home", home, "reward", "test"}, args...), "--data", rows), new(bytes.Buffer), new(bytes.Buffer)); code == exitOK {
			t.Errorf("%v: exit code 0", args)
		}
	}
	if _, errs := grouseIn(t, home, exitInvalid, "reward", "test", "math", "--data", writeRows(t, row{"answer": "1"})); !strings.Contains(errs, ":1: no completion") {
		t.Errorf("a line without a completion: %s", errs)
	}
}

// A reward that is not deterministic is found out.
func TestRewardTestNoticesChance(t *testing.T) {
	script := filepath.Join(t.TempDir(), "chance")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nn=0\nwhile read -r line; do n=$((n+1)); echo \"{\\\"scores\\\":[$n]}\"; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, _ := grouseIn(t, t.TempDir(), exitFailed, "reward", "test", script, "--data", writeRows(t, row{"completion": "a"}))
	if !strings.Contains(out, "1 lines had another result") {
		t.Errorf("a counter passes as deterministic:\n%s", out)
	}
}

func TestRewardNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	out, _ := grouseIn(t, t.TempDir(), exitOK, "reward", "new", "mine", "--kind", "exec", "--dir", dir)
	if !strings.Contains(out, "mine.py") {
		t.Errorf("written: %s", out)
	}
	if _, errs := grouseIn(t, t.TempDir(), exitInvalid, "reward", "new", "mine", "--kind", "fortran", "--dir", dir); !strings.Contains(errs, "activity") {
		t.Errorf("an unknown kind: %s", errs)
	}
}

// A run's stored completions by another reward: what changed is told, nothing is
// written.
func TestRescore(t *testing.T) {
	home := smallRun(t)
	before := strings.Join(tree(t, worker.RunDir(home, "small")), "\n")
	same, _ := grouseIn(t, home, exitOK, "rescore", "small", "--reward", `{"use":"regex","pattern":"5"}`, "--json")
	lines := jsonLines[rescoreLine](t, same)
	if len(lines) == 0 {
		t.Fatal("no completion")
	}
	text := 0
	for _, l := range lines {
		text += len(l.Completion)
		if l.Before == nil || l.After == nil || *l.Before != *l.After || l.Row == "" {
			t.Fatalf("the run's own rewards say something else: %+v", l)
		}
	}
	if text == 0 {
		t.Error("no completion has a text")
	}
	other, _ := grouseIn(t, home, exitOK, "rescore", "small", "--reward", `{"use":"regex","pattern":"[0-9]"}`, "--steps", "1-5", "--show", "1")
	if !strings.Contains(other, "completions") || !strings.Contains(other, "all") || !strings.Contains(other, "── step") {
		t.Errorf("the table:\n%s", other)
	}
	if after := strings.Join(tree(t, worker.RunDir(home, "small")), "\n"); after != before {
		t.Error("rescore wrote to the run")
	}
	if _, errs := grouseIn(t, home, exitEnvironment, "rescore", "small", "--reward", "numeric", "--steps", "900-"); !strings.Contains(errs, "no such completions") {
		t.Errorf("steps that there are not: %s", errs)
	}
	for _, steps := range []string{"0", "5-2", "x", "-3"} {
		if code := run([]string{"--home", home, "rescore", "small", "--reward", "numeric", "--steps=" + steps}, new(bytes.Buffer), new(bytes.Buffer)); code != exitInvalid {
			t.Errorf("--steps %s: exit code %d", steps, code)
		}
	}
}

// A person answers on a terminal what a rubric asks.
func TestJudge(t *testing.T) {
	home := t.TempDir()
	params := map[string]any{"judge": map[string]any{"engine": "human"}, "items": []any{map[string]any{"id": "right", "text": "The sum is right."}, map[string]any{"id": "clear", "text": "It is clear.", "kind": "scale"}}}
	reward, err := worker.Rewards(home, nil).New("rubric", params)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		results []rewards.Result
		err     error
	}
	done := make(chan answer, 1)
	go func() {
		results, err := rewards.Call(context.Background(), reward, rewards.NewTextGroup(grouse.Prompt{Text: "2+2?"}, "4"), time.Minute)
		done <- answer{results, err}
	}()
	dir := worker.JudgeDir(home)
	var open []rubric.Waiting
	for begin := time.Now(); len(open) == 0 && time.Since(begin) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if open, err = rubric.Open(dir); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := grouseIn(t, home, exitOK, "judge", "--json")
	if lines := jsonLines[rubric.Waiting](t, out); len(lines) != 1 || !strings.Contains(lines[0].User, "2+2?") {
		t.Fatalf("waiting: %s", out)
	}
	var screen bytes.Buffer
	if err := ask(&app{stdout: &screen, stderr: &screen}, strings.NewReader("maybe\n1\n0.5\nwell done\n"), dir, open); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.err != nil || got.results[0].Value != 0.75 || !strings.Contains(got.results[0].Explanation, "well done") || !strings.Contains(screen.String(), "a number, 0 or 1") {
		t.Errorf("%+v, the screen said\n%s", got, screen.String())
	}
	if _, errs := grouseIn(t, home, exitOK, "judge"); !strings.Contains(errs, "no question waits") {
		t.Errorf("nothing waits: %s", errs)
	}
}

// A checkpoint of ours can be the judge: a question is answered, the same one the same
// way, and what is special to its tokenizer loses that in the question.
func TestLocalJudge(t *testing.T) {
	dir := textModel(t)
	config := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, regexp.MustCompile(`"max_position_embeddings": *\d+`).ReplaceAll(raw, []byte(`"max_position_embeddings": 4096`)), 0o644); err != nil {
		t.Fatal(err)
	}
	params := map[string]any{"judge": map[string]any{"engine": "local", "model": dir, "max_tokens": 4}, "attempts": 2, "items": []any{map[string]any{"text": "x"}}}
	reward, err := worker.Rewards(t.TempDir(), nil).New("rubric", params)
	if err != nil {
		t.Fatal(err)
	}
	// A model that was never trained writes no JSON: that is an error, not a mark of 0.
	_, err = rewards.Call(context.Background(), reward, rewards.NewTextGroup(grouse.Prompt{Text: "2"}, "4</s>"), time.Minute)
	if rewards.OutcomeOf(err) != grouse.BadOutput || !strings.Contains(err.Error(), "after 2 attempts") {
		t.Errorf("%v (%s), want bad_output after 2 attempts", err, rewards.OutcomeOf(err))
	}
	_, err = rewards.Call(context.Background(), reward, rewards.NewTextGroup(grouse.Prompt{Text: "2"}, strings.Repeat("long ", 5000)), time.Minute)
	if rewards.OutcomeOf(err) != grouse.Errored || !strings.Contains(err.Error(), "has room for") {
		t.Errorf("a question longer than the context: %v", err)
	}
	params["judge"] = map[string]any{"engine": "local", "model": "no/such/model"}
	if _, err := worker.Rewards(t.TempDir(), nil).New("rubric", params); err == nil || grouse.FixOf(err) == "" {
		t.Errorf("a model that is not there: %v", err)
	}
}
