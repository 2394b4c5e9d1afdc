package main

import (
	"bytes"
	"encoding/json"
	"os"
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
	for _, args := range [][]string{nil, {"speed"}, {"speed", "cpu", "9b"}, {"speed", "tpu", "tiny"}, {"parity", "cpu", dir, "x"}, {"mfu", dir + "/none", dir + "/none"}} {
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

// 0.6B with sequences of 4096: 6 of 0.596 billion weights and 6 x 28 x 16 x 128 x 4096
// of attention are 4.985 GFLOP a token; so 100,000 tokens a second are 498.5 TFLOP/s.
func TestMFU(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flops := shapes["0.6b"].flops(4096)
	if want := 6*596049920.0 + 6*28*16*128*4096; flops < want*0.999 || flops > want*1.001 {
		t.Fatalf("%g operations a token, want %g", flops, want)
	}
	train, err := json.Marshal(line{Who: "grouse", What: "train", Shape: "0.6b", TokensPS: 1e5, FlopsPS: 1e5 * flops})
	if err != nil {
		t.Fatal(err)
	}
	speeds := write("speed.jsonl", `{"who":"grouse","what":"generate","shape":"0.6b","tokens_per_s":5}`+"\nlibrary: hello\n"+string(train)+"\n")
	for gpu, want := range map[string]string{
		"NVIDIA H100 80GB HBM3":     "MFU of training on NVIDIA H100 80GB HBM3, of 989 TFLOP/s in dense bfloat16\n  0.6b   grouse              100000 tokens/s   50.4 %\n",
		"NVIDIA H200":               "MFU of training on NVIDIA H200, of 989 TFLOP/s in dense bfloat16\n  0.6b   grouse              100000 tokens/s   50.4 %\n",
		"NVIDIA H100 PCIe":          "MFU is not printed: the peak of NVIDIA H100 PCIe is not known here\n",
		"NVIDIA H200 NVL":           "MFU is not printed: the peak of NVIDIA H200 NVL is not known here\n",
		"NVIDIA A100-SXM4-80GB":     "MFU is not printed: the peak of NVIDIA A100-SXM4-80GB is not known here\n",
		"NVIDIA H100 80GB HBM3 MIG": "MFU is not printed: the peak of NVIDIA H100 80GB HBM3 MIG is not known here\n",
	} {
		var out bytes.Buffer
		doctor := write("doctor.json", `{"cuda":{"gpus":[{"name":"`+gpu+`"}]}}`)
		if err := run(t.Context(), []string{"mfu", doctor, speeds}, &out); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v; want %q", gpu, out.String(), err, want)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"mfu", write("doctor.json", `{"cuda":{}}`), speeds}, &out); err != nil || !strings.Contains(out.String(), "there is no GPU") {
		t.Errorf("no GPU: %q, %v", out.String(), err)
	}
	if err := run(t.Context(), []string{"mfu", write("doctor.json", "x"), speeds}, &out); err == nil {
		t.Error("a doctor.json that is none was taken")
	}
}
