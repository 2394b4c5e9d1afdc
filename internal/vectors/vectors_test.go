package vectors_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// vectorFile is one file of testdata.
type vectorFile struct {
	Schema int             `json:"schema"`
	File   string          `json:"file"`
	Cases  json.RawMessage `json:"cases"`
}

// vectorCase is one case of a file; its parts are decoded by the file's runner.
type vectorCase struct {
	Name     string          `json:"name"`
	Config   json.RawMessage `json:"config"`
	Input    json.RawMessage `json:"input"`
	Expected json.RawMessage `json:"expected"`
}

// runner checks one case against the owner of its formulas.
type runner func(c vectorCase) error

// runners are the kinds of files there are, by their field "file".
var runners = map[string]runner{
	"grpo_loss":     runLoss,
	"kl":            runKL,
	"sampling_mask": runSamplingMask,
	"routing":       runRouting,
	"dsa_indexer":   runIndexer,
	"rewards":       runRewards,
}

// load reads a vector file's cases and its runner.
func load(data []byte) (runner, []vectorCase, error) {
	var f vectorFile
	if err := strict(data, &f); err != nil {
		return nil, nil, err
	}
	run, ok := runners[f.File]
	if !ok {
		return nil, nil, fmt.Errorf("unknown file %q", f.File)
	}
	if f.Schema != 1 {
		return nil, nil, fmt.Errorf("schema %d, want 1", f.Schema)
	}
	var cases []vectorCase
	if err := strict(f.Cases, &cases); err != nil {
		return nil, nil, err
	}
	if len(cases) == 0 {
		return nil, nil, fmt.Errorf("no cases")
	}
	return run, cases, nil
}

// loadFolder returns the contents of every vector file of a folder, or an error
// if there is none.
func loadFolder(dir string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s holds no vector files", dir)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		if out[filepath.Base(p)], err = os.ReadFile(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func TestVectors(t *testing.T) {
	files, err := loadFolder("testdata")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			run, cases, err := load(data)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cases {
				t.Run(c.Name, func(t *testing.T) {
					if err := run(c); err != nil {
						t.Error(err)
					}
				})
			}
			var f vectorFile
			if json.Unmarshal(data, &f) == nil {
				seen[f.File] = true
			}
		})
	}
	for file := range runners {
		if !seen[file] {
			t.Errorf("testdata has no file of kind %q", file)
		}
	}
}

// A test of the test: a number of an expectation changed by 1%, a flipped bit and
// a changed text must be noticed, in every field of every case, at a dozen places
// of an array.
func TestChangedExpectationsFail(t *testing.T) {
	files, err := loadFolder("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		run, cases, err := load(data)
		if err != nil {
			t.Fatal(err)
		}
		tried, skipped := 0, 0
		for _, c := range cases {
			var want any
			if err := json.Unmarshal(c.Expected, &want); err != nil {
				t.Fatal(err)
			}
			perField := map[string]int{}
			leaves(want, func(path string, old any, set func(any)) {
				field := index.ReplaceAllString(path, "")
				if perField[field]++; perField[field] > 12 {
					return
				}
				changed, ok := change(old)
				if inputPath.MatchString(c.Name + path) {
					return
				}
				if !ok {
					skipped++
					return
				}
				set(changed)
				defer set(old)
				p := c
				if p.Expected, err = json.Marshal(want); err != nil {
					t.Fatal(err)
				}
				tried++
				if run(p) == nil {
					t.Errorf("%s: %s: expected%s changed from %v to %v is not noticed", name, c.Name, path, old, changed)
				}
			})
		}
		if tried < 10 || skipped > tried {
			t.Errorf("%s: only %d expectations were changed, %d were too small to", name, tried, skipped)
		}
	}
}

// index matches the place in an array.
var index = regexp.MustCompile(`\[\d+\]`)

// inputPath matches what rewards.json keeps under "expected" although it is the
// question and not the answer.
var inputPath = regexp.MustCompile(`^(zero_gradient_filter\.groups\[\d+\]\.rewards|(verifier|generator)_format\.rows\[\d+\]\.text)`)

// change returns an expectation that is wrong by 1%; ok is false for numbers of
// which 1% is within the tolerance: 0 and what is next to it.
func change(old any) (changed any, ok bool) {
	switch v := old.(type) {
	case float64:
		if v == 0 {
			return 0.01, true
		}
		return v * 1.01, math.Abs(v) > 2e-3 || (math.Abs(v) > 1e-9 && math.Abs(v) < 1e-5)
	case bool:
		return !v, true
	case string:
		return v + "x", true
	}
	return nil, false // null
}

// leaves calls f for every leaf of a JSON value.
func leaves(v any, f func(path string, old any, set func(any))) {
	var walk func(path string, v any, set func(any))
	walk = func(path string, v any, set func(any)) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(path+"."+k, x, func(n any) { v[k] = n })
			}
		case []any:
			for i, x := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), x, func(n any) { v[i] = n })
			}
		default:
			f(path, v, set)
		}
	}
	walk("", v, func(any) {})
}

