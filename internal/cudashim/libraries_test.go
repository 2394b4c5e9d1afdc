package cudashim

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFindSearchesInOrder(t *testing.T) {
	dir := t.TempDir()
	file := func(parts ...string) string {
		p := filepath.Join(append([]string{dir}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	own12 := file("own", "libcublasLt.so.12")
	venv12 := file("venv", "lib", "python3.12", "site-packages", "nvidia", "cublas", "lib", "libcublasLt.so.12")
	venv13 := file("venv", "lib", "python3.12", "site-packages", "nvidia", "cu13", "lib", "libcublasLt.so.13")
	env := func(key string) string {
		return map[string]string{EnvFolders: filepath.Join(dir, "none") + ":" + filepath.Join(dir, "own"), "VIRTUAL_ENV": filepath.Join(dir, "venv")}[key]
	}
	keep := func(list []string) (out []string) { // what the machine itself has is not of this test
		for _, p := range list {
			if !filepath.IsAbs(p) || len(p) > len(dir) && p[:len(dir)] == dir {
				out = append(out, p)
			}
		}
		return out
	}
	if got, want := keep(CuBLASLt.Find(env, 13)), []string{own12, "libcublasLt.so.13", "libcublasLt.so.12", venv13, venv12}; !slices.Equal(got, want) {
		t.Errorf("a driver of CUDA 13: %q, want %q", got, want)
	}
	if got, want := keep(CuBLASLt.Find(env, 12)), []string{own12, "libcublasLt.so.12", venv12}; !slices.Equal(got, want) {
		t.Errorf("a driver of CUDA 12: %q, want %q", got, want)
	}
	if got := CuBLASLt.Find(env, 11); len(keep(got)) != 0 {
		t.Errorf("a driver of CUDA 11: %q, want none", got)
	}
	if got, want := keep(Driver.Find(env, 0)), []string{"libcuda.so.1"}; !slices.Equal(got, want) {
		t.Errorf("the driver: %q, want %q", got, want)
	}
}
