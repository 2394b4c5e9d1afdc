// Package ptx embeds the PTX of the CUDA kernels, which scripts/cuda/ptx.sh makes
// and `go generate` calls. MANIFEST says what of: the test compares it with the
// sources beside it, so that a changed kernel does not ship with old PTX.
package ptx

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:generate ../../../../../scripts/cuda/ptx.sh

//go:embed *
var embedded embed.FS

// Embedded is the PTX of ../all.cu.
var Embedded = Set{embedded}

// Flags are what every compiler of the kernels is given besides the architecture;
// scripts/cuda/ptx.py has the same, and the test compares.
var Flags = []string{"--std=c++17", "--fmad=false"}

// Set is a folder that ptx.sh wrote.
type Set struct{ FS fs.FS }

// Read returns the PTX for an architecture: "compute_80".
func (s Set) Read(arch string) ([]byte, error) {
	packed, err := fs.ReadFile(s.FS, arch+".ptx.gz")
	if err != nil {
		return nil, fmt.Errorf("the PTX for %s: %w", arch, err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("the PTX for %s: %w", arch, err)
	}
	return io.ReadAll(z)
}

// Archs are the compute capabilities of the PTX, ascending: 80, 90.
func (s Set) Archs() []int {
	files, err := fs.Glob(s.FS, "compute_*.ptx.gz")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var out []int
	for _, f := range files {
		var n int
		if _, err := fmt.Sscanf(f, "compute_%d.ptx.gz", &n); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// Check reports how the set differs from what sources and Flags would make: the
// files *.cu and *.cuh that went in, the flags, the PTX itself.
func (s Set) Check(sources fs.FS) error {
	const mend = "run `go generate ./internal/tensor/cuda/kernels/ptx` (it needs Python with pip, no GPU)"
	want := map[string]string{} // file → hash
	entries, err := fs.ReadDir(sources, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ext := path.Ext(e.Name()); ext == ".cu" || ext == ".cuh" {
			data, err := fs.ReadFile(sources, e.Name())
			if err != nil {
				return err
			}
			want[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(data))
		}
	}
	raw, err := fs.ReadFile(s.FS, "MANIFEST")
	if err != nil && len(want) == 0 {
		return nil // nothing was to be compiled
	}
	if err != nil {
		return fmt.Errorf("the kernels have no PTX yet: %s", mend)
	}
	ptx := 0
	for line := range strings.Lines(string(raw)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		hash, name, _ := strings.Cut(rest, " ")
		switch kind {
		case "flags":
			if rest != strings.Join(Flags, " ") {
				return fmt.Errorf("the PTX was made with %q, ptx.Flags says %q: %s", rest, Flags, mend)
			}
		case "source":
			if have, ok := want[name]; !ok {
				return fmt.Errorf("the PTX was made of a file %s, which is gone: %s", name, mend)
			} else if have != hash {
				return fmt.Errorf("%s was changed after the PTX was made: %s", name, mend)
			}
			delete(want, name)
		case "ptx":
			text, err := s.Read(strings.TrimSuffix(name, ".ptx.gz"))
			if err != nil {
				return fmt.Errorf("%w: %s", err, mend)
			}
			if fmt.Sprintf("%x", sha256.Sum256(text)) != hash {
				return fmt.Errorf("%s is not what MANIFEST says: %s", name, mend)
			}
			ptx++
		}
	}
	for name := range want {
		return fmt.Errorf("%s is new since the PTX was made: %s", name, mend)
	}
	if n := len(s.Archs()); ptx == 0 || ptx != n {
		return fmt.Errorf("MANIFEST lists %d files of PTX, the folder has %d: %s", ptx, n, mend)
	}
	return nil
}
