package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/safetensors"
)

// The programs themselves, with the tiny model on the processor.
func TestThePrograms(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	do := func(args ...string) {
		t.Helper()
		if err := run(t.Context(), args, &out); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
	}
	do("model", "tiny", dir+"/m")
	do("parity", "cpu", dir+"/m", dir+"/out.safetensors")
	f, err := safetensors.Open(filepath.Join(dir, "out.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	do("speed", "cpu", "tiny")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%q", lines)
	}
	for i, what := range []string{"generate", "train"} {
		var l line
		if err := json.Unmarshal([]byte(lines[i]), &l); err != nil || l.What != what || l.TokensPS <= 0 || (what == "train") != (l.FlopsPS > 0) {
			t.Errorf("%s: %v", lines[i], err)
		}
	}
	for _, args := range [][]string{nil, {"speed"}, {"speed", "cpu", "9b"}, {"speed", "tpu", "tiny"}, {"parity", "cpu", dir, "x"}} {
		if err := run(t.Context(), args, &out); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// Against the count of a model of the size: 6 N T is the usual estimate.
func TestFlops(t *testing.T) {
	for name, params := range map[string]float64{"0.6b": 0.596e9, "1.7b": 1.72e9, "8b": 7.57e9} { // in products; 8b has 8.19e9 with the embedding
		if got := shapes[name].flops(0) / 6; got < 0.99*params || got > 1.01*params {
			t.Errorf("%s: %.3g weights in products, want %.3g", name, got, params)
		}
	}
}
