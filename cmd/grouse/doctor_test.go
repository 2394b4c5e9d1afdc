package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

// What doctor says of GPUs, for what a machine may have.
func TestDoctorTellsOfGPUs(t *testing.T) {
	gpu := []devices.GPU{{Index: 0, Name: "NVIDIA H200", MemoryBytes: 150 << 30, ComputeCapability: "9.0"}}
	missing := devices.Library{Name: "cuBLASLt", Needed: true, Problem: "cuBLASLt was not found", Fix: "pip install it"}
	driver := devices.Library{Name: "CUDA driver", Path: "/usr/lib/libcuda.so.1", Version: "12.4", Needed: true}
	nccl := devices.Library{Name: "NCCL", Problem: "NCCL was not found", Fix: "pip install nccl"}
	for _, c := range []struct {
		name   string
		report devices.Report
		want   string
	}{
		{"a build without CUDA", devices.Report{Problem: "this build has no CUDA", Fix: "build one"}, "true gpu none: this build has no CUDA; build one\n"},
		{"no driver", devices.Report{Built: true, Problem: "no driver", Fix: "install it", Libraries: []devices.Library{missing}}, "true gpu none: no driver; install it\n"},
		{"all there", devices.Report{Built: true, Usable: true, GPUs: gpu, Kernels: "NVRTC 12.4 for sm_90a", Libraries: []devices.Library{driver, nccl}},
			"true gpu 0: NVIDIA H200, 150.0 GiB, compute capability 9.0\ntrue cuda trainer.backend: cuda can be used; kernels from NVRTC 12.4 for sm_90a\n" +
				"true library CUDA driver 12.4, /usr/lib/libcuda.so.1\ntrue library NCCL: NCCL was not found; pip install nccl\n"},
		{"a GPU that cannot be used", devices.Report{Built: true, GPUs: gpu, Problem: "cuBLASLt was not found", Fix: "pip install it", Libraries: []devices.Library{driver, missing}},
			"true gpu 0: NVIDIA H200, 150.0 GiB, compute capability 9.0\nfalse cuda cuBLASLt was not found → pip install it\n" +
				"true library CUDA driver 12.4, /usr/lib/libcuda.so.1\nfalse library cuBLASLt: cuBLASLt was not found; pip install it → pip install it\n"},
	} {
		var b strings.Builder
		sayCUDA(c.report, func(ok bool, what, found, fix string) {
			b.WriteString(map[bool]string{true: "true ", false: "false "}[ok] + what + " " + found)
			if !ok {
				b.WriteString(" → " + fix)
			}
			b.WriteString("\n")
		})
		if b.String() != c.want {
			t.Errorf("%s:\n%swant\n%s", c.name, b.String(), c.want)
		}
	}
}

// doctor itself, on this machine and with this build, as text and as JSON.
func TestDoctor(t *testing.T) {
	home := t.TempDir()
	var text, line, errs bytes.Buffer
	code := run([]string{"--home", home, "doctor"}, &text, &errs)
	if again := run([]string{"--home", home, "doctor", "--json"}, &line, &errs); again != code {
		t.Errorf("exit codes %d and %d: %s", code, again, errs.String())
	}
	var out doctorJSON
	if err := json.Unmarshal(line.Bytes(), &out); err != nil || bytes.Count(line.Bytes(), []byte("\n")) != 1 {
		t.Fatalf("%v: %s", err, line.String())
	}
	if want := devices.Describe(); out.CUDA.Built != want.Built || out.CUDA.Usable != want.Usable || out.CUDA.Problem != want.Problem {
		t.Errorf("%+v, want %+v", out.CUDA, want)
	}
	for _, c := range out.Checks {
		if !strings.Contains(text.String(), c.Name) {
			t.Errorf("the text lacks %s:\n%s", c.Name, text.String())
		}
	}
	if !out.CUDA.Usable && !strings.Contains(text.String(), out.CUDA.Problem+"; "+out.CUDA.Fix) && len(out.CUDA.GPUs) == 0 {
		t.Errorf("the text does not say how to mend it:\n%s", text.String())
	}
}