func TestUnknownThingsFail(t *testing.T) {
	if _, err := loadFolder(t.TempDir()); err == nil {
		t.Error("an empty folder passes")
	}
	files, err := loadFolder("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, file, old, new string }{
		{"unknown file", "kl.json", `"file": "kl"`, `"file": "kl2"`},
		{"unknown schema", "kl.json", `"schema": 1`, `"schema": 2`},
		{"unknown top field", "kl.json", `"schema": 1`, `"extra": 1, "schema": 1`},
		{"unknown case field", "kl.json", `"name":`, `"extra": 1, "name":`},
		{"unknown input field", "kl.json", `"logits_old":`, `"extra": 1, "logits_old":`},
		{"unknown expected field", "kl.json", `"grad_kl_logits":`, `"extra": 1, "grad_kl_logits":`},
		{"missing expected field", "kl.json", `"grad_forward_kl_logits"`, `"grad_kl_logits"`},
		{"unknown config field", "grpo_loss.json", `"adv_norm":`, `"extra": 1, "adv_norm":`},
		{"unknown config value", "grpo_loss.json", `"agg": "token_mean"`, `"agg": "mean"`},
		{"unknown estimator", "grpo_loss.json", `"kl": "k2_is"`, `"kl": "k5"`},
		{"other clamp", "grpo_loss.json", `"log_ratio_clamp": 20.0`, `"log_ratio_clamp": 10.0`},
		{"unknown score function", "routing.json", `"score_func": "softmax"`, `"score_func": "relu"`},
		{"unknown kind of case", "rewards.json", `"name": "overlong_dapo"`, `"name": "overload_dapo"`},
		{"unknown advantage", "rewards.json", `"norm": "mean_std"`, `"norm": "max"`},
	} {
		text := string(files[c.file])
		if !strings.Contains(text, c.old) {
			t.Errorf("%s: %s does not contain %s", c.what, c.file, c.old)
			continue
		}
		run, cases, err := load([]byte(strings.Replace(text, c.old, c.new, 1)))
		for i := 0; err == nil && i < len(cases); i++ {
			err = run(cases[i])
		}
		if err == nil {
			t.Errorf("%s: passes", c.what)
		}
	}
}

// strict decodes JSON and fails on unknown fields and on trailing text.
func strict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.More() {
		return fmt.Errorf("text after the JSON value")
	}
	return nil
}

// decode is strict and also fails if a field of the struct v points to is missing
// from the JSON object.
func decode(what string, data []byte, v any) error {
	if err := strict(data, v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var got, want map[string]json.RawMessage
	if err := json.Unmarshal(data, &got); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	all, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(all, &want); err != nil {
		return err
	}
	for k := range want {
		if _, ok := got[k]; !ok {
			return fmt.Errorf("%s: field %q is missing", what, k)
		}
	}
	return nil
}

// Tolerances of the vectors' README.
type tolerance struct{ rel, abs float64 }

var (
	double = tolerance{1e-9, 1e-12}
	single = tolerance{1e-4, 1e-5}
)

// diff collects what does not agree.
type diff struct{ errs []string }

func (d *diff) addf(format string, args ...any) {
	d.errs = append(d.errs, fmt.Sprintf(format, args...))
}

func (d *diff) number(what string, got, want float64, tol tolerance) {
	if !(math.Abs(got-want) <= tol.rel*math.Abs(want)+tol.abs) {
		d.addf("%s: got %v, want %v", what, got, want)
	}
}

func (d *diff) numbers(what string, got, want []float64, tol tolerance) {
	if len(got) != len(want) {
		d.addf("%s: got %d numbers, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		d.number(fmt.Sprintf("%s[%d]", what, i), got[i], want[i], tol)
	}
}

func (d *diff) ragged(what string, got, want [][]float64, tol tolerance) {
	if len(got) != len(want) {
		d.addf("%s: got %d rows, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		d.numbers(fmt.Sprintf("%s[%d]", what, i), got[i], want[i], tol)
	}
}

// exact compares by JSON: masks, sets, choices, texts.
func (d *diff) exact(what string, got, want any) {
	g, err1 := json.Marshal(got)
	w, err2 := json.Marshal(want)
	if err1 != nil || err2 != nil || !bytes.Equal(g, w) {
		d.addf("%s: got %s, want %s", what, g, w)
	}
}

func (d *diff) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	if n := len(d.errs); n > 8 {
		d.errs = append(d.errs[:8], fmt.Sprintf("and %d more", n-8))
	}
	return fmt.Errorf("%s", strings.Join(d.errs, "\n"))
}

func noConfig(c vectorCase) error {
	if c.Config != nil {
		return fmt.Errorf("unknown field config")
	}
	return nil
}
