//go:build cuda && cgo

package cudashim

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "gorgonia.org/cu" // its init calls cuInit: that this test runs shows that no harm is done
	_ "gorgonia.org/cu/nvrtc"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/cudashim/fake"
)

// The order matters: a library that was opened stays open.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("VIRTUAL_ENV", "")
	t.Setenv("CONDA_PREFIX", "")
	if _, err := exec.LookPath("nvidia-smi"); err != nil { // no driver here
		_, err := Open(Driver)
		if grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "libcuda.so.1") || grouse.FixOf(err) == "" {
			t.Errorf("without a driver: %v; %s", err, grouse.FixOf(err))
		}
	}
	if err := fake.Build(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(EnvFolders, dir)
	t.Setenv("FAKE_CUDA_DEVICES", "0")
	_, err := Open(Driver)
	if grouse.KindOf(err) != grouse.Unavailable || !strings.Contains(err.Error(), "no GPU") {
		t.Errorf("without a GPU: %v", err)
	}
	t.Setenv("FAKE_CUDA_DEVICES", "1")
	for l, version := range map[Library]string{Driver: "12.4", CuBLASLt: "12.4.1", NVRTC: "12.4", NCCL: "2.28.9"} {
		o, err := Open(l)
		if err != nil {
			t.Fatal(err)
		}
		if o.Version != version || filepath.Dir(o.Path) != dir {
			t.Errorf("%v: %+v, want version %s from %s", l, o, version, dir)
		}
	}
}

// A library without one of the functions is passed over, and named.
func TestAnIncompleteLibraryIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "libnccl.so.2")
	source := filepath.Join(dir, "a.c")
	if err := os.WriteFile(source, []byte("int ncclGetVersion(int *v) { return 0; }"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", file, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := load(NCCL, file); err == nil || !strings.Contains(err.Error(), "has no function ncclAllGather") {
		t.Errorf("%v", err)
	}
}

func TestTheBinaryNeedsNoCUDA(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range libs {
		if regexp.MustCompile(`cuda|nvrtc|cublas|nccl|nvidia`).MatchString(l) {
			t.Errorf("the binary needs %s (of %q)", l, libs)
		}
	}
	if len(libs) == 0 {
		t.Error("no library at all: is this binary linked with cgo?")
	}
}

// What the compiled packages want of NVIDIA's libraries is what the lists name, no
// more and no less; and none of it is a function's first generation where
// versions.txt knows a later one.
func TestTheListsAreWhatIsLinked(t *testing.T) {
	const module = "github.com/grouse-rl/grouse/internal/"
	out, err := exec.Command("go", "list", "-tags", "cuda", "-export", "-f", "{{.Export}}", "gorgonia.org/cu", "gorgonia.org/cu/nvrtc",
		module+"cudashim", module+"tensor/cuda/gpu", module+"tensor/cuda/nccl").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	wanted, defined := map[string]bool{}, map[string]bool{}
	ours := regexp.MustCompile(`^(cu|nvrtc|cublasLt|nccl)[A-Z]\w*$`)
	for _, archive := range strings.Fields(string(out)) {
		symbols, err := exec.Command("nm", archive).Output() // it complains of Go's own members, and goes on
		if len(symbols) == 0 {
			t.Fatalf("nm %s: %v", archive, err)
		}
		for line := range strings.Lines(string(symbols)) {
			f := strings.Fields(line)
			if len(f) == 2 && f[0] == "U" && ours.MatchString(f[1]) {
				wanted[f[1]] = true
			}
			if len(f) == 3 && f[1] == "T" && ours.MatchString(f[2]) {
				defined[f[2]] = true
			}
		}
	}
	listed := map[string]bool{}
	for _, file := range []string{"cuda", "cublaslt", "nvrtc", "nccl"} {
		raw, err := os.ReadFile("symbols/" + file + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
				listed[strings.TrimSpace(line)] = true
			}
		}
	}
	for s := range wanted {
		if !listed[s] && !defined[s] {
			t.Errorf("%s is linked, and no list of symbols/ has it", s)
		}
	}
	for s := range listed {
		if !wanted[s] {
			t.Errorf("%s is listed, and nothing links it", s)
		}
	}
	raw, err := os.ReadFile("../../scripts/cuda/versions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var first []string
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); wanted[f[0]] {
			first = append(first, f[0])
		}
	}
	slices.Sort(first)
	if len(first) > 0 {
		t.Errorf("first generations are linked, with addresses of 32 bits: %q: CGO_CFLAGS must name build/include (scripts/cuda/headers.sh)", first)
	}
	if n := strings.Count(string(raw), "\n"); n != 52 {
		t.Errorf("versions.txt has %d lines, want 52", n)
	}
}
